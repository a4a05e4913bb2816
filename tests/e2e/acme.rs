//! Automatic certificates from a real ACME server, Debian's pebble.

use std::process::{Command, Stdio};
use std::time::Duration;

use corundum_test_support::certificates::CertificateAuthority;
use corundum_test_support::node::TestNode;
use corundum_test_support::ports::free_port;
use corundum_test_support::process::{ChildProcess, is_installed};
use corundum_test_support::wait::{poll, wait_until};

use super::tls::deployed;

/// pebble, its DNS server, and a node that orders certificates from pebble.
struct AcmeSetup {
    node: TestNode,
    https: u16,
    authority: CertificateAuthority,
    _processes: Vec<ChildProcess>,
    directory: tempfile::TempDir,
    management: u16,
}

/// The port of the node that pebble can reach for its validation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ReachablePort {
    Http,
    Https,
    Neither,
}

fn spawn_silent(command: &mut Command) -> ChildProcess {
    ChildProcess::spawn(command.stdout(Stdio::null()).stderr(Stdio::null()))
}

fn pebble_is_installed() -> bool {
    is_installed(
        &["/usr/bin/pebble", "/usr/bin/pebble-challtestsrv"],
        "pebble",
    )
}

impl AcmeSetup {
    fn start(reachable: ReachablePort) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = CertificateAuthority::new(directory.path());
        authority.issue("server", &["127.0.0.1", "localhost"], 2100);
        let [https, nowhere, acme, management, dns, dns_management] = [(); 6].map(|()| free_port());
        let root = directory.path().join("root.pem");
        let node = TestNode::start_with(&[
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
        let at = |this: ReachablePort, port: u16| if reachable == this { port } else { nowhere };
        let config = serde_json::json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{acme}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": directory.path().join("server.pem"),
            "privateKey": directory.path().join("server.key"),
            "httpPort": at(ReachablePort::Http, node.http()),
            "tlsPort": at(ReachablePort::Https, https),
        }});
        let file = directory.path().join("pebble.json");
        std::fs::write(&file, config.to_string()).unwrap();
        let dns = format!("127.0.0.1:{dns}");
        let resolver = spawn_silent(Command::new("pebble-challtestsrv").args([
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
        let pebble = spawn_silent(
            Command::new("pebble")
                .args(["-dnsserver", &dns, "-config"])
                .arg(&file)
                .envs([("PEBBLE_VA_NOSLEEP", "1"), ("PEBBLE_WFE_NONCEREJECT", "0")]),
        );
        let setup = Self {
            node,
            https,
            authority,
            _processes: vec![resolver, pebble],
            directory,
            management,
        };
        setup.fetch_root();
        setup
    }

    /// Fetches the root certificate of pebble, which makes a new one in each run, for curl to trust.
    fn fetch_root(&self) {
        let file = self.directory.path().join("issued-root.pem");
        let url = format!("https://127.0.0.1:{}/roots/0", self.management);
        wait_until("pebble returns its root", Duration::from_secs(5), || {
            let mut curl = Command::new("curl");
            let curl = curl.args(["--silent", "--fail", "--insecure", "--output"]);
            curl.arg(&file).arg(&url).status().unwrap().success()
        });
    }

    /// Requests `/` with curl, which trusts the root certificate of pebble.
    fn visit(&self, host: &str) -> (i32, String) {
        self.authority
            .curl_with_root("issued-root.pem", self.https, host, &[])
    }

    fn hosts(&self) -> serde_json::Value {
        let text = self.node.cli(&["certs:auto", "-a", "myapp", "--json"]).text;
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["hosts"].clone()
    }

    /// Waits until the first host has `status`, and returns the host.
    fn wait_for(&self, status: &str) -> serde_json::Value {
        let found = poll(Duration::from_secs(30), || {
            Some(self.hosts()[0].clone()).filter(|host| host["status"] == status)
        });
        found.unwrap_or_else(|| panic!("{}\n{}", self.hosts(), self.log()))
    }

    fn enable(&self) {
        let enabled = self.node.cli(&["certs:auto:enable", "-a", "myapp"]);
        enabled.assert_success();
    }

    fn log(&self) -> String {
        self.node.cli(&["logs", "-a", "myapp"]).text
    }
}

/// Returns the date in two days as year, month and day.
fn in_two_days() -> (i32, u8, u8) {
    let time = jiff::Timestamp::now() + Duration::from_secs(2 * 86_400);
    let date = time.to_zoned(jiff::tz::TimeZone::UTC).date();
    let [month, day] = [date.month(), date.day()].map(|number| number.unsigned_abs());
    (date.year().into(), month, day)
}

#[test]
fn a_certificate_is_issued_by_http_01_survives_a_restart_and_is_removed_with_its_domain() {
    if !pebble_is_installed() {
        return;
    }
    let mut setup = AcmeSetup::start(ReachablePort::Http);
    deployed(&setup.node, "myapp", &["www.example.com"]);
    // The challenge is answered over HTTP although all other requests are redirected.
    let redirect = ["settings:set", "https-redirect=on", "-a", "myapp"];
    assert!(setup.node.cli(&redirect).success);
    setup.enable();
    setup.wait_for("Cert issued");
    assert_eq!(setup.visit("www.example.com"), (0, "hello ".to_owned()));
    let log = setup.log();
    assert!(
        log.contains("corundum[acme]: Certificate for www.example.com issued"),
        "{log}"
    );
    let certs = setup.node.cli(&["certs", "-a", "myapp"]).text;
    assert!(
        certs.contains("auto:www.example.com") && !certs.contains("PRIVATE"),
        "{certs}"
    );
    setup.node.kill_and_restart();
    assert_eq!(setup.visit("www.example.com").0, 0);
    assert!(
        !setup.log().contains("corundum[acme]"),
        "the certificate is ordered again after a restart"
    );
    assert!(
        setup
            .node
            .cli(&["domains:remove", "www.example.com", "-a", "myapp"])
            .success
    );
    assert_eq!(setup.visit("www.example.com").0, 35);
    wait_until(
        "the certificate of a removed domain is removed",
        Duration::from_secs(10),
        || setup.node.cli(&["certs", "-a", "myapp", "--json"]).text == "[]\n",
    );
}

#[test]
fn a_certificate_is_issued_by_tls_alpn_01_if_only_https_is_reachable() {
    if !pebble_is_installed() {
        return;
    }
    let setup = AcmeSetup::start(ReachablePort::Https);
    deployed(&setup.node, "myapp", &["www.example.com", "*.example.org"]);
    setup.enable();
    poll(Duration::from_secs(30), || {
        (setup.visit("www.example.com").0 == 0).then_some(())
    });
    assert_eq!(
        setup.visit("www.example.com"),
        (0, "hello ".to_owned()),
        "{}",
        setup.log()
    );
    let listed = setup.node.cli(&["certs:auto", "-a", "myapp"]).text;
    assert!(
        listed.contains("A wildcard: add a certificate with certs:add"),
        "{listed}"
    );
    let disabled = setup.node.cli(&["certs:auto:disable", "-a", "myapp"]);
    disabled.assert_success();
    wait_until(
        "the handshake is refused without the certificate",
        Duration::from_secs(10),
        || setup.visit("www.example.com").0 == 35,
    );
}

#[test]
fn a_failed_validation_is_reported_and_retried_on_request() {
    if !pebble_is_installed() {
        return;
    }
    let setup = AcmeSetup::start(ReachablePort::Neither);
    deployed(&setup.node, "myapp", &["www.example.com"]);
    setup.enable();
    let host = setup.wait_for("Failing");
    assert_eq!(host["failures"], 1);
    let message = host["message"].as_str().unwrap();
    assert!(
        message.contains("HTTP-01: ") && message.contains("TLS-ALPN-01: "),
        "{message}"
    );
    assert!(host["next_attempt_at"].is_string(), "{host}");
    let log = setup.log();
    assert!(
        log.contains("Certificate for www.example.com not issued (attempt 1, next in 30 min)"),
        "{log}"
    );
    let listed = setup.node.cli(&["certs:auto", "-a", "myapp"]).text;
    assert!(
        listed.contains(" !     www.example.com: HTTP-01: "),
        "{listed}"
    );
    let refresh = setup.node.cli(&["certs:auto:refresh", "-a", "myapp"]);
    refresh.assert_success();
    wait_until("a second attempt fails", Duration::from_secs(30), || {
        setup.log().matches("not issued").count() == 2
    });
    // A certificate that the owner adds ends the attempts.
    setup.authority.issue("own", &["www.example.com"], 2100);
    let file = |name: &str| {
        setup
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
    assert!(setup.node.cli(&add).success);
    setup.wait_for("Covered by own");
}

#[test]
fn a_certificate_is_renewed_before_it_expires_without_a_failed_handshake() {
    if !pebble_is_installed() {
        return;
    }
    let mut setup = AcmeSetup::start(ReachablePort::Http);
    deployed(&setup.node, "myapp", &["www.example.com"]);
    setup.enable();
    setup.wait_for("Cert issued");
    // pebble's certificates are valid for years, so one that expires soon is put into the store.
    setup.node.kill();
    setup
        .authority
        .issue_until("old", &["www.example.com"], in_two_days());
    let text = |file: &str| std::fs::read_to_string(setup.directory.path().join(file)).unwrap();
    let store = rusqlite::Connection::open(setup.node.data().join("corundum.sqlite")).unwrap();
    let changed = store.execute(
        "update certs set chain = ?1, key = ?2 where name = 'auto:www.example.com'",
        [text("old.pem"), text("old.key")],
    );
    assert_eq!(changed.unwrap(), 1);
    drop(store);
    setup.node.restart();
    let renewed = poll(Duration::from_secs(30), || {
        let old = setup.authority.curl(setup.https, "www.example.com", &[]).0;
        let new = setup.visit("www.example.com").0;
        assert!(old == 0 || new == 0, "neither is served: {}", setup.log());
        (new == 0).then_some(())
    });
    assert!(renewed.is_some(), "{}", setup.log());
    let log = setup.log();
    assert_eq!(
        log.matches("Certificate for www.example.com issued")
            .count(),
        1,
        "{log}"
    );
}

#[test]
fn an_added_certificate_that_expires_soon_is_presented_until_its_end() {
    if !pebble_is_installed() {
        return;
    }
    let setup = AcmeSetup::start(ReachablePort::Http);
    deployed(&setup.node, "myapp", &["www.example.com"]);
    setup
        .authority
        .issue_until("own", &["www.example.com"], in_two_days());
    let file = |name: &str| {
        let path = setup.directory.path().join(name);
        path.to_str().unwrap().to_owned()
    };
    let add = [
        "certs:add",
        &file("own.pem"),
        &file("own.key"),
        "-a",
        "myapp",
    ];
    assert!(setup.node.cli(&add).success);
    setup.enable();
    setup.wait_for("Cert issued");
    let own = setup.authority.curl(setup.https, "www.example.com", &[]);
    assert_eq!(own.0, 0, "{}", own.1);
}

#[test]
fn automatic_certificates_require_an_https_listener() {
    let node = TestNode::start();
    node.create("myapp");
    let refused = node.cli(&["certs:auto:enable", "-a", "myapp"]);
    refused.assert_failure("--https ADDRESS");
    let listed = node.cli(&["certs:auto", "-a", "myapp"]).text;
    assert!(listed.contains("are disabled on myapp"), "{listed}");
}
