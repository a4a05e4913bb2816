//! Attacks on the control plane: connections that are idle or unfinished, restarts meanwhile, and forged output.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use corundum_test_support::http1;
use corundum_test_support::node::TestNode;
use corundum_test_support::wait::wait_until;

/// More than the API accepts without a token.
const FLOOD: usize = 300;

/// The beginning of a push: a length of 148 bytes that do not follow.
const UNFINISHED_PUSH: &[u8] = b"4\r\n0094\r\n";

/// Asserts that `probe` succeeds much faster than any deadline of a connection.
fn assert_prompt(what: &str, probe: impl FnOnce() -> u16) {
    let began = Instant::now();
    assert_eq!(probe(), 200, "{what}");
    assert!(began.elapsed() < Duration::from_secs(7), "{what}");
}

#[test]
fn idle_and_unfinished_connections_delay_neither_api_nor_admin() {
    let node = TestNode::start();
    let token = node.token();
    for head in [
        "",
        "GET /v1/apps HTT",
        "GET /v1/apps HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n",
        "POST /a.git/git-receive-pack HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n",
    ] {
        let open = |port| http1::open(port, head);
        let _held: Vec<TcpStream> = (0..FLOOD).map(|_| open(node.api_port())).collect();
        let line = "GET /v1/apps";
        assert_prompt(head, || node.api(line, &token, "", b"").0);
        assert_prompt(head, || node.public_api("GET /v1/login").0);
        let _held: Vec<TcpStream> = (0..FLOOD / 4).map(|_| open(node.admin_port())).collect();
        assert_prompt(head, || node.admin("/healthz").0);
    }
}

#[test]
fn one_client_cannot_take_the_connections_of_another() {
    let node = TestNode::start();
    let [greedy, other] = [node.token(), node.token()];
    assert_ne!(greedy, other);
    let unfinished = |_| node.open_api("POST /v1/apps", &greedy, "Content-Length: 9\r\n");
    let held: Vec<TcpStream> = (0..100).map(unfinished).collect();
    let is_refused = |connection: &&TcpStream| {
        let mut head = [0; 12];
        connection.set_nonblocking(true).unwrap();
        connection.peek(&mut head).is_ok() && &head == b"HTTP/1.1 429"
    };
    wait_until("a client's share is taken", Duration::from_secs(10), || {
        held.iter().filter(is_refused).count() == 36
    });
    assert_prompt("another client", || {
        node.api("GET /v1/apps", &other, "", b"").0
    });
}

#[test]
fn unfinished_push_and_unread_clone_do_not_delay_a_takeover() {
    let mut node = TestNode::start();
    let app = node.deploy("evil", "run ->(e) { [200, {}, ['one']] }\n");
    let token = node.token();
    let chunked =
        "Transfer-Encoding: chunked\r\nContent-Type: application/x-git-receive-pack-request\r\n";
    let mut push = node.open_api("POST /evil.git/git-receive-pack", &token, chunked);
    push.write_all(UNFINISHED_PUSH).unwrap();
    let fetch = chunked.replace("receive", "upload");
    let mut clone = node.open_api("POST /evil.git/git-upload-pack", &token, &fetch);
    clone.write_all(UNFINISHED_PUSH).unwrap();
    // No process of git runs for an unfinished request, so nothing tells when the node has read it.
    std::thread::sleep(Duration::from_millis(500));
    let began = Instant::now();
    assert!(node.take_over().success());
    assert!(began.elapsed() < Duration::from_secs(45));
    assert_eq!(node.get("evil", "/"), (200, "one".to_owned()));
    // The pusher's connection ended, and its next push works.
    let mut rest = Vec::new();
    let _ = push.read_to_end(&mut rest);
    app.deploy("run ->(e) { [200, {}, ['two']] }\n");
    assert_eq!(node.get("evil", "/").1, "two");
    node.assert_pushes_cleaned_up("evil");
}

#[test]
fn api_and_signals_are_served_while_a_takeover_waits_for_a_build() {
    let mut node = TestNode::start();
    let app = node.create("slow");
    let token = node.token();
    app.write("config.ru", "sleep 50\nrun ->(e) { [200, {}, []] }\n");
    let mut push = app.push_in_background("main");
    wait_until("the build runs", Duration::from_secs(30), || {
        node.work_files() > 0
    });
    let mut successor = UnixStream::connect(node.data().join("takeover.sock")).unwrap();
    successor.write_all(b"?").unwrap();
    wait_until("changes are refused", Duration::from_secs(10), || {
        node.api("POST /v1/apps", &token, "", b"{}").0 == 503
    });
    assert_prompt("a listing", || node.api("GET /v1/apps", &token, "", b"").0);
    let refs = "GET /slow.git/info/refs?service=git-receive-pack";
    assert_eq!(node.api(refs, &token, "", b"").0, 503);
    let began = Instant::now();
    node.signal("TERM");
    assert!(node.wait().success());
    assert!(began.elapsed() < Duration::from_secs(30));
    let mut answer = [0; 4];
    successor.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"busy");
    app.kill_group(&mut push);
}

#[test]
fn signal_ends_a_node_that_waits_for_its_successor_to_load() {
    let mut node = TestNode::start();
    let mut successor = UnixStream::connect(node.data().join("takeover.sock")).unwrap();
    successor.write_all(b"?").unwrap();
    let mut word = [0; 4];
    successor.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"http");
    let began = Instant::now();
    node.signal("INT");
    assert!(node.wait().success());
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[test]
fn output_of_an_app_forges_no_line_of_the_platform() {
    let node = TestNode::start();
    let app = node.create("forger");
    let forged =
        "\\r2026-01-01T00:00:00.000000+00:00 corundum[router]: forged\\e[2K\\u202e\\u009b31m";
    let code =
        format!("warn \"{forged}\"\nrun ->(e) {{ warn \"{forged}\"; [200, {{}}, ['one']] }}\n");
    let push = app.deploy(&code);
    let shown =
        "\\x0d2026-01-01T00:00:00.000000+00:00 corundum[router]: forged\\x1b[2K\\u{202e}\\u{9b}31m";
    assert!(push.text.contains(shown), "{}", push.text);
    assert_eq!(node.get("forger", "/").0, 200);
    let log = node.wait_for_log("forger", &format!("app[web.1]: {shown}"));
    for text in [&push.text, &log] {
        assert!(!text.contains(['\u{1b}', '\u{202e}', '\u{9b}']), "{text:?}");
    }
    let raw = app.cli(&node, &["run", "ruby", "-e", "print \"a\\e[2Kb\\r\""]);
    assert_eq!(raw.text, "a\u{1b}[2Kb\r");
}
