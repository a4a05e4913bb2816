//! Compressed responses, as curl receives them.

use std::process::Command;

use corundum_test_support::node::TestNode;

const APP: &str = r#"
PAGE = (1..500).map { |n| "<li>#{n} of many</li>\n" }.join
run ->(env) {
  headers = { "content-type" => "text/html" }
  headers["cache-control"] = "public, max-age=60" if env["PATH_INFO"] == "/cached"
  [200, headers, [PAGE]]
}
"#;

const HTTP_1: &str = "--http1.1";
const HTTP_2: &str = "--http2-prior-knowledge";

/// Requests a page with `curl --compressed`. Returns the decoded text, the number of bytes received, and the head.
fn curl(node: &TestNode, protocol: &str, path: &str) -> (String, usize, String) {
    let url = format!("http://pages.localhost:{}{path}", node.http());
    let head = node.data().join("head");
    let done = Command::new("curl")
        .args([
            "-sS",
            protocol,
            "--compressed",
            "--max-time",
            "20",
            "--resolve",
        ])
        .arg(format!("pages.localhost:{}:127.0.0.1", node.http()))
        .args(["-w", "%{stderr}%{size_download}", "-D"])
        .args([head.as_os_str(), url.as_ref()])
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    let size = String::from_utf8(done.stderr).unwrap();
    (
        String::from_utf8(done.stdout).unwrap(),
        size.parse().unwrap(),
        std::fs::read_to_string(head).unwrap(),
    )
}

#[test]
fn pages_of_apps_and_of_the_cache_are_compressed_unless_the_setting_is_off() {
    let node = TestNode::start();
    let app = node.create("pages");
    app.write("config.ru", APP);
    let push = app.push("main");
    push.assert_success();
    let page: String = (1..=500)
        .map(|n| format!("<li>{n} of many</li>\n"))
        .collect();
    for (protocol, path, cache) in [
        (HTTP_1, "/", "MISS"),
        (HTTP_2, "/", "MISS"),
        // The app saw curl's headers, so the first response is not stored. The next one is made without them.
        (HTTP_1, "/cached", "MISS"),
        (HTTP_1, "/cached", "MISS"),
        (HTTP_1, "/cached", "HIT"),
        (HTTP_2, "/cached", "HIT"),
    ] {
        let (text, size, head) = curl(&node, protocol, path);
        assert!(text == page && size < page.len() / 3, "{size}: {head}");
        assert!(head.contains("content-encoding: "), "{head}");
        assert!(head.contains("vary: accept-encoding"), "{head}");
        assert!(head.contains(&format!("x-cache: {cache}")), "{head}");
    }
    let set = node.cli(&["settings:set", "compression=off", "--app", "pages"]);
    set.assert_success();
    for path in ["/", "/cached"] {
        let (text, size, head) = curl(&node, HTTP_1, path);
        assert!(text == page && size == page.len(), "{size}: {head}");
        assert!(!head.contains("content-encoding"), "{head}");
    }
}
