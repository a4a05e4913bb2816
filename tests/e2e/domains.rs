//! Custom domains of apps.

use super::HELLO;
use corundum_test_support::node::TestNode;

/// Requests `/` at `host`. Returns the status and the body.
fn at(node: &TestNode, host: &str) -> (u16, String) {
    node.get_at(host, "/")
}

#[test]
fn an_app_is_served_at_its_domains_until_they_are_removed() {
    let mut node = TestNode::start();
    let app = node.create("myapp");
    app.write("config.ru", HELLO);
    assert!(app.push("main").success);
    assert_eq!(at(&node, "www.example.com").0, 404);
    for domain in ["WWW.example.com.", "*.example.org"] {
        let added = node.cli(&["domains:add", domain, "-a", "myapp"]);
        added.assert_success();
    }
    node.kill_and_restart();
    for host in ["www.example.com", "a.example.org", "myapp.localhost"] {
        assert_eq!(at(&node, host).1, "hello ", "{host}");
    }
    for host in [
        "example.org",
        "a.b.example.org",
        "example.com",
        "wwwXexample.com",
    ] {
        assert_eq!(at(&node, host).0, 404, "{host}");
    }
    let listed = node.cli(&["domains", "-a", "myapp"]);
    assert!(listed.text.contains("myapp.localhost") && listed.text.contains("*.example.org"));
    assert!(
        node.cli(&["domains:remove", "*.example.org", "-a", "myapp"])
            .success
    );
    assert_eq!(at(&node, "a.example.org").0, 404);
    let json = node.cli(&["domains", "-a", "myapp", "--json"]).text;
    assert!(
        json.contains("www.example.com") && !json.contains("example.org"),
        "{json}"
    );
    node.cli(&["apps:destroy", "-a", "myapp", "--confirm", "myapp"]);
    assert_eq!(at(&node, "www.example.com").0, 404);
}

#[test]
fn an_exact_domain_takes_precedence_over_a_wildcard_of_another_app() {
    let node = TestNode::start();
    for (name, domain) in [
        ("wide-app", "*.example.com"),
        ("exact-app", "a.example.com"),
    ] {
        let app = node.create(name);
        app.write(
            "config.ru",
            &format!("run ->(e) {{ [200, {{}}, ['{name}']] }}\n"),
        );
        assert!(app.push("main").success);
        assert!(node.cli(&["domains:add", domain, "-a", name]).success);
    }
    assert_eq!(at(&node, "a.example.com").1, "exact-app");
    assert_eq!(at(&node, "b.example.com").1, "wide-app");
}

#[test]
fn invalid_and_taken_domains_are_refused_with_the_reason() {
    let node = TestNode::start();
    node.create("myapp");
    node.create("other");
    assert!(
        node.cli(&["domains:add", "www.example.com", "-a", "other"])
            .success
    );
    for (domain, reason) in [
        ("www.example.com", "already a domain of other"),
        ("http://www.example.com/", "is not a domain"),
        ("bücher.example", "xn--"),
        ("a.localhost", "under the node's own domain"),
        ("127.0.0.1", "is not a domain"),
    ] {
        let refused = node.cli(&["domains:add", domain, "-a", "myapp"]);
        assert!(
            !refused.success && refused.text.contains(reason),
            "{domain}: {}",
            refused.text
        );
    }
    for domain in ["www.example.com", "never.example.com", "a/../b"] {
        let refused = node.cli(&["domains:remove", domain, "-a", "myapp"]);
        let reason = "Couldn't find that domain name";
        assert!(
            !refused.success && refused.text.contains(reason),
            "{domain}: {}",
            refused.text
        );
    }
}
