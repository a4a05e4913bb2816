//! Settings of apps, changed with the CLI.

use corundum_test_support::node::TestNode;

#[test]
fn settings_are_set_unset_and_kept_across_a_restart() {
    let mut node = TestNode::start();
    node.create("myapp");
    let value = |node: &TestNode, name: &str| {
        let text = node.cli(&["settings", "-a", "myapp", "--json"]).text;
        let settings: serde_json::Value = serde_json::from_str(&text).unwrap();
        let found = settings
            .as_array()
            .unwrap()
            .iter()
            .find(|s| s["name"] == name);
        found.unwrap()["value"].as_str().unwrap().to_owned()
    };
    assert_eq!(value(&node, "hsts"), "off");
    let set = node.cli(&["settings:set", "hsts=31536000", "-a", "myapp"]);
    set.assert_success();
    node.kill_and_restart();
    assert_eq!(value(&node, "hsts"), "max-age=31536000");
    let log = node.cli(&["settings", "-a", "myapp"]).text;
    assert!(log.contains("Strict-Transport-Security"), "{log}");
    assert!(node.cli(&["settings:unset", "hsts", "-a", "myapp"]).success);
    assert_eq!(value(&node, "hsts"), "off");
}

#[test]
fn invalid_settings_are_refused_and_change_nothing() {
    let node = TestNode::start();
    node.create("myapp");
    for (pair, reason) in [
        ("colour=red", "unknown setting \"colour\""),
        ("hsts=forever", "write off, or seconds"),
        ("https-redirect=maybe", "write on or off"),
        ("https-redirect=on", "--https ADDRESS"),
        ("body-limit=0", "write megabytes"),
        ("body-limit=1G", "write megabytes"),
        ("hsts", "write NAME=VALUE"),
    ] {
        let refused = node.cli(&["settings:set", "hsts=1", pair, "-a", "myapp"]);
        assert!(
            !refused.success && refused.text.contains(reason),
            "{pair}: {}",
            refused.text
        );
    }
    let listed = node.cli(&["settings", "-a", "myapp", "--json"]).text;
    assert!(!listed.contains("true"), "{listed}");
}

#[test]
fn a_body_over_the_limit_of_the_app_gets_413_and_is_logged() {
    use std::io::{Read, Write};
    let node = TestNode::start();
    node.create("myapp");
    let post = |length: usize| {
        let address = ("127.0.0.1", node.http());
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let head = format!(
            "POST / HTTP/1.1\r\nHost: myapp.localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let _ = stream.write_all(&vec![b'x'; length]);
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    // The app has no release (H81), but the body limit is checked first.
    assert!(post(2 << 20).contains("H81"));
    let set = node.cli(&["settings:set", "body-limit=1", "-a", "myapp"]);
    set.assert_success();
    assert!(post(2 << 20).starts_with("HTTP/1.1 413 "));
    assert!(post(1 << 20).contains("H81"));
    let log = node.cli(&["logs", "-a", "myapp"]).text;
    assert!(
        log.contains("code=H26") && log.contains("status=413"),
        "{log}"
    );
}
