//! Isolation: apps and clients that misbehave do not affect other apps.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use corundum_test_support::node::{StopOnDrop, TestNode};
use corundum_test_support::wait::{poll, wait_until};

/// An app that attacks its dyno in the way that the path names.
const ATTACKS: &str = r#"
$count = 0
def deeper(n) = deeper(n + 1)

attacks = {
  "/loop" => -> { loop {} },
  "/sleep" => -> { sleep },
  "/memory" => -> { kept = []; loop { kept << "x" * 1_000_000 } },
  "/recursion" => -> { deeper(0) },
  "/exit" => -> { exit! 3 },
  "/trap" => -> {
    binary = RubyVM::InstructionSequence.compile("1").to_binary
    binary[30, 2] = "\xFF\x0F".b # the offset of the list of instruction sequences, which MRI does not check
    RubyVM::InstructionSequence.load_from_binary(binary)
  },
  "/marshal" => -> { deep = []; 200_000.times { deep = [deep] }; Marshal.dump(deep) },
  "/nested" => -> { deep = []; 200_000.times { deep = [deep] }; deep.to_s },
  "/abort" => -> { abort "on purpose" },
  "/log" => -> { 1000.times { $stderr.write("a line of a flood\n" * 1000) } },
  "/lines" => -> { $stderr.write("\n" * 4_000_000) },
  "/head" => -> { Dyno::OUTPUT.write("HTTP/1.1 200 OK\r\n\r\n"); exit! 0 },
  "/split" => -> { [200, { "x-a" => "1\r\nx-evil: 1\r\n\r\nGET" }, ["x"]] },
  "/lengths" => -> { [200, { "content-length" => "1\n100" }, ["x" * 10]] },
  "/tmp" => -> { 20.times { |n| File.open("/tmp/#{n}", "w") { |f| f.write("x" * 60_000_000); f.truncate(0) } } },
  "/links" => -> { 900.times { |n| File.symlink("x" * 1_000_000, "/tmp/l#{n}") } }
}

run ->(env) {
  attack = attacks[env["PATH_INFO"]]
  answer = attack&.call
  next answer if answer.is_a?(Array)
  [200, { "content-type" => "text/plain" }, ["served #{$count += 1} in #{ENV["DYNO"]}"]]
}
"#;

/// Waits until none of the app's dynos is busy.
fn wait_until_free(node: &TestNode, app: &str) {
    let dynos = || node.cli(&["ps", "--app", app, "--json"]).text;
    let free = poll(Duration::from_secs(20), || {
        (!dynos().contains("busy")).then_some(())
    });
    assert!(free.is_some(), "a dyno is busy: {}", dynos());
}

/// Requests `/` of an app until `stop` is set. Returns the duration of each request; all must succeed.
fn request_until(node: &TestNode, app: &str, stop: &AtomicBool) -> Vec<Duration> {
    let mut took = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let (status, body) = node.get(app, "/");
        took.push(began.elapsed());
        assert_eq!(
            (status, body.as_str()),
            (200, "calm"),
            "after {} requests",
            took.len()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    took
}

/// Prints the latency of the neighbour during an attack.
fn print_latency(what: &str, mut took: Vec<Duration>) {
    took.sort();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    println!(
        "{what}: {} requests, p50 {:?}, p99 {:?}, longest {:?}",
        took.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

/// Runs `attack` while requests to the neighbour must succeed, and prints their latency.
fn beside(node: &TestNode, what: &str, attack: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let requests = scope.spawn(|| request_until(node, "neighbour", &stop));
        let stopped = StopOnDrop(&stop);
        attack();
        drop(stopped);
        print_latency(what, requests.join().unwrap());
    });
}

#[test]
fn an_app_that_attacks_its_dynos_fails_only_its_own_requests() {
    let node = &TestNode::start();
    node.deploy("attacker", ATTACKS);
    node.deploy("neighbour", "run ->(e) { [200, {}, ['calm']] }\n");
    beside(node, "alone", || std::thread::sleep(Duration::from_secs(2)));
    let failed = |path: &str, code: &str| {
        let (status, page) = node.get("attacker", path);
        assert!(
            status == 503 && page.contains(code),
            "{path}: {status} {page}"
        );
        node.wait_for_log("attacker", &format!("code={code}"));
        let log = node.wait_for_log("attacker", &format!("path=\"{path}\""));
        let line = log
            .lines()
            .find(|line| line.contains(&format!("path=\"{path}\"")));
        assert!(line.unwrap().contains(&format!("code={code}")), "{line:?}");
        // The next request gets a dyno, whatever happened to the last one.
        let (status, body) = node.get("attacker", "/");
        assert!(status == 200 && body.starts_with("served "), "{body}");
    };
    beside(node, "beside loops", || {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| failed("/loop", "H12"));
            }
            scope.spawn(|| failed("/sleep", "H12"));
        });
    });
    beside(node, "beside exits, aborts and traps", || {
        for path in ["/exit", "/abort", "/trap"] {
            failed(path, "H13");
        }
        failed("/head", "H17");
        node.wait_for_log("attacker", "Process exited with status 3");
        node.wait_for_log(
            "attacker",
            "Process crashed: wasm trap: out of bounds memory access",
        );
    });
    beside(node, "beside recursion", || {
        assert_eq!(node.get("attacker", "/recursion").0, 500);
        assert_eq!(node.get("attacker", "/nested").0, 500);
        assert_eq!(node.get("attacker", "/marshal").0, 500);
        node.wait_for_log("attacker", "stack level too deep (SystemStackError)");
    });
    beside(node, "beside memory bombs", || {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert!(node.get("attacker", "/memory").0 >= 500));
            }
        });
        let log = node.wait_for_log("attacker", "path=\"/memory\"");
        assert!(
            log.contains("Error R15 (Memory quota vastly exceeded)")
                || log.contains("NoMemoryError"),
            "{log}"
        );
    });
    // All attacked dynos are replaced.
    assert_eq!(node.get("attacker", "/").0, 200);
    wait_until_free(node, "attacker");
}

/// Returns by how many KiB the memory of the node is larger after `attack`.
fn growth(node: &TestNode, attack: impl FnOnce()) -> u64 {
    let before = node.memory();
    attack();
    node.memory().saturating_sub(before)
}

#[test]
fn a_flood_of_log_lines_stays_in_the_bounded_log_of_its_app() {
    let node = &TestNode::start();
    node.deploy("attacker", ATTACKS);
    node.deploy(
        "neighbour",
        "puts 'neighbour here'\nrun ->(e) { [200, {}, ['calm']] }\n",
    );
    node.get("neighbour", "/before");
    node.get("attacker", "/");
    let grown = growth(node, || {
        beside(node, "beside a million lines", || {
            assert_eq!(node.get("attacker", "/log").0, 200);
        });
        beside(node, "beside four million lines in one write", || {
            assert_eq!(node.get("attacker", "/lines").0, 200);
        });
    });
    assert!(grown < 64 << 10, "{grown} kB");
    let log = node.cli(&["logs", "--app", "neighbour", "-n", "1500"]).text;
    assert!(
        log.contains("path=\"/before\"") && !log.contains("flood"),
        "{log}"
    );
    let log = node
        .cli(&["logs", "--app", "attacker", "-n", "100000"])
        .text;
    assert!(log.lines().count() <= 1500);
    node.wait_for_log("attacker", "path=\"/lines\"");
}

#[test]
fn files_and_links_of_a_dyno_do_not_exhaust_the_memory_of_the_node() {
    let node = &TestNode::start();
    node.deploy("attacker", ATTACKS);
    node.get("attacker", "/");
    for path in ["/tmp", "/links"] {
        let grown = growth(node, || drop(node.get("attacker", path)));
        // A dyno may take 512 MB, whatever it leaves in files.
        assert!(grown < 512 << 10, "{path}: {grown} kB");
    }
    assert_eq!(node.get("attacker", "/").0, 200);
}

#[test]
fn malformed_response_headers_do_not_split_responses() {
    let node = &TestNode::start();
    node.deploy("attacker", ATTACKS);
    let split = node.raw("attacker", "GET /split", "", "");
    assert!(!split.contains("\nx-evil"), "{split}");
    let lengths = node.raw("attacker", "GET /lengths", "", "");
    assert!(lengths.matches("content-length").count() <= 1, "{lengths}");
}

#[test]
fn dynos_that_loop_at_start_do_not_delay_other_apps() {
    let node = &TestNode::start();
    // A push is rejected if its hook loops, so this one begins to loop after the push.
    let hook = "LOOPS_FROM = Time.now + 5
        Process.singleton_class.prepend(Module.new { def _fork = Time.now > LOOPS_FROM ? loop {} : 0 })
        run ->(e) { [200, {}, ['x']] }\n";
    node.deploy("attacker", hook);
    std::thread::sleep(Duration::from_secs(6));
    node.deploy("neighbour", "run ->(e) { [200, {}, ['calm']] }\n");
    node.get("neighbour", "/");
    beside(node, "beside hooks that loop", || {
        let waiting: Vec<_> = (0..8).map(|_| node.open("attacker", "GET /", "")).collect();
        std::thread::sleep(Duration::from_secs(3));
        drop(waiting);
    });
    // The clients are gone, so the starts are given up.
    wait_until("the attacker has no dynos", Duration::from_secs(5), || {
        node.cli(&["ps", "--app", "attacker", "--json"]).text.trim() == "[]"
    });
}

/// An app that streams request bodies and response bodies.
const STREAMS: &str = r#"
run ->(env) {
  case env["PATH_INFO"]
  when "/upload"
    nil while env["rack.input"].read(65_536)
    [200, {}, ["read"]]
  when "/slow" then [200, {}, Enumerator.new { |out| loop { out << "x"; sleep 0.02 } }]
  when "/large" then [200, {}, Enumerator.new { |out| 4000.times { out << "x" * 65_536 } }]
  else [200, {}, ["calm"]]
  end
}
"#;

#[test]
fn a_disconnected_client_frees_its_dyno() {
    let node = &TestNode::start();
    node.deploy("streams", STREAMS);
    assert!(node.cli(&["ps:scale", "web=1", "-a", "streams"]).success);
    for (line, headers) in [
        ("POST /upload", "Content-Length: 1000000\r\n"),
        ("POST /upload", "Transfer-Encoding: chunked\r\n"),
        ("GET /slow", ""),
        ("GET /large", ""),
    ] {
        let mut client = node.open("streams", line, headers);
        client.write_all(b"5\r\nhello\r\n").unwrap();
        std::thread::sleep(Duration::from_millis(300));
        drop(client);
        // The app has one dyno, so this request needs the one that was freed.
        assert_eq!(node.get("streams", "/"), (200, "calm".to_owned()), "{line}");
        wait_until_free(node, "streams");
    }
}

#[test]
fn clients_that_do_not_read_do_not_exhaust_the_memory_of_the_node() {
    let node = &TestNode::start();
    node.deploy("streams", STREAMS);
    node.get("streams", "/");
    let mut clients = Vec::new();
    let grown = growth(node, || {
        clients.extend((0..6).map(|_| node.open("streams", "GET /large", "")));
        std::thread::sleep(Duration::from_secs(2));
    });
    assert!(grown < 100 << 10, "{grown} kB");
    // A client that reads receives the whole body.
    let mut stream = node.open("streams", "GET /large", "");
    let read = std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
    assert!(read > 4000 * 65_536, "{read}");
}

#[test]
fn requests_over_the_limits_are_refused_without_a_dyno() {
    let node = &TestNode::start();
    node.deploy("streams", STREAMS);
    let long = "x".repeat(8200);
    let many: String = (0..101).map(|n| format!("x-{n}: 1\r\n")).collect();
    for (line, headers, status) in [
        (format!("GET /{long}"), String::new(), "414"),
        ("GET /".to_owned(), format!("x: {long}\r\n"), "431"),
        ("GET /".to_owned(), many, "431"),
        (
            "GET /".to_owned(),
            format!("x: {}\r\n", "y".repeat(300_000)),
            "431",
        ),
        (
            "GET /".to_owned(),
            "Content-Length: 5\r\nContent-Length: 6\r\n".to_owned(),
            "400",
        ),
        ("GET /".to_owned(), "a b: c\r\n".to_owned(), "400"),
        ("CONNECT /".to_owned(), String::new(), "40"),
    ] {
        let mut stream = node.open("streams", &line, &headers);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{status}: {answer}"
        );
    }
    assert_eq!(
        node.cli(&["ps", "--app", "streams", "--json"]).text.trim(),
        "[]"
    );
}

#[test]
fn invalid_api_requests_get_a_json_error_with_the_reason() {
    let node = &TestNode::start();
    node.deploy("myapp", STREAMS);
    let token = node.token();
    let deep = "[".repeat(100_000);
    let large = vec![b' '; 5 << 20];
    let value = format!("{{\"A\": \"{}\"}}", "x".repeat(70_000));
    let long_name = format!("{{\"name\": \"{}\"}}", "x".repeat(100_000));
    let of_app = |rest: &str| format!("/v1/apps/myapp/{rest}");
    for (method, path, body, status, words) in [
        ("POST", "/v1/apps".to_owned(), &b"{"[..], 422, "EOF"),
        (
            "POST",
            "/v1/apps".to_owned(),
            b"\xff\xfe",
            422,
            "expected value",
        ),
        ("POST", "/v1/apps".to_owned(), deep.as_bytes(), 422, ""),
        ("POST", "/v1/apps".to_owned(), &large, 413, "4 MB"),
        (
            "POST",
            "/v1/apps".to_owned(),
            b"{\"name\": \"../../etc\"}",
            422,
            "is not an app name",
        ),
        (
            "POST",
            "/v1/apps".to_owned(),
            b"{\"name\": \"myapp\"}",
            422,
            "already taken",
        ),
        (
            "POST",
            "/v1/apps".to_owned(),
            long_name.as_bytes(),
            422,
            "is not an app name",
        ),
        (
            "GET",
            "/v1/apps/nobody".to_owned(),
            b"",
            404,
            "Couldn't find that app: nobody",
        ),
        (
            "GET",
            "/v1/apps/..%2f..%2fetc".to_owned(),
            b"",
            422,
            "is not an app name",
        ),
        (
            "DELETE",
            "/v1/apps/nobody".to_owned(),
            b"",
            404,
            "Couldn't find that app",
        ),
        (
            "PATCH",
            of_app("config-vars"),
            value.as_bytes(),
            422,
            "65536 bytes together",
        ),
        (
            "PATCH",
            of_app("config-vars"),
            b"{\"A=B\": \"1\"}",
            422,
            "is not a config var's name",
        ),
        (
            "PATCH",
            of_app("config-vars"),
            b"{\"A\": \"x\\u0000y\"}",
            422,
            "NUL byte",
        ),
        (
            "PATCH",
            of_app("config-vars"),
            b"{\"A\": 1}",
            422,
            "expected a string",
        ),
        (
            "PATCH",
            of_app("config-vars"),
            b"{}",
            422,
            "no config vars were given",
        ),
        (
            "PATCH",
            of_app("formation"),
            b"{\"updates\": [{\"type\": \"web\", \"quantity\": -1}]}",
            422,
            "invalid value",
        ),
        (
            "PATCH",
            of_app("formation"),
            b"{\"updates\": [{\"type\": \"web\", \"quantity\": 4294967296}]}",
            422,
            "invalid value",
        ),
        (
            "PATCH",
            of_app("formation"),
            b"{\"updates\": [{\"type\": \"web\", \"quantity\": 10001}]}",
            422,
            "at most 10000",
        ),
        (
            "POST",
            of_app("releases"),
            b"{\"release\": 99}",
            404,
            "no release to roll back to",
        ),
        ("POST", of_app("nothing"), b"", 404, "no such endpoint"),
        ("GET", "/v2".to_owned(), b"", 404, "is not served"),
    ] {
        let line = format!("{method} {path}");
        let (got, answer) = node.api(&line, &token, "", body);
        let shown: String = answer.chars().take(400).collect();
        assert_eq!(got, status, "{line}: {shown}");
        let json: serde_json::Value = serde_json::from_str(&answer).unwrap();
        let message = json["message"].as_str().unwrap();
        assert!(
            message.contains(words) && message.len() < 1000,
            "{line}: {shown}"
        );
    }
    let (status, answer) = node.api("GET /v1/apps", "wrong", "", b"");
    assert!(
        status == 401 && answer.contains("corundum login"),
        "{answer}"
    );
    let proxied = "x-corundum-client: cli\r\nx-forwarded-for: 1.2.3.4\r\n";
    assert_eq!(node.api("POST /v1/login", "", proxied, b"").0, 401);
    assert_eq!(node.api("POST /v1/login", "", "", b"").0, 401);
    // A command needs a connection in both directions.
    for upgrade in ["", "Connection: upgrade\r\nUpgrade: websocket\r\n"] {
        let (status, message) = node.api("GET /v1/apps/myapp/run", &token, upgrade, b"");
        assert_eq!(status, 422, "{message}");
        assert!(message.contains("upgraded to corundum-run/1"), "{message}");
    }
    assert_eq!(node.get("myapp", "/").0, 200);
}

#[test]
fn output_of_run_may_contain_any_bytes() {
    let node = &TestNode::start();
    node.deploy("myapp", STREAMS);
    let code = "$stdout.write(\"a\\0b\\0\"); $stdout.write(\"\\0\" * 100_000); exit 4";
    let run = node.cli(&["run", "-a", "myapp", "ruby", "-e", code]);
    assert_eq!(run.status, 4);
    assert_eq!(run.text, format!("a\0b\0{}", "\0".repeat(100_000)));
}

#[test]
fn settings_of_app_json_apply_to_the_app() {
    let node = &TestNode::start();
    let app = node.create("myapp");
    let about = r#"{"isolation": "request", "warm-up": "none", "formation": {"web": {"quantity": 3}},
        "env": {"SECRET": {"generator": "secret"}, "PLAIN": "1", "NEEDED": {"required": true}}}"#;
    app.write("app.json", about);
    let code = "$seen = 0\nrun ->(e) { [200, {}, [[$seen += 1, ENV['SECRET'], ENV['PLAIN'], ENV['NEEDED']].join(' ')]] }\n";
    app.write("config.ru", code);
    let push = app.push("main");
    push.assert_failure("config:set --app myapp NEEDED=...");
    assert!(node.cli(&["config:set", "NEEDED=n", "-a", "myapp"]).success);
    let push = app.push("main");
    push.assert_success();
    let first = node.get("myapp", "/").1;
    for _ in 0..5 {
        assert_eq!(
            node.get("myapp", "/").1,
            first,
            "state of a request survives in the dyno or in the image"
        );
    }
    let words: Vec<&str> = first.split(' ').collect();
    assert_eq!(
        (words[0], words[1].len(), words[2], words[3]),
        ("1", 64, "1", "n")
    );
    let info = node.cli(&["apps:info", "-a", "myapp", "--json"]).text;
    assert!(info.contains("\"web\": 3"), "{info}");
    // The generated secret is kept, and the formation that the owner set.
    assert!(node.cli(&["ps:scale", "web=2", "-a", "myapp"]).success);
    app.write("other", "");
    assert!(app.push("main").success);
    assert_eq!(node.get("myapp", "/").1, first);
    assert!(
        node.cli(&["apps:info", "-a", "myapp", "--json"])
            .text
            .contains("\"web\": 2")
    );
}

#[test]
fn equal_trees_of_different_apps_share_a_slug() {
    let node = &TestNode::start();
    let slug = |name: &str| {
        let list = node.cli(&["releases", "-a", name, "--json"]).text;
        let list: serde_json::Value = serde_json::from_str(&list).unwrap();
        list[0]["slug"]["id"].as_str().unwrap().to_owned()
    };
    for name in ["one-app", "two-app"] {
        let app = node.create(name);
        app.write("lib/big.psd", "left out");
        app.write(".slugignore", "*.psd\n");
        app.write(
            "config.ru",
            "run ->(e) { [200, {}, [Dir['lib/*'].inspect]] }\n",
        );
        std::thread::sleep(Duration::from_millis(if name == "two-app" {
            1100
        } else {
            0
        }));
        let push = app.push("main");
        push.assert_success();
        assert_eq!(node.get(name, "/").1, "[]");
    }
    assert_eq!(slug("one-app"), slug("two-app"));
    // The slug is kept as long as one of the apps uses it.
    assert!(
        node.cli(&["apps:destroy", "-a", "one-app", "--confirm", "one-app"])
            .success
    );
    assert!(node.cli(&["config:set", "A=1", "-a", "two-app"]).success);
    assert_eq!(node.get("two-app", "/").1, "[]");
}

#[test]
fn server_options_are_read_from_a_config_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("corundum.toml");
    let text = "domain = \"apps.test\"\nboot-timeout = 2\ngem-source = [\"http://127.0.0.1:9/\"]\n";
    std::fs::write(&file, text).unwrap();
    let node = TestNode::start_with(&["--config", file.to_str().unwrap()]);
    let app = node.create("myapp");
    app.write("config.ru", STREAMS);
    let push = app.push("main");
    assert!(
        push.success && push.text.contains("http://myapp.apps.test:"),
        "{}",
        push.text
    );
    let answer = node.raw("myapp", "GET http://myapp.apps.test/", "", "");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    app.write("config.ru", "sleep\n");
    let push = app.push("main");
    assert!(
        push.text.contains("did not boot within 2 s"),
        "{}",
        push.text
    );
}
