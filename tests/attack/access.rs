//! Tokens: a stolen one is found in the listing and revoked.

use corundum_test_support::node::TestNode;

#[test]
fn token_is_listed_with_its_use_and_refused_once_revoked() {
    let node = TestNode::start();
    let own = node.token();
    let created = node.cli(&["access:create", "ci", "--days", "3"]);
    created.assert_success();
    let token = created.text.trim().to_owned();
    let listed = || {
        let all = node.cli(&["access:tokens"]).text;
        let line = all.lines().find(|line| line.contains("  ci  "));
        line.unwrap_or_else(|| panic!("{all}")).to_owned()
    };
    let last_use = |line: &str| line.split_whitespace().nth(4).map(str::to_owned);
    let unused = listed();
    assert_eq!(last_use(&unused).as_deref(), Some("-"), "{unused}");
    assert!(unused.ends_with("  in 3 days"), "{unused}");
    assert!(!unused.contains(&token), "{unused}");
    for _ in 0..3 {
        assert_eq!(node.api("GET /v1/apps", &token, "", b"").0, 200);
    }
    let used = listed();
    assert!(
        last_use(&used).is_some_and(|at| at.ends_with('Z')),
        "{used}"
    );

    node.cli(&["access:create", "ci"]).assert_success();
    node.cli(&["access:revoke", "ci"])
        .assert_failure("several tokens have this name");
    let id = used.split(' ').next().unwrap();
    let revoked = node.cli(&["access:revoke", id]);
    assert_eq!(revoked.text, "Revoking ci... done\n");
    assert_eq!(node.api("GET /v1/apps", &token, "", b"").0, 401);
    node.cli(&["access:revoke", "ci"]).assert_success();
    node.cli(&["access:revoke", "ci"])
        .assert_failure("no such token");
    assert_eq!(node.api("GET /v1/apps", &own, "", b"").0, 200);
}
