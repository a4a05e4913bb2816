//! The published conformance suite for HTTP caches: its own client asks the router, whose app is the suite's own server.
//!
//! `script/http-cache-tests` fetches it. `http-cache-tests.txt` names what does not pass, each with its reason; it may
//! only shrink.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use corundum_exchange::DynoBody;
use corundum_router::cache::Cache;
use corundum_router::failure::Failure;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;

use corundum_router_test_support::grid::{App, AppRequest, AppResponse, async_app};
use corundum_router_test_support::router::TestRouter;

/// Cases of version 0.4.5 that are about reverse proxies, by their kind.
const CASES: [(Kind, usize); 3] = [
    (Kind::Required, 165),
    (Kind::Optimal, 95),
    (Kind::Check, 90),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// What a cache must do.
    Required,
    /// What a good one does.
    Optimal,
    /// What differs between caches; neither right nor wrong.
    Check,
}

#[derive(Debug, Deserialize)]
struct Case {
    id: String,
    kind: Kind,
    depends_on: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Outcome {
    Passed(bool),
    Failed(String, String),
}

/// Prints all cases as JSON.
const LIST: &str = "
import tests from './tests/index.mjs'
import surrogate from './tests/surrogate-control.mjs'
const cases = [...tests, surrogate].flatMap(suite => suite.tests).filter(test => !test.browser_only)
console.log(JSON.stringify(cases.map(({ id, kind = 'required', depends_on = [] }) => ({ id, kind, depends_on }))))
";

/// The suite, if it has been fetched.
fn suite() -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent()?;
    let suite = target.join("http-cache-tests/package");
    let fetched = suite.join("cli.mjs").exists();
    assert!(
        fetched || std::env::var("CI").as_deref() != Ok("true"),
        "run script/http-cache-tests first"
    );
    if !fetched {
        eprintln!("!! SKIPPED: the conformance suite is not there: run script/http-cache-tests");
    }
    fetched.then_some(suite)
}

/// The suite's server.
struct Origin(Child);

impl Drop for Origin {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn origin(suite: &Path) -> (Origin, SocketAddr) {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let child = Command::new("node")
        .args(["--no-warnings", "server/server.mjs"])
        .current_dir(suite)
        .env("npm_config_protocol", "http")
        .env("npm_config_port", free.port().to_string())
        .env("npm_config_pidfile", "/dev/null")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let origin = Origin(child);
    for _ in 0..200 {
        if TcpStream::connect(free).await.is_ok() {
            return (origin, free);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the suite's server does not start");
}

/// An app that is the suite's server.
fn forwarding_to(origin: SocketAddr) -> App {
    async_app(move |asked| async move {
        let answer = forward(origin, &asked).await;
        answer.ok_or(Failure::ClosedWithoutResponse)
    })
}

async fn forward(origin: SocketAddr, asked: &AppRequest) -> Option<AppResponse> {
    let stream = TcpStream::connect(origin).await.ok()?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .ok()?;
    tokio::spawn(connection);
    let mut request = http::Request::builder()
        .method(asked.get("REQUEST_METHOD").as_str())
        .uri(asked.get("REQUEST_URI"));
    for (name, value) in &asked.fields {
        let name = match name.strip_prefix("HTTP_") {
            Some(name) => name.replace('_', "-"),
            None if name == "CONTENT_TYPE" => "content-type".to_owned(),
            None => continue,
        };
        request = request.header(name, value.as_slice());
    }
    let request = request
        .body(Full::new(bytes::Bytes::from(asked.body.clone())))
        .ok()?;
    let response = sender.send_request(request).await.ok()?;
    let (head, body) = response.into_parts();
    // Cases about the length say a wrong one: what has come of the body is what there is.
    let mut body = body;
    let mut bytes = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        bytes.extend_from_slice(frame.data_ref()?);
    }
    let headers = head.headers.iter().map(|(name, value)| {
        (
            name.as_str().to_owned().into(),
            value.as_bytes().to_vec().into(),
        )
    });
    Some(AppResponse {
        status: head.status.as_u16(),
        headers: headers.collect(),
        body: DynoBody::Full(bytes.into()),
    })
}

fn node(suite: &Path, arguments: &[&str], base: &str) -> String {
    let output = Command::new("node")
        .arg("--no-warnings")
        .args(arguments)
        .current_dir(suite)
        .env("npm_config_base", base)
        .env("npm_package_config_id", "")
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Why a case does not pass, if it does not; a case whose conditions do not hold has not been tested.
fn failing(
    id: &str,
    cases: &HashMap<&str, &Case>,
    outcomes: &HashMap<String, Outcome>,
) -> Option<String> {
    let broken = cases[id]
        .depends_on
        .iter()
        .find(|on| failing(on, cases, outcomes).is_some());
    if let Some(on) = broken {
        return Some(format!("depends on {on}"));
    }
    match outcomes.get(id) {
        Some(Outcome::Passed(true)) => None,
        Some(Outcome::Failed(kind, what)) => Some(format!("{kind}: {what}")),
        _ => Some("was not run".to_owned()),
    }
}

/// The cases that are known not to pass.
fn known() -> BTreeMap<&'static str, &'static str> {
    let lines = include_str!("http-cache-tests.txt").lines();
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| line.split_once(' ').expect("a case and a reason"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_conformance_suite_passes_but_for_what_is_known() {
    let Some(suite) = suite() else { return };
    let (_origin, address) = origin(&suite).await;
    let router = TestRouter::with_cache(forwarding_to(address), Cache::new(64 << 20)).await;
    let base = format!("http://{}", router.address);
    let run = |arguments: &'static [&'static str]| {
        let (suite, base) = (suite.clone(), base.clone());
        tokio::task::spawn_blocking(move || node(&suite, arguments, &base))
    };
    let list = run(&["--input-type=module", "-e", LIST]).await.unwrap();
    let cases: Vec<Case> = serde_json::from_str(&list).unwrap();
    let cases: HashMap<&str, &Case> = cases.iter().map(|case| (case.id.as_str(), case)).collect();
    let results = run(&["cli.mjs"]).await.unwrap();
    let outcomes: HashMap<String, Outcome> = serde_json::from_str(&results).unwrap();
    let mut failed = BTreeMap::new();
    for (kind, count) in CASES {
        let ids: Vec<&str> = cases
            .values()
            .filter(|case| case.kind == kind)
            .map(|case| case.id.as_str())
            .collect();
        assert_eq!(ids.len(), count, "cases of {kind:?}");
        assert!(
            ids.iter().all(|id| outcomes.contains_key(*id)),
            "all cases of {kind:?} were run"
        );
        let failing: Vec<_> = ids
            .iter()
            .filter_map(|id| Some((*id, failing(id, &cases, &outcomes)?)))
            .collect();
        println!("{kind:?}: {} of {count} pass", count - failing.len());
        if kind == Kind::Check {
            failing
                .iter()
                .for_each(|(id, why)| println!("  no {id}: {why}"));
        } else {
            failed.extend(failing);
        }
    }
    let known = known();
    let new: Vec<_> = failed
        .iter()
        .filter(|(id, _)| !known.contains_key(**id))
        .collect();
    let passing: Vec<_> = known
        .keys()
        .filter(|id| !failed.contains_key(**id))
        .collect();
    assert!(new.is_empty(), "fail that passed: {new:#?}");
    assert!(
        passing.is_empty(),
        "pass, so that they are to be taken off the list: {passing:#?}"
    );
}
