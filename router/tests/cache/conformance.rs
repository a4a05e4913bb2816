//! The published conformance suite for HTTP caches. Its client sends requests to the router, whose app is its server.
//!
//! `script/http-cache-tests` downloads the suite. `http-cache-tests.txt` lists the cases that fail, each with its reason;
//! the list may only shrink.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use corundum_exchange::DynoBody;
use corundum_router::cache::Cache;
use corundum_router::failure::Failure;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;

use corundum_router_test_support::grid::{AppRequest, AppResponse, FakeApp, async_app};
use corundum_router_test_support::router::TestRouter;
use corundum_test_support::ports::free_address;
use corundum_test_support::process::{ChildProcess, skip};

/// Number of cases of version 0.4.5 for reverse proxies, by kind.
const CASES: [(CaseKind, usize); 3] = [
    (CaseKind::Required, 165),
    (CaseKind::Optimal, 95),
    (CaseKind::Check, 90),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
enum CaseKind {
    /// Behaviour that RFC 9111 requires.
    Required,
    /// Behaviour that improves a cache.
    Optimal,
    /// Behaviour that differs between caches without being right or wrong.
    Check,
}

#[derive(Debug, Deserialize)]
struct SuiteCase {
    id: String,
    kind: CaseKind,
    depends_on: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum CaseResult {
    Passed(bool),
    Failed(String, String),
}

/// Program that prints all cases as JSON.
const LIST: &str = "
import tests from './tests/index.mjs'
import surrogate from './tests/surrogate-control.mjs'
const cases = [...tests, surrogate].flatMap(suite => suite.tests).filter(test => !test.browser_only)
console.log(JSON.stringify(cases.map(({ id, kind = 'required', depends_on = [] }) => ({ id, kind, depends_on }))))
";

/// Returns the directory of the suite. Without it, the test is skipped.
fn suite() -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent()?;
    let suite = target.join("http-cache-tests/package");
    if suite.join("cli.mjs").exists() {
        return Some(suite);
    }
    skip("the conformance suite is missing: run script/http-cache-tests");
    None
}

/// Starts the server of the suite.
fn start_origin(suite: &Path) -> (ChildProcess, SocketAddr) {
    let address = free_address();
    let mut command = Command::new("node");
    command
        .args(["--no-warnings", "server/server.mjs"])
        .current_dir(suite)
        .env("npm_config_protocol", "http")
        .env("npm_config_port", address.port().to_string())
        .env("npm_config_pidfile", "/dev/null");
    let origin = ChildProcess::spawn_server(&mut command, address);
    (origin, address)
}

/// Makes an app that forwards requests to the server of the suite.
fn forwarding_to(origin: SocketAddr) -> FakeApp {
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
    // Some cases send a wrong length: the bytes that arrive are the body.
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

/// Returns the reason that a case fails. A case fails if one that it depends on fails, since it tests nothing then.
fn failing(
    id: &str,
    cases: &HashMap<&str, &SuiteCase>,
    outcomes: &HashMap<String, CaseResult>,
) -> Option<String> {
    let broken = cases[id]
        .depends_on
        .iter()
        .find(|on| failing(on, cases, outcomes).is_some());
    if let Some(on) = broken {
        return Some(format!("depends on {on}"));
    }
    match outcomes.get(id) {
        Some(CaseResult::Passed(true)) => None,
        Some(CaseResult::Failed(kind, what)) => Some(format!("{kind}: {what}")),
        _ => Some("was not run".to_owned()),
    }
}

/// Returns the cases that are known to fail, with their reasons.
fn known() -> BTreeMap<&'static str, &'static str> {
    let lines = include_str!("http-cache-tests.txt").lines();
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| line.split_once(' ').expect("a case and a reason"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_conformance_suite_passes_except_for_known_failures() {
    let Some(suite) = suite() else { return };
    let (_origin, address) = start_origin(&suite);
    let router = TestRouter::with_cache(forwarding_to(address), Cache::new(64 << 20)).await;
    let base = format!("http://{}", router.address);
    let run = |arguments: &'static [&'static str]| {
        let (suite, base) = (suite.clone(), base.clone());
        tokio::task::spawn_blocking(move || node(&suite, arguments, &base))
    };
    let list = run(&["--input-type=module", "-e", LIST]).await.unwrap();
    let cases: Vec<SuiteCase> = serde_json::from_str(&list).unwrap();
    let cases: HashMap<&str, &SuiteCase> =
        cases.iter().map(|case| (case.id.as_str(), case)).collect();
    let results = run(&["cli.mjs"]).await.unwrap();
    let outcomes: HashMap<String, CaseResult> = serde_json::from_str(&results).unwrap();
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
        if kind == CaseKind::Check {
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
    assert!(new.is_empty(), "cases that passed before fail: {new:#?}");
    assert!(
        passing.is_empty(),
        "cases pass; remove them from http-cache-tests.txt: {passing:#?}"
    );
}
