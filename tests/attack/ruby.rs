//! Attacks of an app's Ruby code on its own dynos, and with its knowledge of those of others.

use std::collections::BTreeSet;
use std::io::{Read, Write};

use corundum_test_support::node::{ProcessOutput, Repository, TestNode};

const LIVE: &str = "run ->(e) { [200, {}, ['live']] }\n";

/// Returns a rackup file whose fork hook runs `action` in each new dyno, as hooks of connection pools do.
fn with_fork_hook(action: &str) -> String {
    format!(
        "module Hook; def _fork = super.tap {{ warn 'in the hook'; {action} }}; end
         Process.singleton_class.prepend(Hook)
         run ->(e) {{ [200, {{}}, ['hooked']] }}"
    )
}

/// Pushes a release whose dynos cannot be restored, and asserts that the current one stays.
fn assert_refused(node: &TestNode, app: &Repository, action: &str, words: &[&str]) {
    let before = node.push_results("myapp");
    app.write("config.ru", &with_fork_hook(action));
    app.commit();
    let push: ProcessOutput = app.push("main");
    assert!(!push.success, "{action}: {}", push.text);
    for word in words {
        assert!(push.text.contains(word), "{action}: {}", push.text);
    }
    assert_eq!(node.push_results("myapp"), before, "{}", push.text);
    assert_eq!(node.get("myapp", "/"), (200, "live".to_owned()), "{action}");
}

#[test]
fn push_whose_dynos_cannot_be_restored_is_rejected() {
    let node = TestNode::start();
    let app = node.deploy("myapp", LIVE);
    let failed = "Push rejected, failed to boot Ruby app";
    let hooks = "fork hooks (Process._fork)";
    assert_refused(
        &node,
        &app,
        "raise 'no connection'",
        &["in the hook", "no connection", hooks, failed],
    );
    assert_refused(
        &node,
        &app,
        "exit!(3)",
        &["exited with status 3", hooks, failed],
    );
    assert_refused(
        &node,
        &app,
        "loop {}",
        &["takes longer than 5 s", hooks, failed],
    );
    assert_refused(
        &node,
        &app,
        "sleep(6)",
        &["takes longer than 5 s", hooks, failed],
    );
    // A hook that works is accepted, and its output is not part of the push.
    app.write("config.ru", &with_fork_hook(""));
    app.commit();
    let push = app.assert_pushed();
    assert!(!push.text.contains("in the hook"), "{}", push.text);
    assert_eq!(node.get("myapp", "/"), (200, "hooked".to_owned()));
}

#[test]
fn config_var_that_breaks_the_fork_hook_is_rejected() {
    let node = TestNode::start();
    node.deploy("myapp", &with_fork_hook("raise 'broken' if ENV['BREAK']"));
    let set = node.cli(&["config:set", "BREAK=1", "--app", "myapp"]);
    assert!(!set.success, "{}", set.text);
    assert_eq!(node.get("myapp", "/"), (200, "hooked".to_owned()));
    let config = node.cli(&["config", "--app", "myapp"]);
    assert!(!config.text.contains("BREAK"), "{}", config.text);
}

/// Generators that an app makes while it loads, in all ways that give them a seed of the system.
const GENERATORS: &str = r#"
require "securerandom"
class Sub < Random; end
class Unseeded < Random; def initialize; end; end
class Renamed < Random; def seed = 7; end
SYSTEM = {
  plain: Random.new, sub: Sub.new, anonymous: Class.new(Random).new, unseeded: Unseeded.new, renamed: Renamed.new,
  used: Random.new.tap(&:rand), copy: Random.new.dup, clone: Random.new.clone,
  loaded: Marshal.load(Marshal.dump(Random.new)), reloaded: Marshal.load(Marshal.dump(Unseeded.new)),
  frozen: Random.new.freeze, new_seed: Random.new(Random.new_seed), default_seed: Random.new(Random.seed),
  other_seed: Random.new(Random.new.seed), old_seed: Random.new(srand), number: Random.new(SecureRandom.random_number(1 << 64)),
  hex: Random.new(SecureRandom.hex(16).to_i(16)), bytes: Random.new(Random.urandom(8).unpack1("Q")),
  kernel: Random.new(rand(1 << 40)), drawn: Random.new(Random.new.rand(1 << 62)), negative: Random.new(-Random.new_seed)
}
LAMBDA = (hidden = Random.new; -> { hidden.rand })
HIDDEN = Object.new.tap { |o| r = Random.new; o.define_singleton_method(:rand) { r.rand } }
CHOSEN = {
  constant: Random.new(42), large: Random.new(0xdeadbeefcafebabe), copy: Random.new(43).dup, sub: Sub.new(44),
  loaded: Marshal.load(Marshal.dump(Random.new(45))), negative: Random.new(-(1 << 70)), digest: Random.new("app".sum << 80)
}
srand(42)
ENUMERABLE = (1..1000).to_a
run ->(env) {
  system = SYSTEM.transform_values(&:rand).merge(lambda: LAMBDA.call, hidden: HIDDEN.rand, kernel_rand: rand,
    random_rand: Random.rand, seed: Random.seed, shuffle: ENUMERABLE.shuffle.first(8).join("-"),
    sample: ENUMERABLE.sample(8).join("-"), secure: SecureRandom.hex(8))
  chosen = CHOSEN.transform_values(&:rand)
  lines = system.map { |k, v| "system #{k} #{v}" } + chosen.map { |k, v| "chosen #{k} #{v}" }
  [200, { "content-type" => "text/plain" }, [lines.join("\n")]]
}
"#;

#[test]
fn dynos_of_an_image_share_only_the_sequences_that_the_program_chose() {
    let node = TestNode::start();
    let app = node.create("myapp");
    app.write("app.json", r#"{"isolation": "request"}"#);
    app.deploy(GENERATORS);
    let [one, two] = [(), ()].map(|()| node.get("myapp", "/").1);
    let lines: BTreeSet<&str> = one.lines().collect();
    assert!(lines.len() > 30, "{one}");
    for line in two.lines() {
        assert_eq!(
            lines.contains(line),
            line.starts_with("chosen"),
            "{line}\n{one}\n\n{two}"
        );
    }
    // Three sample requests have drawn the first numbers.
    assert!(one.contains("chosen constant 0.5986584841970366"), "{one}");
}

#[test]
fn hashes_differ_between_apps_and_releases() {
    let hashes = r#"
        KEYS = %w[a b].freeze
        TABLE = { "a" => 1, [:b, "c"] => 2, 1.5 => 3, 1 << 70 => 4, :d => 5, nil => 6, "e" * 30 => 7, 8 => 8, "f" => 9, (1..2) => 10 }
        run ->(e) {
          known = TABLE["a"] + TABLE[[:b, "c"]] + TABLE[1.5] + TABLE[1 << 70] + TABLE[:d] + TABLE[("e" * 30)] + TABLE[1..2]
          found = $LOADED_FEATURES.to_h { |name| [name, 1] }.size == $LOADED_FEATURES.uniq.size
          symbols = ["some", "new", "symbol"].join("_").to_sym.equal?(:some_new_symbol)
          gems = Gem.loaded_specs.all? { |name, _| Gem.loaded_specs.key?(name.dup) }
          encodings = Encoding.find("utf-8") == Encoding::UTF_8
          [200, {}, [[known, found, symbols, gems, encodings].inspect, "a".hash, :a.hash, [1].hash, 1.5.hash, (1 << 70).hash, 7.hash].join("\n").then { [_1] }.flatten]
        }"#;
    let node = TestNode::start();
    let app = node.deploy("one", hashes);
    node.deploy("two", hashes);
    let first = node.get("one", "/").1;
    let second = node.get("two", "/").1;
    app.deploy(&format!("{hashes} # again"));
    let third = node.get("one", "/").1;
    let (mut lines, mut others, mut again) = (first.lines(), second.lines(), third.lines());
    for lines in [&mut lines, &mut others, &mut again] {
        assert_eq!(lines.next(), Some("[32, true, true, true, true]"));
    }
    for ((one, two), three) in lines.zip(others).zip(again) {
        assert!(
            one != two && two != three && one != three,
            "{one} {two} {three}"
        );
    }
}

/// Recursion that passes through C alone, or through methods that C calls.
const RECURSION: &str = r##"
require "json"
require "openssl"
Node = Struct.new(:next)
class Pair; include Comparable; attr_accessor :other; def <=>(that) = other && that.other ? other <=> that.other : 0; end
N = 200_000
def array = N.times.inject([]) { |inner, _| [inner] }
def table = N.times.inject({}) { |inner, _| { a: inner } }
def nodes = N.times.inject(Node.new) { |inner, _| Node.new(inner) }
def pairs = N.times.inject(Pair.new) { |inner, _| Pair.new.tap { |pair| pair.other = inner } }
def block(n) = [n].each { block(n + 1) }
CASES = [
  -> { array == array }, -> { array.eql?(array) }, -> { array.hash }, -> { array <=> array }, -> { array.inspect },
  -> { array.to_s }, -> { array.join }, -> { table == table }, -> { table.inspect }, -> { table.hash },
  -> { nodes == nodes }, -> { nodes.inspect }, -> { nodes.hash }, -> { pairs == pairs }, -> { block(0) },
  -> { Marshal.dump(array) }, -> { Marshal.dump(table) }, -> { Marshal.dump(nodes) },
  -> { Marshal.load("\x04\b" + "[\x06" * N + "0") }, -> { Marshal.load("\x04\b" + "{\x06i\x06" * N + "0") },
  -> { JSON.generate(array, max_nesting: 0) }, -> { JSON.generate(table, max_nesting: 0) },
  -> { JSON.parse("[" * N + "]" * N, max_nesting: 0) }, -> { JSON.parse('{"a":' * N + "1" + "}" * N, max_nesting: 0) },
  -> { eval((["1"] * (N / 2)).join("+")) }, -> { eval("1" + ".to_i" * N) }, -> { "a".gsub(/a/) { CASES[26].call } },
  -> { [2, 1].sort { CASES[27].call } }, -> { Hash.new { |hash, key| hash[key + 1] }[0] }
]
run ->(env) {
  n = env["QUERY_STRING"].to_i
  next [200, {}, [CASES.length.to_s]] if env["PATH_INFO"] == "/count"
  result = begin; CASES[n].call; "no error"; rescue SystemStackError; "deep"; end
  intact = [1, "a", { b: [2.5] }] == Marshal.load(Marshal.dump([1, "a", { b: [2.5] }]))
  [200, {}, ["#{result} #{intact} #{$served = $served.to_i + 1}"]]
}
"##;

#[test]
fn deep_recursion_in_c_raises_and_leaves_the_dyno_intact() {
    let node = TestNode::start();
    node.deploy("myapp", RECURSION);
    let count: usize = node.get("myapp", "/count").1.parse().unwrap();
    for case in 0..count {
        let (status, body) = node.get("myapp", &format!("/?{case}"));
        assert_eq!(status, 200, "case {case}: {body}");
        assert!(body.starts_with("deep true"), "case {case}: {body}");
    }
    let log = node.cli(&["logs", "--app", "myapp", "-n", "500"]).text;
    assert!(!log.contains("Process crashed"), "{log}");
}

/// Sends a body of `length` zeros, and returns the status and the end of the response.
fn upload(node: &TestNode, path: &str, length: usize) -> (u16, String) {
    let head = format!("Content-Length: {length}\r\n");
    let mut stream = node.open("myapp", &format!("POST {path}"), &head);
    let chunk = vec![0; 1_000_000];
    let mut sent = 0;
    while sent < length {
        // A rejected upload ends the connection early.
        match stream.write(&chunk[..chunk.len().min(length - sent)]) {
            Ok(written) => sent += written,
            Err(_) => break,
        }
    }
    let mut response = Vec::new();
    let _ = stream.read_to_end(&mut response);
    let response = String::from_utf8_lossy(&response).into_owned();
    let status = response
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    (status.unwrap_or(0), response)
}

#[test]
fn upload_is_served_or_rejected_but_does_not_end_its_dyno() {
    let node = TestNode::start();
    node.deploy(
        "myapp",
        r#"
        require "tempfile"
        run ->(env) {
          size = case env["PATH_INFO"]
                 when "/read" then env["rack.input"].read.bytesize
                 when "/save" then Tempfile.create("upload") { |file| IO.copy_stream(env["rack.input"], file) }
                 end
          [200, {}, ["received #{size}"]]
        }"#,
    );
    let (status, response) = upload(&node, "/read", 250_000_000);
    assert!(
        status == 200 && response.contains("received 250000000"),
        "{response}"
    );
    let (status, response) = upload(&node, "/save", 50_000_000);
    assert!(
        status == 200 && response.contains("received 50000000"),
        "{response}"
    );
    for (path, length) in [("/read", 900_000_000), ("/save", 300_000_000)] {
        let (status, response) = upload(&node, path, length);
        assert_eq!(status, 413, "{path}: {response}");
        assert_eq!(node.get("myapp", "/").0, 200);
    }
    let log = node.cli(&["logs", "--app", "myapp", "-n", "500"]).text;
    assert!(!log.contains("H10") && !log.contains("H13"), "{log}");
}
