//! The published conformance suite for HTTP caches. Its client sends requests to the router, whose app is its server.
//!
//! `script/http-cache-tests` downloads the suite. `http-cache-tests.txt` lists the cases that fail, each with its reason;
//! the list may only shrink.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use corundum_exchange::DynoBody;
use corundum_router::cache::Cache;
use corundum_router::failure::Failure;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

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

/// Header fields that are part of no case: the client of the suite adds them to every request. The router would not
/// store a response that they may have changed, so the relay takes them away. A case that sends one of these fields
/// itself has another value.
const OF_CLIENT: [(&str, &str); 13] = [
    ("test-name", ""),
    ("test-id", ""),
    ("req-num", ""),
    ("connection", ""),
    ("user-agent", ""),
    ("accept", "*/*"),
    ("accept-language", "*"),
    ("accept-encoding", "gzip,deflate"),
    ("accept-encoding", "gzip, deflate"),
    ("sec-fetch-mode", "cors"),
    ("pragma", "foo"),
    ("cache-control", "nothing-to-see-here"),
    ("priority", "u=3"),
];

/// Number of the latest request by target, which the server of the suite reads from a header field.
type RequestNumbers = Arc<Mutex<HashMap<String, String>>>;

/// Relays connections to the router, without the header fields of the client. Each carries one request.
async fn relay_to(router: SocketAddr, numbers: RequestNumbers) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let numbers = numbers.clone();
            tokio::spawn(async move {
                let head = relayed_head(&mut client, &numbers).await?;
                let mut router = TcpStream::connect(router).await.ok()?;
                router.write_all(head.as_bytes()).await.ok()?;
                let copied = copy_bidirectional(&mut client, &mut router).await;
                copied.ok()
            });
        }
    });
    address
}

/// Reads the head of a request, and returns it as the router gets it.
async fn relayed_head(client: &mut TcpStream, numbers: &RequestNumbers) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.ok()?);
    }
    // Field values are bytes of ISO 8859-1 in some cases, so they are kept as they are.
    let head: String = head.into_iter().map(char::from).collect();
    let (line, fields) = head.split_once("\r\n")?;
    let target = line.split(' ').nth(1)?;
    let mut relayed = format!("{line}\r\nConnection: close\r\n");
    for field in fields.lines().filter(|field| !field.is_empty()) {
        let (name, value) = field.split_once(':')?;
        let (lower, value) = (name.to_ascii_lowercase(), value.trim());
        if lower == "req-num" {
            let mut numbers = numbers.lock().unwrap();
            numbers.insert(target.to_owned(), value.to_owned());
        }
        let of_client =
            |(known, own): &(&str, &str)| lower == *known && (own.is_empty() || *own == value);
        if !OF_CLIENT.iter().any(of_client) {
            relayed.push_str(&format!("{field}\r\n"));
        }
    }
    relayed.push_str("\r\n");
    Some(relayed)
}

/// Makes an app that forwards requests to the server of the suite.
fn forwarding_to(origin: SocketAddr, numbers: RequestNumbers) -> FakeApp {
    async_app(move |mut asked| {
        let target = asked.get("REQUEST_URI");
        if let Some(number) = numbers.lock().unwrap().get(&target) {
            let name = "HTTP_REQ_NUM".to_owned();
            asked.fields.insert(name, number.clone().into_bytes());
        }
        async move {
            let answer = forward(origin, &asked).await;
            answer.ok_or(Failure::ClosedWithoutResponse)
        }
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
    let numbers = RequestNumbers::default();
    let app = forwarding_to(address, numbers.clone());
    let router = TestRouter::with_cache(app, Cache::new(64 << 20)).await;
    let base = format!("http://{}", relay_to(router.address, numbers).await);
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
