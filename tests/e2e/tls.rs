//! HTTPS with certificates of apps and of the node, requested with curl.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::HELLO;
use corundum_test_support::certificates::CertificateAuthority;
use corundum_test_support::node::{Repository, StopOnDrop, TestNode};
use corundum_test_support::ports::free_port;
use corundum_test_support::wait::wait_until;

/// Starts a node with an HTTPS listener. Returns it with the port of that listener.
fn start() -> (TestNode, u16) {
    let port = free_port();
    let https = format!("127.0.0.1:{port}");
    let node = TestNode::start_with(&["--https", &https, "--build-ruby", "false"]);
    (node, port)
}

/// Creates an app with domains and deploys it.
pub(crate) fn deployed(node: &TestNode, name: &str, domains: &[&str]) -> Repository {
    let app = node.deploy(name, HELLO);
    for domain in domains {
        let added = node.cli(&["domains:add", domain, "-a", name]);
        added.assert_success();
    }
    app
}

#[test]
fn an_app_is_served_over_https_with_its_added_certificate() {
    let (mut node, port) = start();
    let app = deployed(&node, "myapp", &["www.example.com"]);
    let authority = CertificateAuthority::new(app.path());
    authority.issue("one", &["www.example.com", "other.example.com"], 2100);
    // curl exits with 35 if the server refuses the handshake.
    assert_eq!(authority.curl(port, "www.example.com", &[]).0, 35);
    let added = app.cli(&node, &["certs:add", "one.pem", "one.key", "--name", "one"]);
    added.assert_success();
    assert!(
        added.text.contains("Shown for:       www.example.com\n"),
        "{}",
        added.text
    );
    for (option, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let options = [option, "--write-out", " %{http_version}"];
        let got = authority.curl(port, "www.example.com", &options);
        assert_eq!(got, (0, format!("hello  {version}")));
    }
    node.kill_and_restart();
    assert_eq!(authority.curl(port, "www.example.com", &[]).0, 0);
    let log = node.cli(&["logs", "-a", "myapp"]).text;
    assert!(log.contains("protocol=http2 tls=true"), "{log}");
    // The certificate covers this name, but it is not a domain of the app.
    assert_eq!(authority.curl(port, "other.example.com", &[]).0, 35);
    let removed = app.cli(&node, &["certs:remove"]);
    removed.assert_success();
    assert_eq!(authority.curl(port, "www.example.com", &[]).0, 35);
}

#[test]
fn private_keys_are_never_printed_and_their_files_are_private() {
    let (node, _) = start();
    let app = deployed(&node, "myapp", &["www.example.com"]);
    let authority = CertificateAuthority::new(app.path());
    authority.issue("one", &["www.example.com"], 2100);
    let key = std::fs::read_to_string(app.path().join("one.key")).unwrap();
    let secret = key.lines().nth(1).unwrap().to_owned();
    let mut shown = app.cli(&node, &["certs:add", "one.pem", "one.key"]).text;
    for command in [
        &["certs"][..],
        &["certs", "--json"],
        &["certs:info"],
        &["certs:info", "--json"],
        &["logs"],
    ] {
        shown += &app.cli(&node, command).text;
    }
    assert!(shown.contains("www.example.com"), "{shown}");
    assert!(
        !shown.contains(&secret) && !shown.contains("PRIVATE"),
        "{shown}"
    );
    use std::os::unix::fs::PermissionsExt;
    for entry in std::fs::read_dir(node.data()).unwrap() {
        let entry = entry.unwrap();
        if entry
            .file_name()
            .to_string_lossy()
            .starts_with("corundum.sqlite")
        {
            let mode = entry.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{:?}", entry.path());
        }
    }
}

#[test]
fn unusable_certificates_are_refused_with_the_reason() {
    let (node, _) = start();
    let app = deployed(&node, "myapp", &["www.example.com"]);
    let authority = CertificateAuthority::new(app.path());
    authority.issue("good", &["www.example.com"], 2100);
    authority.issue("old", &["www.example.com"], 2021);
    authority.issue("foreign", &["www.example.org"], 2100);
    let pem = |file: &str| std::fs::read_to_string(app.path().join(file)).unwrap();
    authority.write("disordered.pem", &(pem("good.pem") + &pem("old.pem")));
    authority.write("cut.pem", &pem("good.pem").replacen("MI", "AA", 1));
    authority.write(
        "encrypted.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    authority.write("empty", "");
    for (certificate, key, reason) in [
        ("old.pem", "old.key", "has expired"),
        ("good.pem", "old.key", "not that of the certificate"),
        (
            "foreign.pem",
            "foreign.key",
            "none of these is a domain of myapp",
        ),
        ("good.key", "good.pem", "no certificate in it"),
        ("good.pem", "good.pem", "no private key in it"),
        ("good.pem", "encrypted.key", "is encrypted"),
        ("disordered.pem", "good.key", "out of order"),
        ("cut.pem", "good.key", "is damaged"),
        ("empty", "empty", "no certificate in it"),
        ("nowhere.pem", "good.key", "nowhere.pem"),
    ] {
        let refused = app.cli(&node, &["certs:add", certificate, key]);
        let text = &refused.text;
        assert!(
            !refused.success && text.contains(reason),
            "{certificate} {key}: {text}"
        );
    }
    let named = app.cli(
        &node,
        &["certs:add", "good.pem", "good.key", "--name", "../x"],
    );
    assert!(
        named.text.contains("is not a certificate's name"),
        "{}",
        named.text
    );
    assert_eq!(app.cli(&node, &["certs", "--json"]).text, "[]\n");
}

#[test]
fn a_certificate_update_fails_no_request() {
    let (node, port) = start();
    let app = deployed(&node, "myapp", &["www.example.com"]);
    let authority = CertificateAuthority::new(app.path());
    authority.issue("one", &["www.example.com"], 2100);
    assert!(app.cli(&node, &["certs:add", "one.pem", "one.key"]).success);
    let stop = AtomicBool::new(false);
    let served = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(authority.curl(port, "www.example.com", &[]).1, "hello ");
                served.fetch_add(1, Ordering::Relaxed);
            }
        });
        let _stop = StopOnDrop(&stop);
        for round in 0..5 {
            let file = format!("next{round}");
            authority.issue(&file, &["www.example.com"], 2100);
            let files = [format!("{file}.pem"), format!("{file}.key")];
            let before = served.load(Ordering::Relaxed);
            let updated = app.cli(&node, &["certs:update", &files[0], &files[1]]);
            updated.assert_success();
            wait_until(
                "requests are served after an update",
                Duration::from_secs(10),
                || served.load(Ordering::Relaxed) >= before + 2,
            );
        }
    });
}

#[test]
fn https_redirect_and_hsts_apply_to_plain_and_encrypted_requests() {
    let (node, port) = start();
    let app = deployed(&node, "myapp", &["www.example.com"]);
    let authority = CertificateAuthority::new(app.path());
    authority.issue("one", &["www.example.com"], 2100);
    assert!(app.cli(&node, &["certs:add", "one.pem", "one.key"]).success);
    let set = ["settings:set", "https-redirect=on", "hsts=31536000"];
    assert!(app.cli(&node, &set).success);
    let url = || app.cli(&node, &["apps:info"]).text;
    let secure = format!("https://myapp.localhost:{port}/");
    assert!(url().contains(&secure), "{}", url());
    let location = format!("location: {secure}a?b\r\n");
    let get = node.raw("myapp", "GET /a?b", "", "");
    assert!(
        get.starts_with("HTTP/1.1 301 ") && get.contains(&location),
        "{get}"
    );
    let post = node.raw("myapp", "POST /a?b", "", "x");
    assert!(
        post.starts_with("HTTP/1.1 308 ") && post.contains(&location),
        "{post}"
    );
    assert!(!get.contains("strict-transport-security"), "{get}");
    let (_, encrypted) = authority.curl(port, "www.example.com", &["--include", "--http1.1"]);
    assert!(encrypted.starts_with("HTTP/1.1 200 "), "{encrypted}");
    assert!(
        encrypted.contains("strict-transport-security: max-age=31536000\r\n"),
        "{encrypted}"
    );
    assert!(
        app.cli(&node, &["settings:unset", "https-redirect"])
            .success
    );
    assert!(!url().contains(&secure), "{}", url());
    assert_eq!(node.get("myapp", "/").0, 200);
}

#[test]
fn the_certificate_of_an_app_serves_no_other_app() {
    let (node, port) = start();
    let one = deployed(&node, "one-app", &["one.example.com"]);
    deployed(&node, "two-app", &["two.example.com"]);
    let authority = CertificateAuthority::new(one.path());
    authority.issue("both", &["*.example.com"], 2100);
    assert!(
        one.cli(&node, &["certs:add", "both.pem", "both.key"])
            .success
    );
    assert_eq!(authority.curl(port, "two.example.com", &[]).0, 35);
    let status = [
        "--header",
        "host: two.example.com",
        "--write-out",
        "%{http_code}",
        "--output",
        "/dev/null",
    ];
    assert_eq!(authority.curl(port, "one.example.com", &status).1, "421");
}

#[test]
fn the_default_certificate_covers_the_domain_of_the_node_and_is_reloaded_when_its_file_changes() {
    let directory = tempfile::tempdir().unwrap();
    let authority = CertificateAuthority::new(directory.path());
    authority.issue("wide", &["*.apps.test"], 2100);
    let file = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (certificate, key, port) = (file("wide.pem"), file("wide.key"), free_port());
    let https = format!("127.0.0.1:{port}");
    let node = TestNode::start_with(&[
        "--https",
        &https,
        "--domain",
        "apps.test",
        "--build-ruby",
        "false",
        "--https-cert",
        &certificate,
        "--https-key",
        &key,
    ]);
    let own = deployed(&node, "one-app", &["www.example.com"]);
    deployed(&node, "two-app", &[]);
    for host in ["one-app.apps.test", "two-app.apps.test"] {
        assert_eq!(
            authority.curl(port, host, &[]),
            (0, "hello ".to_owned()),
            "{host}"
        );
    }
    assert_eq!(authority.curl(port, "www.example.com", &[]).0, 35);
    // A certificate of another authority stands for a renewed one.
    let other = CertificateAuthority::new(own.path());
    other.issue("next", &["*.apps.test"], 2100);
    let both_fit = |port| {
        let old = authority.curl(port, "two-app.apps.test", &[]).0;
        let new = other.curl(port, "two-app.apps.test", &[]).0;
        (old, new)
    };
    std::fs::write(&certificate, "").unwrap();
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(
        both_fit(port).0,
        0,
        "an invalid file replaces the certificate"
    );
    std::fs::copy(own.path().join("next.key"), &key).unwrap();
    std::fs::copy(own.path().join("next.pem"), &certificate).unwrap();
    wait_until(
        "the new certificate is presented",
        Duration::from_secs(20),
        || both_fit(port).1 == 0,
    );
}

#[test]
fn proxy_describes_its_clients_and_others_do_not() {
    let mut node = TestNode::start_with(&["--trusted-proxy", "127.0.0.0/8"]);
    let app = node.create("myapp");
    let names = "%w[rack.url_scheme HTTP_X_FORWARDED_PROTO HTTP_X_FORWARDED_PORT SERVER_PORT REMOTE_ADDR HTTP_X_FORWARDED_FOR]";
    app.write(
        "config.ru",
        &format!("run ->(env) {{ [200, {{}}, [{names}.map {{ |name| env[name] }}.join(' ')]] }}"),
    );
    assert!(app.push("main").success);
    let headers = "X-Forwarded-Proto: https\r\nX-Forwarded-For: 1.1.1.1, 192.0.2.1\r\n";
    let answer = |node: &TestNode| node.raw("myapp", "GET /", headers, "");
    let trusted = answer(&node);
    assert!(
        trusted.ends_with("https https 443 443 192.0.2.1 1.1.1.1, 192.0.2.1"),
        "{trusted}"
    );
    node.wait_for_log("myapp", "fwd=\"1.1.1.1, 192.0.2.1\"");
    node.restart_with(&[]);
    let port = node.http();
    let other = answer(&node);
    let own = format!("http http {port} {port} 127.0.0.1 1.1.1.1, 192.0.2.1, 127.0.0.1");
    assert!(other.ends_with(&own), "{other}");
}
