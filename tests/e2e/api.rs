//! The API as other clients than the command line see it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use corundum_test_support::http1;
use corundum_test_support::node::{ProcessOutput, TestNode, corundum, pack_cache};
use corundum_test_support::ports::free_address;
use corundum_test_support::process::ChildProcess;
use corundum_test_support::wait::wait_until;
use serde_json::Value;

use super::HELLO;

/// An app that logs the paths of its requests.
const TALKATIVE: &str =
    "run ->(env) { puts \"said \" + env[\"PATH_INFO\"]; [200, {}, [\"ok\"]] }\n";

#[test]
fn resources_are_found_by_key_and_pushes_leave_builds() {
    let node = TestNode::start();
    let app = node.create("myapp");
    app.write("config.ru", HELLO);
    assert!(app.push("main").success);
    app.write("config.ru", "raise 'no'\n");
    assert!(!app.push("main").success);
    let token = node.token();
    let get = |path: &str| -> Value {
        let (status, body) = node.api(&format!("GET {path}"), &token, "", b"");
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    };
    let account = get("/v1/account");
    let named = get("/v1/apps/myapp");
    assert_eq!(named["owner"]["email"], account["email"]);
    let path = format!("/v1/apps/{}", named["id"].as_str().unwrap());
    assert_eq!(get(&path), named);

    let release = get(&format!("{path}/releases/v1"));
    for identity in ["1", release["id"].as_str().unwrap()] {
        assert_eq!(get(&format!("{path}/releases/{identity}")), release);
    }
    let builds = get(&format!("{path}/builds"));
    let states: Vec<&str> = builds
        .as_array()
        .unwrap()
        .iter()
        .map(|build| build["status"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["failed", "succeeded"]);
    assert_eq!(builds[1]["release"]["id"], release["id"]);
    let output = format!("{path}/builds/{}/output", builds[0]["id"].as_str().unwrap());
    let (status, output) = node.api(&format!("GET {output}"), &token, "", b"");
    assert!(status == 200 && output.contains("-----> "), "{output}");

    let formation = get(&format!("{path}/formation/web"));
    assert_eq!(formation["quantity"], 16);
    let scale = b"{\"updates\": [{\"type\": \"web\", \"quantity\": \"+1\"}]}";
    let (status, body) = node.api(&format!("PATCH {path}/formation"), &token, "", scale);
    assert!(status == 200 && body.contains("\"quantity\":17"), "{body}");
}

#[test]
fn tokens_are_listed_abridged_and_can_be_revoked() {
    let node = TestNode::start();
    let token = node.token();
    let line = "POST /v1/oauth/authorizations";
    let (status, body) = node.api(line, &token, "", b"{\"description\": \"deploys\"}");
    assert_eq!(status, 201, "{body}");
    let made: Value = serde_json::from_str(&body).unwrap();
    let secret = made["access_token"]["token"].as_str().unwrap();
    assert_eq!(node.api("GET /v1/apps", secret, "", b"").0, 200);
    let (_, listed) = node.api("GET /v1/oauth/authorizations", &token, "", b"");
    assert!(listed.contains("deploys") && listed.contains("**********"));
    assert!(!listed.contains(secret) && !listed.contains(&token));
    let id = made["id"].as_str().unwrap();
    let revoke = format!("DELETE /v1/oauth/authorizations/{id}");
    assert_eq!(node.api(&revoke, &token, "", b"").0, 200);
    assert_eq!(node.api("GET /v1/apps", secret, "", b"").0, 401);
}

#[test]
fn login_finds_the_socket_in_the_data_directory() {
    let node = TestNode::start();
    let data = node.data().display().to_string();
    let login = node.cli(&["login", "--data-dir", &data]);
    assert!(login.success, "{}", login.text);
    let wrong = node.cli(&["login", "--data-dir", "/nonexistent"]);
    assert!(
        !wrong.success && wrong.text.contains("--token-stdin"),
        "{}",
        wrong.text
    );
}

#[test]
fn invalid_log_directive_is_named_when_the_server_starts() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Command::new(corundum());
    server.args(["server", "--data-dir"]).arg(data.path());
    let output = ProcessOutput::of(server.env("CORUNDUM_LOG", "wran"));
    assert!(
        !output.success && output.text.contains("invalid directive \"wran\""),
        "{}",
        output.text
    );
}

/// Creates a log session of `myapp` and returns the request line that opens it.
fn log_session(node: &TestNode, token: &str, body: &str) -> String {
    let line = "POST /v1/apps/myapp/log-sessions";
    let (status, body) = node.api(line, token, "", body.as_bytes());
    assert_eq!(status, 201, "{body}");
    let session: Value = serde_json::from_str(&body).unwrap();
    for field in ["id", "created_at", "updated_at"] {
        assert!(session[field].is_string(), "{body}");
    }
    let url = session["logplex_url"].as_str().unwrap();
    let secret = url.strip_prefix("http://localhost/v1/log-sessions/");
    let secret = secret.unwrap_or_else(|| panic!("{body}"));
    assert_eq!(secret.len(), 64, "{body}");
    format!("GET /v1/log-sessions/{secret}")
}

#[test]
fn log_session_is_read_without_a_token_until_its_app_is_destroyed() {
    let node = TestNode::start();
    node.deploy("myapp", TALKATIVE);
    let token = node.token();
    for path in ["/one", "/two"] {
        assert_eq!(node.get("myapp", path).0, 200);
        node.wait_for_log("myapp", &format!("said {path}"));
        node.wait_for_log("myapp", &format!("path=\"{path}\""));
    }
    let read = |body: &str| {
        let (status, log) = node.public_api(&log_session(&node, &token, body));
        assert_eq!(status, 200, "{body}: {log}");
        log
    };
    let all = read("");
    let app: Vec<&str> = all.lines().filter(|line| line.contains(" app[")).collect();
    let of_app = read("{\"source\": \"app\", \"tail\": false}");
    assert_eq!(of_app.lines().collect::<Vec<_>>(), app);
    let of_platform = read("{\"source\": \"heroku\"}");
    assert_eq!(of_platform.lines().count() + app.len(), all.lines().count());
    let last = app.iter().find(|line| line.contains("said /two")).unwrap();
    for lines in ["1", "\"1\""] {
        let body = format!("{{\"source\": \"app\", \"lines\": {lines}}}");
        assert_eq!(read(&body).trim_end(), *last);
    }
    let dyno = last.split_once("app[").unwrap().1;
    let dyno = dyno.split_once(']').unwrap().0;
    let of_dyno = read(&format!("{{\"dyno\": \"{dyno}\"}}"));
    assert!(of_dyno.contains(last), "{of_dyno}");
    let marked = format!("[{dyno}]: ");
    assert!(of_dyno.lines().all(|line| line.contains(&marked)));
    assert!(read("{\"dyno\": \"web\"}").contains(&of_dyno));
    assert!(read("{\"type\": \"web\"}").contains(&of_dyno));
    assert!(read("{\"dyno_name\": \"web.99\"}").is_empty());
    for wrong in ["{\"source\": \"x\"}", "{\"dyno\": \"a b\"}"] {
        let line = "POST /v1/apps/myapp/log-sessions";
        assert_eq!(node.api(line, &token, "", wrong.as_bytes()).0, 422);
    }

    let session = log_session(&node, &token, "{}");
    for _ in 0..2 {
        assert_eq!(node.public_api(&session), (200, read("")));
    }
    let destroyed = node.api("DELETE /v1/apps/myapp", &token, "", b"");
    assert_eq!(destroyed.0, 200, "{}", destroyed.1);
    let again = node.api("POST /v1/apps", &token, "", b"{\"name\": \"myapp\"}");
    assert_eq!(again.0, 201, "{}", again.1);
    let unknown = format!("GET /v1/log-sessions/{}", "0".repeat(64));
    for session in [&session, &unknown] {
        let (status, body) = node.public_api(session);
        assert_eq!(status, 404, "{body}");
        let error: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(error["id"], "not_found", "{body}");
        assert_eq!(error["resource"], "log_session", "{body}");
    }
}

#[test]
fn log_session_is_created_with_a_token_only() {
    let node = TestNode::start();
    node.create("myapp");
    let line = "POST /v1/apps/myapp/log-sessions";
    assert_eq!(node.api(line, "wrong", "", b"{}").0, 401);
    assert_eq!(node.public_api(line).0, 401);
    let session = log_session(&node, &node.token(), "{}");
    let deletion = session.replace("GET", "DELETE");
    assert_eq!(node.public_api(&deletion).0, 401);
    assert_eq!(node.public_api("GET /v1/log-sessions").0, 401);
    let gone = node.api("GET /v1/apps/myapp/logs", &node.token(), "", b"");
    assert_eq!(gone.0, 404, "{}", gone.1);
}

#[test]
fn log_session_with_tail_streams_selected_lines_until_its_app_is_destroyed() {
    let node = TestNode::start();
    node.deploy("myapp", TALKATIVE);
    let token = node.token();
    let body = "{\"lines\": 0, \"tail\": true, \"source\": \"app\"}";
    let mut stream = node.open_public_api(&log_session(&node, &token, body));
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    assert_eq!(node.get("myapp", "/later").0, 200);
    let mut seen = String::new();
    let mut piece = [0; 4096];
    while !seen.contains("said /later\n") {
        let length = stream.read(&mut piece).unwrap();
        assert_ne!(length, 0, "{seen}");
        seen.push_str(&String::from_utf8_lossy(&piece[..length]));
    }
    let destroyed = node.api("DELETE /v1/apps/myapp", &token, "", b"");
    assert_eq!(destroyed.0, 200, "{}", destroyed.1);
    stream.read_to_string(&mut seen).unwrap();
    assert!(seen.ends_with("0\r\n\r\n"), "{seen}");
    assert!(!seen.contains("corundum["), "{seen}");
}

#[test]
fn secret_of_a_log_session_is_not_in_the_log_of_the_node() {
    let home = tempfile::tempdir().unwrap();
    let [data, log] = ["data", "log"].map(|name| home.path().join(name));
    std::fs::create_dir(&data).unwrap();
    let [http, api, admin] = [(); 3].map(|()| free_address());
    let mut server = Command::new(corundum());
    server.args(["server", "--build-ruby", "false", "--data-dir"]);
    server.arg(&data).args(["--http", &http.to_string()]);
    server.args(["--api", &api.to_string(), "--admin", &admin.to_string()]);
    server.env("CORUNDUM_CACHE", pack_cache());
    server.env("CORUNDUM_LOG", "trace");
    server.stderr(std::fs::File::create(&log).unwrap());
    let server = ChildProcess::spawn_server(&mut server, api);
    let socket = data.join("login.sock");
    wait_until("the node answers logins", Duration::from_secs(10), || {
        socket.exists()
    });
    let mut login = Command::new(corundum());
    login.args(["login", "--data-dir"]).arg(&data);
    login.env("HOME", home.path());
    login.env("CORUNDUM_API", format!("http://{api}"));
    let login = ProcessOutput::of(&mut login);
    assert!(login.success, "{}", login.text);
    let netrc = std::fs::read_to_string(home.path().join(".netrc")).unwrap();
    let token = netrc.split_whitespace().last().unwrap();
    let post = |path: &str, body: &str| {
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {api}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        let (status, body) = http1::status_and_body(&http1::exchange(api.port(), &request));
        assert_eq!(status, 201, "{body}");
        serde_json::from_str::<Value>(&body).unwrap()
    };
    post("/v1/apps", "{\"name\": \"myapp\"}");
    let session = post("/v1/apps/myapp/log-sessions", "{}");
    let url = session["logplex_url"].as_str().unwrap();
    let path = url.strip_prefix(&format!("http://{api}")).unwrap();
    for (path, expected) in [(path.to_owned(), 200), (format!("{path}0"), 404)] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {api}\r\nConnection: close\r\n\r\n");
        let (status, body) = http1::status_and_body(&http1::exchange(api.port(), &request));
        assert_eq!(status, expected, "{body}");
    }
    drop(server);
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(log.contains("app created"), "{log}");
    let secret = path.rsplit('/').next().unwrap();
    assert!(!log.contains(secret), "{log}");
}

/// Reads the head and the body of a request, writes `response`, and returns the head.
fn answer(listener: &TcpListener, response: &str) -> String {
    let mut stream = BufReader::new(listener.accept().unwrap().0);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(stream.read_line(&mut head).unwrap(), 0, "{head}");
    }
    let head = head.to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1);
    let length = length.map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
    stream.read_exact(&mut vec![0; length]).unwrap();
    let mut stream: TcpStream = stream.into_inner();
    let length = response.len();
    let fields = format!("Content-Length: {length}\r\nConnection: close");
    write!(stream, "HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{response}").unwrap();
    head
}

#[test]
fn cli_sends_its_token_to_the_api_but_not_to_the_url_of_a_log() {
    let home = tempfile::tempdir().unwrap();
    let netrc = "machine 127.0.0.1 login corundum password letmein\n";
    std::fs::write(home.path().join(".netrc"), netrc).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let mut logs = Command::new(corundum());
    logs.args(["logs", "-a", "myapp"]).current_dir(home.path());
    logs.env("HOME", home.path()).env("CORUNDUM_API", &base);
    let session = format!(
        "{{\"id\": \"00000000-0000-0000-0000-000000000000\", \"created_at\": \"2026-01-02T03:04:05Z\", \
          \"updated_at\": \"2026-01-02T03:04:05Z\", \"logplex_url\": \"{base}/secret\"}}"
    );
    let heads = std::thread::spawn(move || {
        [&session, "one line\n"].map(|response| answer(&listener, response))
    });
    let output = ProcessOutput::of(&mut logs);
    assert!(output.success, "{}", output.text);
    assert_eq!(output.text, "one line\n");
    let [creation, reading] = heads.join().unwrap();
    assert!(creation.starts_with("post /v1/apps/myapp/log-sessions "));
    assert!(creation.contains("authorization: bearer letmein\r\n"));
    assert!(reading.starts_with("get /secret "));
    assert!(!reading.contains("authorization"), "{reading}");
}
