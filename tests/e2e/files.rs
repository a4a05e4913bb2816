//! Static files of `public/`, served without a dyno; maintenance and error pages.

use corundum_test_support::http1::header;
use corundum_test_support::node::TestNode;

const APP: &str = "run ->(env) { [200, {}, [\"dyno \" + env[\"REQUEST_METHOD\"]]] }\n";

#[test]
fn static_files_are_served_without_a_dyno() {
    let mut node = TestNode::start();
    let app = node.create("myapp");
    let css: String = (0..200)
        .map(|n| format!(".c{n} {{ color: #{n:06x} }}\n"))
        .collect();
    app.write("config.ru", APP);
    app.write("public/style.css", &css);
    app.write("public/app-3f2a91bc.js", "hello()\n");
    app.write("public/.secret", "no");
    let push = app.push("main");
    push.assert_success();
    assert!(
        push.text
            .contains("Compressing static files... done, 1 of 3"),
        "{}",
        push.text
    );
    let get = |node: &TestNode, path: &str, headers: &str| {
        node.raw("myapp", &format!("GET {path}"), headers, "")
    };
    let plain = get(&node, "/style.css", "");
    assert!(
        plain.starts_with("HTTP/1.1 200") && plain.ends_with(&css),
        "{plain}"
    );
    assert_eq!(header(&plain, "content-type"), "text/css; charset=utf-8");
    assert_eq!(header(&plain, "cache-control"), "public, no-cache");
    let (tag, date) = (header(&plain, "etag"), header(&plain, "last-modified"));
    let again = get(&node, "/style.css", &format!("If-None-Match: {tag}\r\n"));
    assert!(again.starts_with("HTTP/1.1 304"), "{again}");
    let smaller = get(&node, "/style.css", "Accept-Encoding: gzip, br\r\n");
    assert_eq!(header(&smaller, "content-encoding"), "br");
    let part = get(
        &node,
        "/style.css",
        &format!("Range: bytes=1-3\r\nIf-Range: {date}\r\n"),
    );
    assert!(
        part.starts_with("HTTP/1.1 206") && part.ends_with("\r\n\r\nc0 "),
        "{part}"
    );
    let script = get(&node, "/app-3f2a91bc.js", "");
    assert_eq!(
        header(&script, "cache-control"),
        "public, max-age=31536000, immutable"
    );
    let head = node.raw("myapp", "HEAD /style.css", "", "");
    assert_eq!(header(&head, "content-length"), css.len().to_string());
    // None of these requests has started a dyno.
    assert_eq!(node.cli(&["ps", "-a", "myapp", "--json"]).text.trim(), "[]");
    let log = node.cli(&["logs", "-a", "myapp"]).text;
    assert!(
        log.contains("path=\"/style.css\"") && log.contains("cache=static"),
        "{log}"
    );
    for (line, answer) in [
        ("GET /", "dyno GET"),
        ("GET /.secret", "dyno GET"),
        ("POST /style.css", "dyno POST"),
    ] {
        let got = node.raw("myapp", line, "", "");
        assert!(got.ends_with(answer), "{line}: {got}");
    }
    // Validators stay the same across a release with the same files and across a restart.
    assert!(node.cli(&["config:set", "A=1", "-a", "myapp"]).success);
    node.kill_and_restart();
    let same = get(&node, "/style.css", "");
    assert_eq!(
        (header(&same, "etag"), header(&same, "last-modified")),
        (tag, date)
    );
    app.write("public/style.css", "p {}\n");
    assert!(app.push("main").success);
    let changed = get(&node, "/style.css", &format!("If-None-Match: {tag}\r\n"));
    assert!(changed.ends_with("\r\n\r\np {}\n"), "{changed}");
}

#[test]
fn app_json_configures_static_files() {
    let node = TestNode::start();
    let app = node.create("myapp");
    app.write("config.ru", APP);
    app.write("public/index.html", "home\n");
    app.write(
        "app.json",
        "{\"static\": {\"serve\": \"pages\", \"max-age\": 60}}",
    );
    assert!(app.push("main").success);
    let home = node.raw("myapp", "GET /", "", "");
    assert!(home.ends_with("home\n"), "{home}");
    assert_eq!(header(&home, "cache-control"), "public, max-age=60");
    app.write("app.json", "{\"static\": {\"serve\": \"none\"}}");
    assert!(app.push("main").success);
    assert_eq!(node.get("myapp", "/index.html").1, "dyno GET");
    app.write("app.json", "{\"static\": {\"serve\": \"some\"}}");
    let push = app.push("main");
    push.assert_failure("app.json: invalid");
}

#[test]
fn maintenance_mode_and_failures_serve_the_custom_pages_of_the_app() {
    let node = TestNode::start();
    let app = node.create("myapp");
    app.write(
        "config.ru",
        "run ->(env) { exit! if env[\"PATH_INFO\"] == \"/exit\"; [200, {}, [\"served\"]] }\n",
    );
    app.write("public/503.html", "our error\n");
    app.write("public/style.css", "p {}\n");
    assert!(app.push("main").success);
    assert_eq!(node.get("myapp", "/exit"), (503, "our error\n".to_owned()));
    let json = node.raw("myapp", "GET /exit", "Accept: application/json\r\n", "");
    assert!(json.contains("\"code\":\"H13\""), "{json}");
    assert_eq!(node.cli(&["maintenance", "-a", "myapp"]).text, "off\n");
    assert!(node.cli(&["maintenance:on", "-a", "myapp"]).success);
    assert_eq!(node.cli(&["maintenance", "-a", "myapp"]).text, "on\n");
    for path in ["/", "/style.css"] {
        let (status, page) = node.get("myapp", path);
        assert!(status == 503 && page.contains("H80"), "{page}");
    }
    let log = node.cli(&["logs", "-a", "myapp"]).text;
    assert!(
        log.contains("at=info code=H80 desc=\"Maintenance mode\" method=GET path=\"/style.css\""),
        "{log}"
    );
    let set = node.cli(&[
        "config:set",
        "MAINTENANCE_PAGE_URL=https://status.example/?a&b",
        "-a",
        "myapp",
    ]);
    set.assert_success();
    let page = node.get("myapp", "/").1;
    assert!(
        page.contains("<iframe src=\"https://status.example/?a&amp;b\""),
        "{page}"
    );
    assert!(node.cli(&["maintenance:off", "-a", "myapp"]).success);
    assert_eq!(node.get("myapp", "/").1, "served");
    assert_eq!(node.get("myapp", "/style.css").1, "p {}\n");
}
