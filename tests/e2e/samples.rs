//! The samples of the project: streams, large bodies, Rack 2 and Rack 3.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use sha2::{Digest, Sha256};

use corundum_test_support::node::{TestNode, debian13_gems};

/// Size of a body in bytes: more than a dyno may use, so a dyno cannot hold the body.
const LARGE: usize = 200 << 20;
const PIECE: usize = 64 << 10;
/// Bound on the memory of a dyno in KiB, its image of 58 MB included: a dyno that held a body would exceed it.
const BOUND: u64 = 128 << 10;

#[test]
fn server_sent_events_arrive_as_they_are_sent_and_a_disconnect_frees_the_dyno() {
    let node = TestNode::start();
    node.deploy_sample("stream");
    assert!(node.cli(&["ps:scale", "web=1", "-a", "stream"]).success);
    let mut events = BufReader::new(node.open("stream", "GET /events", ""));
    let mut line = String::new();
    let mut heard = Vec::new();
    // The response never ends, so these events arrive during it.
    while heard.len() < 3 {
        line.clear();
        assert!(events.read_line(&mut line).unwrap() > 0, "{heard:?}");
        heard.extend(line.strip_prefix("data: ").map(str::to_owned));
    }
    assert_ne!(heard[0], heard[2]);
    drop(events);
    // The app has one dyno, so this request needs the one that was freed.
    let (status, page) = node.get("stream", "/");
    assert!(status == 200 && page.contains("EventSource"), "{page}");
    node.wait_for_log("stream", "A listener has left.");
}

#[test]
fn large_bodies_are_streamed_through_a_dyno_in_bounded_memory() {
    let node = TestNode::start();
    node.deploy_sample("upload");
    let piece: Vec<u8> = (0..PIECE).map(|index| (index % 251) as u8).collect();
    let mut digest = Sha256::new();
    for _ in 0..LARGE / PIECE {
        digest.update(&piece);
    }
    let expected = format!("{} {LARGE}", hex(&digest.finalize()));

    let length = format!("Content-Length: {LARGE}\r\n");
    let upload = node.open("upload", "POST /", &length);
    let answer = send(upload, LARGE, |stream| stream.write_all(&piece));
    assert!(answer.contains(&expected), "{answer}");
    let upload = node.open("upload", "POST /", "Transfer-Encoding: chunked\r\n");
    let chunk = [format!("{PIECE:x}\r\n").as_bytes(), &piece, b"\r\n"].concat();
    let mut left = LARGE;
    let answer = send(upload, LARGE, |stream| {
        stream.write_all(&chunk)?;
        left -= PIECE;
        if left == 0 {
            stream.write_all(b"0\r\n\r\n")?;
        }
        Ok(())
    });
    assert!(answer.contains(&expected), "{answer}");

    for query in ["", "&chunked"] {
        let line = format!("GET /download?bytes={LARGE}{query}");
        let (head, bytes) = receive(node.open("upload", &line, ""));
        assert_eq!(bytes, LARGE, "{head}");
        assert_eq!(
            head.contains("transfer-encoding: chunked"),
            !query.is_empty()
        );
    }
    let log = node.wait_for_log("upload", "&chunked");
    let memory = log
        .split("mem=")
        .skip(1)
        .map(|rest| rest.split("kB").next().unwrap().parse::<u64>().unwrap());
    let memory: Vec<u64> = memory.collect();
    assert!(!log.contains("at=warning"), "{log}");
    assert_eq!(memory.len(), 4, "{log}");
    assert!(memory[0] > 0 && memory[1] > 0, "{log}");
    assert!(memory.iter().all(|kilobytes| *kilobytes < BOUND), "{log}");
}

/// Sends a body of `length` bytes in pieces, and returns the response.
fn send(
    mut stream: TcpStream,
    length: usize,
    mut piece: impl FnMut(&mut TcpStream) -> std::io::Result<()>,
) -> String {
    for _ in 0..length / PIECE {
        piece(&mut stream).unwrap();
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Reads a response. Returns its head in lower case and the length of its body.
fn receive(stream: TcpStream) -> (String, usize) {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        stream.read_line(&mut head).unwrap();
    }
    head.make_ascii_lowercase();
    if !head.contains("transfer-encoding: chunked") {
        let bytes = std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
        return (head, bytes as usize);
    }
    let mut bytes = 0;
    loop {
        let mut size = String::new();
        stream.read_line(&mut size).unwrap();
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        bytes += size;
        let mut chunk = vec![0; size + 2];
        stream.read_exact(&mut chunk).unwrap();
        if size == 0 {
            return (head, bytes);
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn features_of_rack_2_pass_rack_lint() {
    let node = TestNode::start();
    node.deploy_sample("lint");
    request_features(&node, "lint");
    let large = "x".repeat(3 << 20);
    let answer = node.raw("lint", "POST /rewind", "", &large);
    assert!(answer.ends_with("3145728 3145728"), "{answer}");
    let huge = "x".repeat(40 << 20);
    let answer = node.raw("lint", "POST /rewind", "", &huge);
    assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
    let log = node.wait_for_log("lint", "it can be read only once (IOError)");
    assert!(!log.contains("LintError"), "{log}");
}

#[test]
fn features_of_rack_3_pass_rack_lint() {
    let Some(gems) = debian13_gems() else { return };
    let node = TestNode::start();
    let app = node.create("lint");
    app.copy_sample("lint");
    // Bundler compares the requirements of Gemfile and lockfile.
    app.write("Gemfile", "source 'https://rubygems.org'\ngem 'rack'\n");
    app.write("Gemfile.lock", &gems.lockfile(&["rack"]));
    let push = app.push("main");
    assert!(
        push.success && push.text.contains("Installing rack 3."),
        "{}",
        push.text
    );
    request_features(&node, "lint");
    assert_eq!(node.get("lint", "/hijack").1, "taken over");
    assert_eq!(node.get("lint", "/call").1, "a stream");
    assert_eq!(node.get("lint", "/finished").1, "soon");
    let log = node.wait_for_log("lint", "finished: [200, nil]");
    assert!(!log.contains("LintError"), "{log}");
}

/// Requests every feature that both versions have.
fn request_features(node: &TestNode, app: &str) {
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let multipart = "Content-Type: multipart/form-data; boundary=X\r\n";
    let upload = format!(
        "--X\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\n{}\r\n--X--\r\n",
        "y".repeat(2 << 20)
    );
    for (line, headers, body, status, expected) in [
        ("GET /", "", "", 200, "/array"),
        ("GET /array", "", "", 200, "an array"),
        ("HEAD /array", "", "", 200, "content-type: text/plain"),
        ("GET /each", "", "", 200, "3 2 1 "),
        ("HEAD /each", "", "", 200, "content-type: text/plain"),
        ("GET /file", "", "", 200, "# A small app for each"),
        ("GET /no-content", "", "", 204, ""),
        ("GET /not-modified", "", "", 304, "etag: \"1\""),
        ("GET /redirect", "", "", 302, "location: /array"),
        ("GET /cookies", "", "", 200, "set-cookie: a=1"),
        ("GET /cookies", "", "", 200, "set-cookie: b=2"),
        (
            "GET /path/a%20b%23%252?c=%25",
            "",
            "",
            200,
            "/path /a%20b%23%252",
        ),
        ("POST /read", "", "ten bytes.", 200, "4 4 2"),
        ("POST /read", "", "", 200, ""),
        ("POST /lines", "", "one\ntwo\n", 200, "oneTWO\n"),
        ("POST /form", form, "a=1&b[]=%C3%BC", 200, "\"b\""),
        ("POST /file-field", multipart, &upload, 200, "a.txt 2097152"),
        ("GET /errors", "", "", 200, "logged"),
    ] {
        let answer = node.raw(app, line, headers, body);
        let log = || node.cli(&["logs", "--app", app, "-n", "50"]).text;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(expected),
            "{line}: {answer}\n{}",
            log()
        );
        let bodiless = line.starts_with("HEAD") || matches!(status, 204 | 304);
        assert!(
            !bodiless || answer.ends_with("\r\n\r\n"),
            "{line}: {answer}"
        );
    }
    // The app decides how it answers, but the server must not fail.
    let answer = node.raw(app, "OPTIONS *", "", "");
    assert!(!answer.starts_with("HTTP/1.1 500"), "{answer}");
    node.wait_for_log(app, "and another");
    node.wait_for_log(app, "The countdown is closed.");
}

#[test]
fn a_sinatra_4_app_is_deployed_and_served() {
    let Some(gems) = debian13_gems() else { return };
    let node = TestNode::start();
    let app = node.create("hello");
    app.write("Gemfile", "source 'https://rubygems.org'\ngem 'sinatra'\n");
    let names = [
        "sinatra",
        "rack",
        "rack-session",
        "rack-protection",
        "mustermann",
        "ruby2_keywords",
        "tilt",
        "base64",
    ];
    app.write("Gemfile.lock", &gems.lockfile(&names));
    app.write(
        "config.ru",
        "require 'sinatra/base'
        class Hello < Sinatra::Base
          get('/hello/:name') { \"Hello #{params['name']}, from Sinatra #{Sinatra::VERSION}\" }
          get('/halt') { halt 418, 'halted' }
          error(403) { 'no' }
        end
        run Hello\n",
    );
    let push = app.push("main");
    assert!(
        push.success && push.text.contains("Installing sinatra 4."),
        "{}",
        push.text
    );
    let (status, body) = node.get("hello", "/hello/W%C3%B6rld%2541");
    assert!(
        status == 200 && body.starts_with("Hello Wörld%41, from Sinatra 4."),
        "{body}"
    );
    assert_eq!(node.get("hello", "/halt"), (418, "halted".to_owned()));
    assert_eq!(node.get("hello", "/none").0, 404);
}
