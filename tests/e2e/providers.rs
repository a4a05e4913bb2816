//! Providers of add-ons: the sample, and providers that lie, hang or answer junk.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use corundum_test_support::http1;
use corundum_test_support::node::TestNode;
use corundum_test_support::wait::wait_until;

/// An app that speaks to its namespace. The host name of the provider's app takes the place of a name in the DNS.
const CONSUMER: &str = r##"require 'net/http'
run(lambda do |env|
  url = ENV['KEYVALUE_URL'] or next [200, {}, ['no config var']]
  uri = URI(env['QUERY_STRING'].empty? ? url : env['QUERY_STRING'])
  call = lambda do |type, key, body = nil|
    request = type.new("#{uri.path}/#{key}")
    request['Host'] = 'keyvalue.localhost'
    request.basic_auth(uri.user, uri.password)
    request.body = body if body
    answer = Net::HTTP.start(uri.host, uri.port) { |http| http.request(request) }
    "#{answer.code} #{answer.body}"
  end
  body = case env['PATH_INFO']
    when %r{\A/set/(\w+)} then call.(Net::HTTP::Put, $1, 'value')
    when %r{\A/get/(\w+)} then call.(Net::HTTP::Get, $1)
    else url
    end
  [200, {}, [body]]
rescue SystemCallError => e
  [200, {}, [e.class.name]]
end)
"##;

fn write_private(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
}

#[test]
fn sample_provider_on_the_node_gives_namespaces_to_other_apps() {
    let mut node = TestNode::start();
    let provider = node.create("keyvalue");
    provider.copy_sample("provider");
    let port = node.http();
    let url = format!("PUBLIC_URL=http://127.0.0.1:{port}");
    provider
        .cli(&node, &["settings:set", "volume=20MB"])
        .assert_success();
    let secrets = ["PROVIDER_PASSWORD=pass-of-provider", "SSO_SALT=salt", &url];
    provider
        .cli(&node, &[&["config:set"], &secrets[..]].concat())
        .assert_success();
    provider.assert_pushed();

    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    let manifest = provider.path().join("addon-manifest.json");
    let manifest = std::fs::read_to_string(manifest).unwrap().replace(
        "https://keyvalue.example",
        &format!("http://keyvalue.localhost:{port}"),
    );
    std::fs::write(file("addon-manifest.json"), manifest).unwrap();
    write_private(&file("password"), "pass-of-provider\n");
    write_private(&file("salt"), "salt\n");
    let text = format!(
        "[services.keyvalue]\nmanifest = \"addon-manifest.json\"\npassword-file = \"password\"\n\
         sso-salt-file = \"salt\"\ndefault-plan = \"mini\"\ngrants = [\"tcp://127.0.0.1:{port}\"]\n\
         [services.keyvalue.plans]\nmini = \"3 keys\"\nlarge = \"1,000 keys\"\n"
    );
    std::fs::write(file("corundum.toml"), text).unwrap();
    let config = file("corundum.toml");
    node.restart_with(&[
        "--config",
        config.to_str().unwrap(),
        "--build-ruby",
        "false",
    ]);
    let plans = node.cli(&["addons:plans", "keyvalue"]);
    assert!(plans.text.contains("1,000 keys"), "{}", plans.text);

    let one = node.deploy("one", CONSUMER);
    let two = node.deploy("two", CONSUMER);
    let created = one.cli(&node, &["addons:create", "keyvalue"]);
    created.assert_success();
    assert!(created.text.contains("as KEYVALUE_URL"), "{}", created.text);
    for key in ["a", "b", "c"] {
        assert_eq!(node.get("one", &format!("/set/{key}")).1, "204 ");
    }
    assert_eq!(node.get("one", "/get/a").1, "200 value");
    assert!(node.get("one", "/set/d").1.contains("full"));
    one.cli(&node, &["addons:upgrade", "KEYVALUE", "large"])
        .assert_success();
    assert_eq!(node.get("one", "/set/d").1, "204 ");
    let refused = one.cli(&node, &["addons:upgrade", "KEYVALUE", "mini"]);
    refused.assert_failure("room for fewer keys");
    let info = one.cli(&node, &["addons:info", "KEYVALUE"]);
    for line in ["Plan: keyvalue:large", "Message: 1000 keys"] {
        assert!(info.text.contains(line), "{line} in {}", info.text);
    }

    // The other app knows the URL and has no grant for the address, until it has an add-on of its own.
    let url = node.get("one", "/").1;
    two.cli(&node, &["config:set", "KEYVALUE_URL=http://127.0.0.1:1/x"])
        .assert_success();
    let other = node.get("two", &format!("/get/a?{url}")).1;
    assert_eq!(other, "Errno::ECONNREFUSED");
    two.cli(&node, &["config:unset", "KEYVALUE_URL"])
        .assert_success();
    two.cli(&node, &["addons:create", "keyvalue:mini"])
        .assert_success();
    assert!(node.get("two", "/get/a").1.starts_with("404"));
    let guessed = node.get("two", "/").1;
    let token = |url: &str| url.split(['@', ':']).nth(2).unwrap().to_owned();
    let guessed = url.replace(&token(&url), &token(&guessed));
    let other = node.get("two", &format!("/get/a?{guessed}")).1;
    assert!(other.starts_with("401"), "{other}");

    // The page of addons:open signs in; a changed form does not.
    let open = one.cli(&node, &["addons:open", "KEYVALUE", "--json"]);
    let form: serde_json::Value = serde_json::from_str(&open.text).unwrap();
    let fields = form["params"].as_object().unwrap();
    let post = |changed: Option<(&str, &str)>| {
        let pairs = fields.iter().map(|(name, value)| {
            let own = value.as_str().unwrap();
            let value = changed.filter(|(field, _)| field == name);
            format!("{name}={}", value.map_or(own, |(_, value)| value))
        });
        let body = pairs.collect::<Vec<_>>().join("&");
        let answer = node.raw("keyvalue", "POST /sso", "", &body);
        http1::status_and_body(&answer)
    };
    let (status, page) = post(None);
    assert!(
        status == 200 && page.contains("Namespace of one</h1><p>4 keys"),
        "{page}"
    );
    assert_eq!(post(Some(("timestamp", "1700000000"))).0, 403);
    assert_eq!(
        post(Some((
            "resource_token",
            "0000000000000000000000000000000000000000"
        )))
        .0,
        403
    );
    let open = one.cli(&node, &["addons:open", "KEYVALUE"]);
    let page = open.text.trim().strip_prefix("file://").unwrap();
    let html = std::fs::read_to_string(page).unwrap();
    let mode = std::fs::metadata(page).unwrap().permissions().mode();
    std::fs::remove_file(page).unwrap();
    assert!(html.contains("resource_token") && mode & 0o077 == 0);

    let folders = || {
        let volume = node.data().join("volumes/keyvalue");
        std::fs::read_dir(volume).unwrap().count()
    };
    assert_eq!(folders(), 2);
    one.cli(&node, &["addons:destroy", "KEYVALUE", "--confirm", "one"])
        .assert_success();
    assert_eq!(node.get("one", "/").1, "no config var");
    assert_eq!(folders(), 1);
    node.cli(&["apps:destroy", "--app", "two", "--confirm", "two"])
        .assert_success();
    wait_until("the namespace is gone", Duration::from_secs(60), || {
        folders() == 0
    });
}

/// An answer of a scripted provider.
#[derive(Clone)]
enum Scripted {
    /// A status and a body.
    Answer(u16, String),
    /// Bytes that are no HTTP.
    Noise,
    /// A body without an end.
    Endless,
    /// No answer.
    Hang,
    /// A closed connection.
    Close,
    /// A redirect to a place that must not see the password.
    Redirect(u16),
}

/// A request that a scripted provider has seen.
#[derive(Debug, Clone)]
struct SeenRequest {
    line: String,
    authorization: String,
    body: String,
}

/// A provider whose answers a test chooses.
struct ScriptedProvider {
    port: u16,
    answer: Arc<Mutex<Scripted>>,
    seen: Arc<Mutex<Vec<SeenRequest>>>,
}

impl ScriptedProvider {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let provider = Self {
            port: listener.local_addr().unwrap().port(),
            answer: Arc::new(Mutex::new(Scripted::Close)),
            seen: Arc::default(),
        };
        let (answer, seen) = (provider.answer.clone(), provider.seen.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, seen) = (answer.clone(), seen.clone());
                std::thread::spawn(move || drop(serve(stream, &answer, &seen)));
            }
        });
        provider
    }

    /// Answers requests for a new resource in this way; removals succeed.
    fn will(&self, answer: Scripted) {
        *self.answer.lock().unwrap() = answer;
    }

    fn seen(&self) -> Vec<SeenRequest> {
        self.seen.lock().unwrap().clone()
    }

    fn created(&self) -> serde_json::Value {
        let seen = self.seen();
        let mut posts = seen.iter().filter(|one| one.line.starts_with("POST /"));
        serde_json::from_str(&posts.next_back().unwrap().body).unwrap()
    }

    fn removed(&self, id: &str) -> bool {
        let line = format!("DELETE /heroku/resources/{id} HTTP/1.1");
        self.seen().iter().any(|one| one.line == line)
    }
}

fn serve(
    mut stream: TcpStream,
    answer: &Mutex<Scripted>,
    seen: &Mutex<Vec<SeenRequest>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut head, mut length) = (Vec::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
        head.push(line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let authorization = head.iter().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("authorization").then_some(value)
    });
    let request = SeenRequest {
        line: head[0].clone(),
        authorization: authorization.unwrap_or_default().to_owned(),
        body: String::from_utf8(body).unwrap(),
    };
    let is_removal = request.line.starts_with("DELETE");
    seen.lock().unwrap().push(request);
    let scripted = match is_removal {
        true => Scripted::Answer(204, String::new()),
        false => answer.lock().unwrap().clone(),
    };
    let head = "content-type: application/json\r\nconnection: close\r\n";
    match scripted {
        Scripted::Answer(status, body) => write!(
            stream,
            "HTTP/1.1 {status} X\r\n{head}content-length: {}\r\n\r\n{body}",
            body.len()
        ),
        Scripted::Redirect(port) => write!(
            stream,
            "HTTP/1.1 307 X\r\n{head}location: http://127.0.0.1:{port}/\r\ncontent-length: 0\r\n\r\n"
        ),
        Scripted::Noise => stream.write_all(b"\x16\x03\x01 this is no HTTP\r\n\r\n"),
        Scripted::Endless => {
            write!(stream, "HTTP/1.1 201 X\r\n{head}\r\n{{\"config\": \"")?;
            loop {
                stream.write_all(&[b'x'; 4096])?;
            }
        }
        Scripted::Hang => {
            std::thread::sleep(Duration::from_secs(60));
            Ok(())
        }
        Scripted::Close => Ok(()),
    }
}

const MANIFEST: &str = r#"{"id": "acme-kv", "name": "Acme KV", "api": {
  "config_vars": ["ACME_KV_URL", "ACME_KV_KEY"], "password": "pass-of-acme", "sso_salt": "s",
  "production": {"base_url": "http://127.0.0.1:PORT/heroku/resources"}, "version": "3"}}"#;

/// Starts a node with a provider at a port, and another one.
fn node_with_provider(directory: &Path, port: u16) -> TestNode {
    let manifest = MANIFEST.replace("PORT", &port.to_string());
    write_private(&directory.join("acme.json"), &manifest);
    let other = manifest
        .replace("acme-kv", "other")
        .replace("ACME_KV", "OTHER")
        .replace("pass-of-acme", "pass-of-other");
    write_private(&directory.join("other.json"), &other);
    let config = directory.join("corundum.toml");
    let text = "[services.acme]\nmanifest = \"acme.json\"\nplans = { mini = \"small\" }\n\
                [services.other]\nmanifest = \"other.json\"\nplans = { mini = \"small\" }\n";
    std::fs::write(&config, text).unwrap();
    TestNode::start_with(&[
        "--config",
        config.to_str().unwrap(),
        "--build-ruby",
        "false",
    ])
}

#[test]
fn provider_that_lies_hangs_or_answers_junk_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let provider = ScriptedProvider::start();
    let node = node_with_provider(directory.path(), provider.port);
    let app = node.create("app");
    let listed = || node.cli(&["addons", "--app", "app", "--json"]).text;
    let config = || node.cli(&["config", "--app", "app", "--json"]).text;
    let before = config();
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let other_port = elsewhere.local_addr().unwrap().port();
    let answer = |status, body: &str| Scripted::Answer(status, body.to_owned());
    let cases = [
        (Scripted::Close, "the provider failed"),
        (Scripted::Noise, "the provider failed"),
        (Scripted::Endless, "larger than 64 KiB"),
        (Scripted::Redirect(other_port), "it answered 307"),
        (answer(201, "<html>Welcome</html>"), "not a JSON object"),
        (answer(201, "{}"), "without config vars"),
        (answer(201, ""), "without config vars"),
        (
            answer(201, r#"{"config": {"DATABASE_URL": "stolen"}}"#),
            "does not declare",
        ),
        (
            answer(201, r#"{"config": {"ACME_KV_URL": ["stolen"]}}"#),
            "is not text",
        ),
        (
            answer(422, r#"{"message": "mini is\u001b[2J sold out"}"#),
            "sold out",
        ),
        (answer(503, ""), "it answered 503"),
        (
            answer(401, ""),
            "check the id and the password of its manifest",
        ),
        (Scripted::Hang, "no answer in 25 s"),
    ];
    for (scripted, expected) in cases {
        provider.will(scripted);
        let created = app.cli(&node, &["addons:create", "acme"]);
        created.assert_failure(expected);
        for secret in ["pass-of-acme", "stolen", "\u{1b}"] {
            assert!(!created.text.contains(secret), "{}", created.text);
        }
        let id = provider.created()["uuid"].as_str().unwrap().to_owned();
        assert!(provider.removed(&id), "{expected}: {:?}", provider.seen());
        assert_eq!(listed().trim(), "[]", "{expected}");
        assert_eq!(config(), before, "{expected}");
    }
    elsewhere.set_nonblocking(true).unwrap();
    assert!(elsewhere.accept().is_err(), "a redirect was followed");

    // Options and the key reach the provider, and the same command works now.
    provider.will(answer(
        201,
        r#"{"id": 7, "config": {"ACME_KV_URL": "https://kv.example/1"}}"#,
    ));
    let invalid = app.cli(&node, &["addons:create", "acme", "--", "region=eu"]);
    invalid.assert_failure("--NAME=VALUE");
    app.cli(&node, &["addons:create", "acme", "--", "--region=eu"])
        .assert_success();
    let request = provider.created();
    assert_eq!(request["options"], serde_json::json!({"region": "eu"}));
    assert_eq!(request["plan"], "mini");
    let seen = provider.seen();
    // printf acme-kv:pass-of-acme | base64
    assert_eq!(seen[0].authorization, "Basic YWNtZS1rdjpwYXNzLW9mLWFjbWU=");
    assert!(config().contains("https://kv.example/1"));
    let failed = app.cli(&node, &["addons:rotate", "ACME_KV"]);
    failed.assert_failure("the provider alone replaces");
    let log = node.cli(&["logs", "-n", "1500", "--app", "app"]).text;
    assert!(!log.contains("kv.example"), "{log}");
}

#[test]
fn asynchronous_creation_ends_with_the_providers_callback_even_after_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let provider = ScriptedProvider::start();
    let mut node = node_with_provider(directory.path(), provider.port);
    let app = node.deploy(
        "app",
        "run ->(env) { [200, {}, [ENV['ACME_KV_URL'].to_s]] }\n",
    );
    provider.will(Scripted::Answer(
        202,
        r#"{"id": "later", "message": "Soon"}"#.to_owned(),
    ));
    let created = app.cli(&node, &["addons:create", "acme"]);
    created.assert_success();
    assert!(created.text.contains("provisioning"), "{}", created.text);
    let request = provider.created();
    let callback = request["callback_url"].as_str().unwrap();
    let base = format!("http://127.0.0.1:{}", node.api_port());
    let path = callback.strip_prefix(&base).unwrap().to_owned();
    let basic = |user: &str, password: &str| base64_of(&format!("{user}:{password}"));
    let call = |node: &TestNode, who: &str, line: &str, body: &str| {
        let request = format!(
            "{line} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {who}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        http1::status_and_body(&http1::exchange(node.api_port(), &request))
    };
    node.kill_and_restart();
    let state = |node: &TestNode| {
        let listed = node.cli(&["addons", "--app", "app", "--json"]).text;
        let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
        listed[0]["state"].as_str().unwrap_or("gone").to_owned()
    };
    assert_eq!(state(&node), "provisioning");

    let acme = basic("acme-kv", "pass-of-acme");
    let (get, patch, done) = (
        format!("GET {path}"),
        format!("PATCH {path}/config"),
        format!("POST {path}/actions/provision"),
    );
    for (who, status) in [
        (basic("acme-kv", "wrong"), 401),
        (basic("other", "pass-of-acme"), 401),
        (basic("other", "pass-of-other"), 404),
        (acme.clone(), 200),
    ] {
        assert_eq!(call(&node, &who, &get, "").0, status);
    }
    // No config var is set yet, and none of another's is.
    assert_eq!(call(&node, &acme, &done, "").0, 422);
    let lie = r#"{"config": [{"name": "OTHER_URL", "value": "https://kv.example"}]}"#;
    assert_eq!(call(&node, &acme, &patch, lie).0, 422);
    assert_eq!(call(&node, &acme, &patch, "{").0, 422);
    let config = r#"{"config": [{"name": "ACME_KV_URL", "value": "https://kv.example/1"}]}"#;
    assert_eq!(call(&node, &acme, &patch, config).0, 200);
    assert_eq!(node.get("app", "/").1, "");
    assert_eq!(state(&node), "provisioning");
    assert_eq!(call(&node, &acme, &done, "").0, 200);
    assert_eq!(call(&node, &acme, &done, "").0, 200);
    assert_eq!(state(&node), "provisioned");
    assert_eq!(node.get("app", "/").1, "https://kv.example/1");

    // The provider replaces its credentials later.
    let config = config.replace("example/1", "example/2");
    let releases = |node: &TestNode| {
        let listed = node.cli(&["releases", "--app", "app", "--json"]).text;
        listed.matches("\"version\"").count()
    };
    assert_eq!(call(&node, &acme, &patch, &config).0, 200);
    assert_eq!(node.get("app", "/").1, "https://kv.example/2");
    let count = releases(&node);
    assert_eq!(call(&node, &acme, &patch, &config).0, 200);
    assert_eq!(releases(&node), count);
    node.kill_and_restart();
    assert_eq!(node.get("app", "/").1, "https://kv.example/2");
    let undo = format!("POST {path}/actions/deprovision");
    assert_eq!(call(&node, &acme, &undo, "").0, 409);

    // A provider that gives up leaves nothing.
    app.cli(&node, &["addons:create", "acme", "--as", "SECOND"])
        .assert_success();
    let id = provider.created()["uuid"].as_str().unwrap().to_owned();
    let undo = format!("POST /v1/provider/addons/{id}/actions/deprovision");
    assert_eq!(call(&node, &acme, &undo, "").0, 200);
    wait_until("the add-on is removed", Duration::from_secs(30), || {
        provider.removed(&id)
    });
    wait_until("its record is removed", Duration::from_secs(30), || {
        let listed = node.cli(&["addons", "--app", "app", "--json"]).text;
        listed.matches("\"provisioned\"").count() == 1 && !listed.contains("deprovisioning")
    });
}

/// Returns text in Base64 (RFC 4648 section 4).
fn base64_of(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::new();
    for piece in text.as_bytes().chunks(3) {
        let bits = piece
            .iter()
            .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - piece.len()));
        for index in 0..4 {
            let digit = bits >> (18 - 6 * index) & 63;
            encoded.push(match index <= piece.len() {
                true => char::from(DIGITS[digit as usize]),
                false => '=',
            });
        }
    }
    encoded
}

#[test]
fn unusable_manifest_is_named_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| write_private(&directory.path().join(name), text);
    let config = directory.path().join("corundum.toml");
    let manifest = MANIFEST.replace("PORT", "1");
    let mut node = TestNode::start();
    for (table, manifest, expected) in [
        ("acme", "{", "[services.acme] manifest: "),
        (
            "acme",
            &manifest.replace("http://127.0.0.1:1", "http://provider.example"),
            "http is for private addresses",
        ),
        (
            "acme",
            &manifest.replace("ACME_KV_URL", "DATABASE_URL"),
            "must begin with ACME_KV_",
        ),
        (
            "acme",
            &manifest.replace("\"password\": \"pass-of-acme\", ", ""),
            "give password-file",
        ),
        (
            "heroku-postgresql",
            &manifest,
            "another service has its name",
        ),
    ] {
        write("acme.json", manifest);
        let text = format!(
            "[services.postgres]\nurl = \"postgres://admin@127.0.0.1:1/postgres\"\n[services.{table}]\nmanifest = \"acme.json\"\nplans = {{ mini = \"small\" }}\n"
        );
        std::fs::write(&config, text).unwrap();
        let started = node.try_restart_with(&["--config", config.to_str().unwrap()]);
        let error = started.unwrap_err();
        assert!(
            error.contains(expected) && !error.contains("pass-of-acme"),
            "{expected}: {error}"
        );
    }
}
