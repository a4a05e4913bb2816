//! The HTTP cache in front of a Ruby app.

use corundum_test_support::node::TestNode;

fn x_cache(answer: &str) -> &str {
    let mut lines = answer.lines();
    let found = lines.find_map(|line| line.strip_prefix("x-cache: "));
    found.unwrap_or_else(|| panic!("no X-Cache: {answer}"))
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

#[test]
fn responses_are_cached_until_they_are_purged_or_another_release_serves() {
    let node = TestNode::start_with(&["--cache-size", "8"]);
    let app = node.create("news");
    app.copy_sample("news");
    let push = app.push("main");
    push.assert_success();
    let get = || node.raw("news", "GET /", "Connection: close\r\n", "");
    let first = get();
    assert_eq!(x_cache(&first), "MISS");
    let again = get();
    assert_eq!((x_cache(&again), body(&again)), ("HIT", body(&first)));
    assert!(!again.contains("cache-tag"), "{again}");
    let private = || node.raw("news", "GET /account", "Connection: close\r\n", "");
    assert_ne!(body(&private()), body(&private()));

    // The app purges with a response header.
    let published = node.raw("news", "POST /publish", "Connection: close\r\n", "x=1");
    assert!(
        published.starts_with("HTTP/1.1 303 ") && !published.contains("cache-purge"),
        "{published}"
    );
    let second = get();
    assert_eq!(x_cache(&second), "MISS");
    assert_ne!(body(&second), body(&first));

    // The owner purges with the CLI: by URL, by tag, and the whole app.
    let url = format!("http://news.localhost:{}/", node.http());
    for (scope, removed) in [
        (&["--url", &url][..], 1),
        (&["--tag", "news"], 1),
        (&[], 1),
        (&["--tag", "other"], 0),
    ] {
        get();
        let purge = node.cli(&[&["cache:purge", "--app", "news"], scope].concat());
        let done = format!("Purging the cache of news... done, {removed} removed\n");
        assert_eq!(purge.text, done);
    }
    let bad = node.cli(&["cache:purge", "--app", "news", "--url", "/about"]);
    bad.assert_failure("write it whole");

    let stats = node.cli(&["cache:stats", "--json"]);
    let stats: serde_json::Value = serde_json::from_str(&stats.text).unwrap();
    assert_eq!(
        (&stats["apps"][0]["app"]["name"], stats["capacity"].as_u64()),
        (&"news".into(), Some(8 << 20))
    );
    assert!(stats["apps"][0]["hits"].as_u64() >= Some(1));
    assert!(node.cli(&["cache:stats"]).text.contains("Hit ratio"));
    assert!(
        node.cli(&["apps:info", "--app", "news"])
            .text
            .contains("Cache hits:")
    );

    // Each release has its own cached responses; a rollback serves those of the old release again.
    let before = get();
    assert!(node.cli(&["config:set", "A=b", "--app", "news"]).success);
    assert_eq!(x_cache(&get()), "MISS");
    assert!(node.cli(&["rollback", "v1", "--app", "news"]).success);
    let back = get();
    assert_eq!((x_cache(&back), body(&back)), ("HIT", body(&before)));

    assert!(
        node.cli(&["apps:destroy", "--app", "news", "--confirm", "news"])
            .success
    );
    let stats = node.cli(&["cache:stats", "--json"]);
    assert!(
        stats.text.contains("\"apps\": []") || stats.text.contains("\"apps\":[]"),
        "{}",
        stats.text
    );
}
