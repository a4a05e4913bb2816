//! Settings of an app, from the command line.

use super::harness::Node;

#[test]
fn settings_are_listed_set_and_unset_and_survive_a_restart() {
    let mut node = Node::start();
    node.create("myapp");
    let value = |node: &Node, name: &str| {
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
    assert!(set.success, "{}", set.text);
    node.kill_and_restart();
    assert_eq!(value(&node, "hsts"), "max-age=31536000");
    let log = node.cli(&["settings", "-a", "myapp"]).text;
    assert!(log.contains("Strict-Transport-Security"), "{log}");
    assert!(node.cli(&["settings:unset", "hsts", "-a", "myapp"]).success);
    assert_eq!(value(&node, "hsts"), "off");
}

#[test]
fn a_setting_that_is_none_or_cannot_be_so_is_refused_and_changes_nothing() {
    let node = Node::start();
    node.create("myapp");
    for (pair, reason) in [
        ("colour=red", "There is no setting \"colour\""),
        ("hsts=forever", "write off, or seconds"),
        ("https-redirect=maybe", "write on or off"),
        ("https-redirect=on", "--https ADDRESS"),
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
