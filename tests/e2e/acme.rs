//! Certificates that the node gets by itself, from a real ACME server: Debian's pebble.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::harness::{Node, free_port};
use super::tls::{Authority, deployed};

/// pebble, its DNS server, and a node that asks it.
struct Stage {
    node: Node,
    https: u16,
    authority: Authority,
    _processes: Vec<Process>,
    directory: tempfile::TempDir,
    management: u16,
}

/// Which of the node's ports pebble finds where it looks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reachable {
    Http,
    Https,
    Neither,
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn spawned(command: &mut Command) -> Process {
    let command = command.stdout(Stdio::null()).stderr(Stdio::null());
    Process(command.spawn().unwrap())
}

/// Whether pebble is there. A check that cannot run says so, and fails in CI.
fn installed() -> bool {
    let found = ["pebble", "pebble-challtestsrv"]
        .iter()
        .all(|tool| Path::new("/usr/bin").join(tool).exists());
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(found || !ci, "pebble is missing: apt-get install pebble");
    if !found {
        eprintln!("!! SKIPPED: pebble is missing: apt-get install pebble");
    }
    found
}

impl Stage {
    fn set(reachable: Reachable) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new(directory.path());
        authority.issue("server", &["127.0.0.1", "localhost"], 2100);
        let [https, nowhere, acme, management, dns, dns_management] = [(); 6].map(|()| free_port());
        let root = directory.path().join("root.pem");
        let node = Node::start_with(&[
            "--https",
            &format!("127.0.0.1:{https}"),
            "--build-ruby",
            "false",
            "--acme-directory",
            &format!("https://127.0.0.1:{acme}/dir"),
            "--acme-contact",
            "admin@example.com",
            "--acme-root",
            root.to_str().unwrap(),
        ]);
        let at = |this: Reachable, port: u16| if reachable == this { port } else { nowhere };
        let config = serde_json::json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{acme}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": directory.path().join("server.pem"),
            "privateKey": directory.path().join("server.key"),
            "httpPort": at(Reachable::Http, node.http()),
            "tlsPort": at(Reachable::Https, https),
        }});
        let file = directory.path().join("pebble.json");
        std::fs::write(&file, config.to_string()).unwrap();
        let dns = format!("127.0.0.1:{dns}");
        let resolver = spawned(Command::new("pebble-challtestsrv").args([
            "-dns01",
            &dns,
            "-http01",
            "",
            "-https01",
            "",
            "-tlsalpn01",
            "",
            "-defaultIPv6",
            "",
            "-management",
            &format!("127.0.0.1:{dns_management}"),
        ]));
        let pebble = spawned(
            Command::new("pebble")
                .args(["-dnsserver", &dns, "-config"])
                .arg(&file)
                .envs([("PEBBLE_VA_NOSLEEP", "1"), ("PEBBLE_WFE_NONCEREJECT", "0")]),
        );
        let stage = Self {
            node,
            https,
            authority,
            _processes: vec![resolver, pebble],
            directory,
            management,
        };
        stage.fetch_root();
        stage
    }

    /// The root of what pebble issues, which is another in each run, as what curl trusts.
    fn fetch_root(&self) {
        let file = self.directory.path().join("issued-root.pem");
        let fetched = (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(50));
            let url = format!("https://127.0.0.1:{}/roots/0", self.management);
            let mut curl = Command::new("curl");
            let curl = curl.args(["--silent", "--fail", "--insecure", "--output"]);
            curl.arg(&file).arg(url).status().unwrap().success()
        });
        assert!(fetched, "pebble does not answer");
    }

    /// A visitor who trusts what pebble issues.
    fn visit(&self, host: &str) -> (i32, String) {
        self.authority
            .curl_with("issued-root.pem", self.https, host, &[])
    }

    fn hosts(&self) -> serde_json::Value {
        let text = self.node.cli(&["certs:auto", "-a", "myapp", "--json"]).text;
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["hosts"].clone()
    }

    /// Waits until the first host has this status; what is said of it.
    fn wait_for(&self, status: &str) -> serde_json::Value {
        for _ in 0..300 {
            let host = self.hosts()[0].clone();
            if host["status"] == status {
                return host;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let log = self.node.cli(&["logs", "-a", "myapp"]).text;
        panic!("{}\n{log}", self.hosts());
    }

    fn enable(&self) {
        let enabled = self.node.cli(&["certs:auto:enable", "-a", "myapp"]);
        assert!(enabled.success, "{}", enabled.text);
    }

    fn log(&self) -> String {
        self.node.cli(&["logs", "-a", "myapp"]).text
    }
}

#[test]
fn a_certificate_is_got_by_http_01_kept_and_removed_with_its_domain() {
    if !installed() {
        return;
    }
    let mut stage = Stage::set(Reachable::Http);
    deployed(&stage.node, "myapp", &["www.example.com"]);
    // A redirect does not stand in the way of the challenge.
    let redirect = ["settings:set", "https-redirect=on", "-a", "myapp"];
    assert!(stage.node.cli(&redirect).success);
    stage.enable();
    stage.wait_for("Cert issued");
    assert_eq!(stage.visit("www.example.com"), (0, "hello ".to_owned()));
    let log = stage.log();
    assert!(
        log.contains("corundum[acme]: Certificate for www.example.com issued"),
        "{log}"
    );
    let certs = stage.node.cli(&["certs", "-a", "myapp"]).text;
    assert!(
        certs.contains("auto:www.example.com") && !certs.contains("PRIVATE"),
        "{certs}"
    );
    stage.node.kill_and_restart();
    assert_eq!(stage.visit("www.example.com").0, 0);
    assert!(
        !stage.log().contains("corundum[acme]"),
        "it is not got again after a restart"
    );
    assert!(
        stage
            .node
            .cli(&["domains:remove", "www.example.com", "-a", "myapp"])
            .success
    );
    assert_eq!(stage.visit("www.example.com").0, 35);
    for _ in 0..100 {
        std::thread::sleep(Duration::from_millis(100));
        if stage.node.cli(&["certs", "-a", "myapp", "--json"]).text == "[]\n" {
            return;
        }
    }
    panic!("the certificate of a domain that was removed stays");
}

#[test]
fn a_certificate_is_got_by_tls_alpn_01_where_only_https_can_be_reached() {
    if !installed() {
        return;
    }
    let stage = Stage::set(Reachable::Https);
    deployed(&stage.node, "myapp", &["www.example.com", "*.example.org"]);
    stage.enable();
    for _ in 0..300 {
        std::thread::sleep(Duration::from_millis(100));
        if stage.visit("www.example.com").0 == 0 {
            break;
        }
    }
    assert_eq!(
        stage.visit("www.example.com"),
        (0, "hello ".to_owned()),
        "{}",
        stage.log()
    );
    let listed = stage.node.cli(&["certs:auto", "-a", "myapp"]).text;
    assert!(
        listed.contains("A wildcard: add a certificate with certs:add"),
        "{listed}"
    );
    let disabled = stage.node.cli(&["certs:auto:disable", "-a", "myapp"]);
    assert!(disabled.success, "{}", disabled.text);
    let gone = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        stage.visit("www.example.com").0 == 35
    });
    assert!(gone, "the certificate stays");
}

#[test]
fn a_host_that_cannot_be_proved_is_reported_and_tried_again_when_asked() {
    if !installed() {
        return;
    }
    let stage = Stage::set(Reachable::Neither);
    deployed(&stage.node, "myapp", &["www.example.com"]);
    stage.enable();
    let host = stage.wait_for("Failing");
    assert_eq!(host["failures"], 1);
    let message = host["message"].as_str().unwrap();
    assert!(
        message.contains("HTTP-01: ") && message.contains("TLS-ALPN-01: "),
        "{message}"
    );
    assert!(host["next_attempt_at"].is_string(), "{host}");
    let log = stage.log();
    assert!(
        log.contains("Certificate for www.example.com not issued (attempt 1, next in 30 min)"),
        "{log}"
    );
    let listed = stage.node.cli(&["certs:auto", "-a", "myapp"]).text;
    assert!(
        listed.contains(" !     www.example.com: HTTP-01: "),
        "{listed}"
    );
    let refresh = stage.node.cli(&["certs:auto:refresh", "-a", "myapp"]);
    assert!(refresh.success, "{}", refresh.text);
    let again = (0..300).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        stage.log().matches("not issued").count() == 2
    });
    assert!(again, "{}", stage.log());
    // Its owner's own certificate ends the attempts.
    stage.authority.issue("own", &["www.example.com"], 2100);
    let file = |name: &str| {
        stage
            .directory
            .path()
            .join(name)
            .to_str()
            .unwrap()
            .to_owned()
    };
    let add = [
        "certs:add",
        &file("own.pem"),
        &file("own.key"),
        "--name",
        "own",
        "-a",
        "myapp",
    ];
    assert!(stage.node.cli(&add).success);
    stage.wait_for("Covered by own");
}

#[test]
fn a_certificate_is_renewed_before_it_ends_and_no_visitor_notices() {
    if !installed() {
        return;
    }
    let mut stage = Stage::set(Reachable::Http);
    deployed(&stage.node, "myapp", &["www.example.com"]);
    stage.enable();
    stage.wait_for("Cert issued");
    // pebble's certificates last for years: the node finds one in its store that ends soon.
    stage.node.kill();
    let soon = jiff::Timestamp::now() + Duration::from_secs(2 * 86_400);
    stage
        .authority
        .issue_until("old", &["www.example.com"], soon);
    let text = |file: &str| std::fs::read_to_string(stage.directory.path().join(file)).unwrap();
    let store = rusqlite::Connection::open(stage.node.data().join("corundum.sqlite")).unwrap();
    let changed = store.execute(
        "update certs set chain = ?1, key = ?2 where name = 'auto:www.example.com'",
        [text("old.pem"), text("old.key")],
    );
    assert_eq!(changed.unwrap(), 1);
    drop(store);
    stage.node.restart();
    let renewed = (0..300).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        let old = stage.authority.curl(stage.https, "www.example.com", &[]).0;
        let new = stage.visit("www.example.com").0;
        assert!(old == 0 || new == 0, "neither is served: {}", stage.log());
        new == 0
    });
    assert!(renewed, "{}", stage.log());
    let log = stage.log();
    assert_eq!(
        log.matches("Certificate for www.example.com issued")
            .count(),
        1,
        "{log}"
    );
}

#[test]
fn an_added_certificate_that_nears_its_end_is_shown_on_and_has_its_successor() {
    if !installed() {
        return;
    }
    let stage = Stage::set(Reachable::Http);
    deployed(&stage.node, "myapp", &["www.example.com"]);
    let soon = jiff::Timestamp::now() + Duration::from_secs(2 * 86_400);
    stage
        .authority
        .issue_until("own", &["www.example.com"], soon);
    let file = |name: &str| {
        let path = stage.directory.path().join(name);
        path.to_str().unwrap().to_owned()
    };
    let add = [
        "certs:add",
        &file("own.pem"),
        &file("own.key"),
        "-a",
        "myapp",
    ];
    assert!(stage.node.cli(&add).success);
    stage.enable();
    stage.wait_for("Cert issued");
    let own = stage.authority.curl(stage.https, "www.example.com", &[]);
    assert_eq!(own.0, 0, "{}", own.1);
}

#[test]
fn automatic_certificates_take_an_https_listener() {
    let node = Node::start();
    node.create("myapp");
    let refused = node.cli(&["certs:auto:enable", "-a", "myapp"]);
    assert!(
        !refused.success && refused.text.contains("--https ADDRESS"),
        "{}",
        refused.text
    );
    let listed = node.cli(&["certs:auto", "-a", "myapp"]).text;
    assert!(listed.contains("are disabled on myapp"), "{listed}");
}
