//! Outbound connections: the list of `app.json`, the operator's grants, and what a push and the command line say.

use corundum_test_support::node::TestNode;

const APP: &str = "run ->(env) { [200, {}, [\"ok\"]] }\n";

#[test]
fn push_shows_changes_of_the_list_and_rejects_invalid_entries() {
    let node = TestNode::start();
    let app = node.create("myapp");
    app.write("config.ru", APP);
    let push = app.push("main");
    assert!(push.success);
    assert!(!push.text.contains("Outbound"), "{}", push.text);
    app.write(
        "app.json",
        r#"{"outbound": ["https://a.example", "tcp://db.example:5432"]}"#,
    );
    let push = app.push("main");
    for line in [
        "remote:        Outbound connections: app.json limits them to",
        "remote:          https://a.example",
        "remote:          tcp://db.example:5432",
    ] {
        assert!(push.text.contains(line), "{line} in\n{}", push.text);
    }
    app.write(
        "app.json",
        "{\"outbound\": [\n\"https://b.example\",\n\"tcp://db.example:5432/\"]}",
    );
    let push = app.push("main");
    for line in [
        "Outbound connections: the list has changed",
        "+ https://b.example",
        "- https://a.example",
    ] {
        assert!(push.text.contains(line), "{line} in\n{}", push.text);
    }
    assert!(!push.text.contains("db.example"), "{}", push.text);
    app.write(
        "app.json",
        "{\"outbound\": [\n\"https://b.example\",\n\"db.example:5432\",\n\"tcp://h\"]}",
    );
    let push = app.push("main");
    assert!(!push.success);
    for line in [
        "app.json: invalid \"outbound\":",
        "line 3: \"db.example:5432\" has no scheme",
        "line 4: \"tcp://h\" has no port",
        "a valid example: {\"outbound\": [\"https://api.example.com\"",
    ] {
        assert!(push.text.contains(line), "{line} in\n{}", push.text);
    }
    let listed = node.cli(&["outbound", "-a", "myapp", "--json"]).text;
    assert!(listed.contains("https://b.example"), "{listed}");
    // A rollback brings the list of its release back.
    assert!(node.cli(&["rollback", "v1", "-a", "myapp"]).success);
    let listed = node.cli(&["outbound", "-a", "myapp", "--json"]).text;
    assert!(listed.contains("\"listed\": null"), "{listed}");
}

#[test]
fn grants_are_listed_added_and_removed() {
    let mut node = TestNode::start();
    node.create("myapp");
    let outbound = |node: &TestNode, words: &[&str]| {
        let command = [words, &["-a", "myapp"]].concat();
        node.cli(&command)
    };
    let empty = outbound(&node, &["outbound"]).text;
    assert_eq!(
        empty,
        "myapp connects to all public addresses and to granted targets.\n"
    );
    let added = outbound(&node, &["outbound:add", "TCP://DB.internal:5432/"]);
    assert_eq!(
        added.text,
        "Granting tcp://db.internal:5432 to myapp... done\n"
    );
    assert!(outbound(&node, &["outbound:add", "10.0.0.0/8"]).success);
    assert!(outbound(&node, &["outbound:add", "10.0.0.0/8"]).success);
    for (target, reason) in [
        ("db.internal", "has no scheme"),
        ("tcp://localhost:80", "names the dyno itself"),
        (
            "https://u:secret@h.example",
            "has a user name or a password",
        ),
    ] {
        let refused = outbound(&node, &["outbound:add", target]);
        assert!(!refused.success, "{target}");
        assert!(refused.text.contains(reason), "{}", refused.text);
        assert!(!refused.text.contains("secret"), "{}", refused.text);
    }
    let log = node.cli(&["logs", "-a", "myapp"]).text;
    assert!(
        log.contains("corundum[api]: Grant outbound connections to 10.0.0.0/8"),
        "{log}"
    );
    node.kill_and_restart();
    let table = outbound(&node, &["outbound"]).text;
    let rows: Vec<&str> = table.lines().skip(2).collect();
    assert!(rows[0].starts_with("Target"), "{table}");
    assert!(
        rows[1].starts_with("tcp://db.internal:5432  granted"),
        "{table}"
    );
    assert!(rows[2].starts_with("10.0.0.0/8 "), "{table}");
    assert_eq!(rows.len(), 3, "{table}");
    let removed = outbound(&node, &["outbound:remove", "10.0.0.0/8"]);
    assert_eq!(removed.text, "Taking 10.0.0.0/8 from myapp... done\n");
    let missing = outbound(&node, &["outbound:remove", "10.0.0.0/8"]);
    assert!(!missing.success);
    assert!(
        missing.text.contains("Couldn't find that grant"),
        "{}",
        missing.text
    );
}
