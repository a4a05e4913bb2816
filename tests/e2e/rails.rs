//! Rails apps, unmodified: the samples, with the gems of Debian 13.

use std::fs;
use std::path::Path;

use corundum_test_support::node::{Repository, TestNode};
use corundum_test_support::process::skip;

/// Gem directory that `script/rails-gems` makes.
const RAILS_GEMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/rails-gems");
/// Directory of the gems with extensions that `script/native-gems` makes.
const NATIVE_GEMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/native-gems");
/// Gems with extensions that the samples use.
const NATIVE: [&str; 2] = ["nokogiri-1.18.2.gem", "sqlite3-2.9.6.gem"];

/// Starts a node with the gems of Rails, and trust in a proxy on this machine. Without the gems, the test is skipped.
fn node() -> Option<TestNode> {
    let complete = |directory: &str| Path::new(directory).join("complete").is_file();
    if !complete(RAILS_GEMS) || !complete(NATIVE_GEMS) {
        skip("gems of Rails are missing: run script/rails-gems and script/native-gems");
        return None;
    }
    // The script says when a source has gone from a suite of Debian that moves; that is no fault of this tree.
    let missing = |name: &&str| !Path::new(NATIVE_GEMS).join(name).is_file();
    if let Some(name) = NATIVE.iter().find(|name| missing(name)) {
        eprintln!("!! SKIPPED: {name} is missing: Debian no longer has its source");
        return None;
    }
    Some(TestNode::start_with(&[
        "--gems",
        RAILS_GEMS,
        "--trusted-proxy",
        "127.0.0.0/8",
    ]))
}

/// Creates an app that is a copy of a sample, with the gems that are compiled.
fn sample(node: &TestNode, name: &str) -> Repository {
    let app = node.create("rails-app");
    app.copy_sample(name);
    for gem in NATIVE {
        let bytes = fs::read(Path::new(NATIVE_GEMS).join(gem)).unwrap();
        app.write_bytes(&format!("vendor/cache/{gem}"), &bytes);
    }
    app
}

/// Returns the text between the first `start` and the next `end`.
fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = text
        .split_once(start)
        .unwrap_or_else(|| panic!("{start:?} is missing in:\n{text}"));
    rest.split_once(end)
        .unwrap_or_else(|| panic!("{end:?} is missing in:\n{text}"))
        .0
}

/// A client that keeps the cookie of its session.
struct Browser<'a> {
    node: &'a TestNode,
    cookie: String,
}

impl Browser<'_> {
    fn request(&mut self, line: &str, headers: &str, body: &str) -> String {
        let cookie = match self.cookie.is_empty() {
            true => String::new(),
            false => format!("Cookie: {}\r\n", self.cookie),
        };
        let answer = self
            .node
            .raw("rails-app", line, &format!("{headers}{cookie}"), body);
        if let Some((_, rest)) = answer.split_once("set-cookie: ") {
            self.cookie = rest
                .split([';', '\r'])
                .next()
                .unwrap_or_default()
                .to_owned();
        }
        answer
    }

    fn get(&mut self, path: &str) -> String {
        self.request(&format!("GET {path}"), "", "")
    }

    /// Sends a form with these fields and a file.
    fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> String {
        let mut body = String::new();
        for (name, value) in fields {
            let file = match name.contains("file") {
                true => "; filename=\"notes.txt\"\r\nContent-Type: text/plain",
                false => "",
            };
            body += &format!(
                "--X\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n{value}\r\n"
            );
        }
        body += "--X--\r\n";
        let headers = "Content-Type: multipart/form-data; boundary=X\r\n";
        self.request(&format!("POST {path}"), headers, &body)
    }
}

#[test]
fn rails_app_with_assets_forms_and_files_is_served() {
    let Some(node) = node() else { return };
    let app = sample(&node, "rails");
    let push = app.assert_pushed();
    for line in [
        "Installing nokogiri 1.18.2",
        "-----> Preparing app for the asset pipeline",
        "Running: rake assets:precompile",
        "Asset precompilation completed (",
    ] {
        assert!(push.text.contains(line), "{line} in\n{}", push.text);
    }
    assert!(!push.text.contains("Warning"), "{}", push.text);
    // SQLite's database is that of one dyno.
    app.cli(&node, &["ps:scale", "web=1"]).assert_success();
    let mut browser = Browser {
        node: &node,
        cookie: String::new(),
    };

    let page = browser.get("/");
    assert!(
        page.starts_with("HTTP/1.1 200 ") && page.contains("The first post of this journal."),
        "{page}"
    );
    let stylesheet = between(&page, "<link rel=\"stylesheet\" href=\"", "\"").to_owned();
    let css = browser.get(&stylesheet);
    assert!(
        stylesheet.starts_with("/assets/application-"),
        "{stylesheet}"
    );
    assert!(
        css.contains("content-type: text/css") && css.contains("immutable"),
        "{css}"
    );
    assert_eq!(node.get("rails-app", "/up").0, 200);
    let (status, body) = node.get("rails-app", "/nosuch");
    assert!(
        status == 404 && body.contains("This page does not exist."),
        "{status} {body}"
    );

    let form = browser.get("/posts/new");
    let token = between(&form, "name=\"authenticity_token\" value=\"", "\"").to_owned();
    let fields = |title: &'static str| {
        [
            ("post[title]", title),
            ("post[body]", "<b>bold</b> & <script>alert(1)</script>"),
            ("post[file]", "some notes"),
        ]
    };
    let refused = browser.post("/posts", &fields("No token"));
    assert!(refused.starts_with("HTTP/1.1 422 "), "{refused}");
    let with_token = |title| {
        [
            &[("authenticity_token", token.as_str())],
            &fields(title)[..],
        ]
        .concat()
    };
    let invalid = browser.post("/posts", &with_token(""));
    assert!(
        invalid.starts_with("HTTP/1.1 422 ") && invalid.contains("Title can&#39;t be blank"),
        "{invalid}"
    );
    let created = browser.post("/posts", &with_token("Second"));
    assert!(created.starts_with("HTTP/1.1 302 "), "{created}");
    let path = between(&created, "/posts/", "\r\n");
    let post = browser.get(&format!("/posts/{path}"));
    assert!(
        post.contains("The post is saved.")
            && post.contains("<h2><a href=\"/posts/2\">Second</a></h2>"),
        "{post}"
    );
    // The sanitizer, which nokogiri carries out, keeps what is harmless.
    assert!(post.contains("<p><b>bold</b> &amp; alert(1)</p>"), "{post}");
    let file = between(&post, "<a href=\"/rails/active_storage/", "\"");
    let redirect = browser.get(&format!("/rails/active_storage/{file}"));
    let target = between(&redirect, "location: http://", "\r\n");
    let (_, target) = target.split_once('/').unwrap();
    let download = browser.get(&format!("/{target}"));
    assert!(
        download.contains("filename=\"notes.txt\"") && download.ends_with("some notes"),
        "{download}"
    );

    let run = app.cli(
        &node,
        &[
            "run",
            "bin/rails",
            "runner",
            "puts [Rails.version, Rails.env].join(' ')",
        ],
    );
    assert!(run.text.contains("7.2.2.2 production"), "{}", run.text);
    let log = node.cli(&["logs", "--app", "rails-app", "-n", "1500"]).text;
    assert!(
        !log.contains("Error R") && !log.contains("sqlite database connection(s) were inherited"),
        "{log}"
    );
}

#[test]
fn rails_app_that_forces_https_is_warmed_over_it() {
    let Some(node) = node() else { return };
    let app = sample(&node, "rails");
    app.assert_pushed();
    let set = app.cli(&node, &["config:set", "FORCE_SSL=true"]);
    set.assert_success();
    let plain = node.raw("rails-app", "GET /", "", "");
    assert!(
        plain.starts_with("HTTP/1.1 301 ") && plain.contains("location: https://"),
        "{plain}"
    );
    let secure = node.raw("rails-app", "GET /", "X-Forwarded-Proto: https\r\n", "");
    assert!(secure.starts_with("HTTP/1.1 200 "), "{secure}");
    assert!(secure.contains("strict-transport-security: "), "{secure}");
    assert!(
        secure.contains("The first post of this journal."),
        "{secure}"
    );
}

#[test]
fn rails_api_answers_in_json() {
    let Some(node) = node() else { return };
    let app = sample(&node, "api");
    let push = app.assert_pushed();
    assert!(
        !push.text.contains("asset pipeline") && !push.text.contains("Warning"),
        "{}",
        push.text
    );
    app.cli(&node, &["ps:scale", "web=1"]).assert_success();
    let json = "Content-Type: application/json\r\n";
    let request = |line: &str, body: &str| node.raw("rails-app", line, json, body);
    let list = request("GET /books", "");
    assert!(
        list.starts_with("HTTP/1.1 200 ")
            && list.contains("\"title\":\"The Left Hand of Darkness\""),
        "{list}"
    );
    let tag = between(&list, "etag: ", "\r\n");
    let same = node.raw(
        "rails-app",
        "GET /books",
        &format!("If-None-Match: {tag}\r\n"),
        "",
    );
    assert!(same.starts_with("HTTP/1.1 304 "), "{same}");
    let created = request(
        "POST /books",
        r#"{"title": "Kindred", "author": "Octavia E. Butler", "year": 1979}"#,
    );
    assert!(
        created.starts_with("HTTP/1.1 201 ") && created.contains("/books/2\r\n"),
        "{created}"
    );
    for (line, body, status, text) in [
        (
            "POST /books",
            r#"{"title": "Kindred", "author": "Octavia E. Butler"}"#,
            422,
            "has already been taken",
        ),
        (
            "POST /books",
            r#"{"title": "x", "author": "y", "year": "z"}"#,
            422,
            "is not a number",
        ),
        ("POST /books", "{}", 400, "param is missing"),
        ("POST /books", "{", 400, ""),
        ("PATCH /books/2", r#"{"year": 1980}"#, 200, "\"year\":1980"),
        ("GET /books/2", "", 200, "\"year\":1980"),
        ("GET /books/99", "", 404, "There is no such record."),
        ("DELETE /books/2", "", 204, ""),
        ("GET /books/2", "", 404, ""),
        ("GET /up", "", 200, ""),
    ] {
        let answer = request(line, body);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(text),
            "{line} {body}: {answer}"
        );
    }
}
