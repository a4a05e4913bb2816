//! Rails apps, unmodified: the samples, with the gems of Debian 13.

use std::fs;
use std::path::Path;
use std::time::Duration;

use corundum_test_support::app_gems::node_with_app_gems;
use corundum_test_support::node::{Repository, TestNode};
use corundum_test_support::process::skip;
use corundum_test_support::wait::poll;
use corundum_test_support::websocket::WebSocketClient;

/// Directory of the gems with extensions that `script/native-gems` makes.
const NATIVE_GEMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/native-gems");
/// Gems with extensions that the samples use.
const NATIVE: [&str; 2] = ["nokogiri-1.18.2.gem", "sqlite3-2.9.6.gem"];

/// Starts a node with the gems of Rails, and trust in a proxy on this machine. Without the gems, the test is skipped.
fn node() -> Option<TestNode> {
    if !Path::new(NATIVE_GEMS).join("complete").is_file() {
        skip("native gems of Rails are missing: run script/native-gems");
        return None;
    }
    // The script says when a source has gone from a suite of Debian that moves; that is no fault of this tree.
    let missing = |name: &&str| !Path::new(NATIVE_GEMS).join(name).is_file();
    if let Some(name) = NATIVE.iter().find(|name| missing(name)) {
        eprintln!("!! SKIPPED: {name} is missing: Debian no longer has its source");
        return None;
    }
    // The gem sqlite3 would get a volume, which an image's sample requests do not have.
    let arguments = ["--dev-services", "--auto-addons", "false"];
    node_with_app_gems(&[&arguments[..], &["--trusted-proxy", "127.0.0.0/8"]].concat())
}

/// Creates an app that is a copy of a sample, with the gems that are compiled.
fn sample(node: &TestNode, name: &str) -> Repository {
    let app = node.create("rails-app");
    app.copy_sample(name);
    // No registry here has the C source of pg.
    app.cli(
        node,
        &["config:set", "BUNDLE_WITHOUT=development:test:postgres"],
    )
    .assert_success();
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
    let app = sample(&node, "blog");
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
        page.starts_with("HTTP/1.1 200 ") && page.contains("The first post of this blog."),
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
    let app = sample(&node, "blog");
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
    assert!(secure.contains("The first post of this blog."), "{secure}");
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

/// A channel of the app that all clients share, and a page that broadcasts to it.
const CHANNEL: [(&str, &str); 5] = [
    (
        "app/channels/application_cable/connection.rb",
        "module ApplicationCable\n  class Connection < ActionCable::Connection::Base; end\nend\n",
    ),
    (
        "app/channels/room_channel.rb",
        "class RoomChannel < ActionCable::Channel::Base
  def subscribed = stream_from(\"room\")
  def say(data) = ActionCable.server.broadcast(\"room\", { text: data[\"text\"], dyno: ENV[\"DYNO\"] })
end
",
    ),
    (
        "app/controllers/shouts_controller.rb",
        "class ShoutsController < ActionController::API
  def create
    ActionCable.server.broadcast(\"room\", { text: params[:text] })
    head :no_content
  end
end
",
    ),
    (
        "config/routes.rb",
        "Rails.application.routes.draw do
  mount ActionCable.server => \"/cable\"
  post \"shout\" => \"shouts#create\"
end
",
    ),
    (
        "config/cable.yml",
        "production:\n  adapter: <%= ENV.fetch(\"CABLE\", \"redis\") %>\n  url: <%= ENV[\"REDIS_URL\"] %>\n",
    ),
];

/// Connects to Action Cable and subscribes to the channel.
fn subscribed(node: &TestNode) -> WebSocketClient {
    let headers =
        "Origin: http://rails-app.localhost\r\nSec-WebSocket-Protocol: actioncable-v1-json\r\n";
    let (mut client, head) = WebSocketClient::connect(node, "rails-app", "/cable", headers);
    assert!(
        head.contains("sec-websocket-protocol: actioncable-v1-json"),
        "{head}"
    );
    client.receive_text(r#""type":"welcome""#);
    client.send(
        1,
        br#"{"command":"subscribe","identifier":"{\"channel\":\"RoomChannel\"}"}"#,
    );
    client.receive_text(r#""type":"confirm_subscription""#);
    client
}

fn say(client: &mut WebSocketClient, text: &str) {
    let message = format!(
        r#"{{"command":"message","identifier":"{{\"channel\":\"RoomChannel\"}}","data":"{{\"action\":\"say\",\"text\":\"{text}\"}}"}}"#
    );
    client.send(1, message.as_bytes());
}

/// Replaces a text in a file of the app by another.
fn replace_in(app: &Repository, file: &str, from: &str, to: &str) {
    let text = fs::read_to_string(app.path().join(file)).unwrap();
    assert!(
        text.contains(from),
        "{from:?} is missing in {file}:\n{text}"
    );
    app.write(file, &text.replacen(from, to, 1));
}

#[test]
fn action_cable_broadcasts_to_clients_in_other_dynos() {
    let Some(node) = node() else { return };
    let app = sample(&node, "blog");
    for (path, text) in CHANNEL {
        app.write(path, text);
    }
    replace_in(
        &app,
        "config/application.rb",
        "require \"action_view/railtie\"\n",
        "require \"action_view/railtie\"\nrequire \"action_cable/engine\"\n",
    );
    replace_in(
        &app,
        "Gemfile",
        "gem \"puma\"\n",
        "gem \"puma\"\ngem \"redis\"\n",
    );
    replace_in(
        &app,
        "Gemfile.lock",
        "    ruby2_keywords (0.0.5)\n",
        "    redis (5.3.0)\n      redis-client (>= 0.22.0)\n    redis-client (0.22.2)\n      connection_pool\n    ruby2_keywords (0.0.5)\n",
    );
    replace_in(&app, "Gemfile.lock", "  puma\n", "  puma\n  redis\n");
    app.write(
        "app.json",
        r#"{"env": {"NIO4R_PURE": "true"}, "addons": ["redis"]}"#,
    );
    app.assert_pushed();
    let (mut one, mut other) = (subscribed(&node), subscribed(&node));
    say(&mut one, "hello");
    let heard = other.receive_text("hello");
    assert!(heard.contains(r#""dyno":"web."#), "{heard}");
    assert_eq!(one.receive_text("hello"), heard);
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let shouted = node.raw("rails-app", "POST /shout", form, "text=from+a+request");
    assert!(shouted.starts_with("HTTP/1.1 204 "), "{shouted}");
    one.receive_text("from a request");
    other.receive_text("from a request");
    drop((one, other));

    // The async adapter reaches the clients of its own dyno.
    app.cli(&node, &["config:set", "CABLE=async"])
        .assert_success();
    let mut client = subscribed(&node);
    say(&mut client, "myself");
    client.receive_text("myself");
    let log = node.cli(&["logs", "--app", "rails-app", "-n", "1500"]).text;
    assert!(
        !log.contains("Error R") && !log.contains("could not execute"),
        "{log}"
    );
}

#[test]
fn delayed_job_works_through_a_queue_in_sqlite_on_a_volume() {
    let Some(node) = node() else { return };
    let app = sample(&node, "blog");
    replace_in(
        &app,
        "Gemfile",
        "gem \"puma\"\n",
        "gem \"puma\"\ngem \"delayed_job_active_record\"\n",
    );
    replace_in(
        &app,
        "Gemfile.lock",
        "    drb (",
        "    delayed_job (4.1.13)\n      activesupport (>= 3.0, < 9.0)\n    delayed_job_active_record (4.1.11)\n      activerecord (>= 3.0, < 9.0)\n      delayed_job (>= 3.0, < 5)\n    drb (",
    );
    replace_in(
        &app,
        "Gemfile.lock",
        "DEPENDENCIES\n",
        "DEPENDENCIES\n  delayed_job_active_record\n",
    );
    for (path, text) in [
        (
            "config/initializers/jobs.rb",
            "Rails.application.config.active_job.queue_adapter = :delayed_job
Delayed::Worker.sleep_delay = 1
",
        ),
        (
            "db/migrate/20260101000002_create_delayed_jobs.rb",
            "class CreateDelayedJobs < ActiveRecord::Migration[7.2]
  def change
    create_table :delayed_jobs do |t|
      t.integer :priority, default: 0, null: false
      t.integer :attempts, default: 0, null: false
      t.text :handler, null: false
      t.text :last_error
      t.datetime :run_at
      t.datetime :locked_at
      t.datetime :failed_at
      t.string :locked_by
      t.string :queue
      t.timestamps null: true
    end
  end
end
",
        ),
        (
            "app/jobs/publish_job.rb",
            "class PublishJob < ActiveJob::Base
  retry_on RuntimeError, wait: 1.second, attempts: 3

  def perform(title)
    raise \"not yet\" if executions == 1
    Post.create!(title:, body: ENV[\"DYNO\"])
  end
end
",
        ),
        (
            "app/controllers/publications_controller.rb",
            "class PublicationsController < ActionController::API
  def create
    PublishJob.perform_later(params[:title])
    head :accepted
  end

  def index = render(json: Post.order(:id).pluck(:title, :body))
end
",
        ),
        (
            "config/routes.rb",
            "Rails.application.routes.draw { resources :publications, only: %i[create index] }\n",
        ),
        (
            "Procfile",
            "release: bin/rails db:migrate\nweb: bundle exec puma\nworker: bundle exec rake jobs:work\n",
        ),
        ("app.json", r#"{"env": {"VOLUME_PATH": "/data"}}"#),
    ] {
        app.write(path, text);
    }
    app.cli(&node, &["settings:set", "volume=100MB"])
        .assert_success();
    let pushed = app.assert_pushed();
    assert!(
        pushed.text.contains("CreateDelayedJobs: migrated"),
        "{}",
        pushed.text
    );
    let scaled = app.cli(&node, &["ps:scale", "web=3", "worker=2"]);
    scaled.assert_success();
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    for title in 1..=6 {
        let queued = node.raw(
            "rails-app",
            "POST /publications",
            form,
            &format!("title=post-{title}"),
        );
        assert!(queued.starts_with("HTTP/1.1 202 "), "{queued}");
    }
    let published = || {
        let (status, list) = node.get("rails-app", "/publications");
        assert_eq!(status, 200, "{list}");
        (list.matches("post-").count() >= 6).then_some(list)
    };
    let list = poll(Duration::from_secs(120), published).unwrap_or_else(|| {
        panic!(
            "{}",
            node.cli(&["logs", "--app", "rails-app", "-n", "300"]).text
        )
    });
    // Each job ran once to its end, in a worker.
    assert_eq!(list.matches("\"worker.").count(), 6, "{list}");
    for title in 1..=6 {
        assert_eq!(
            list.matches(&format!("post-{title}\"")).count(),
            1,
            "{list}"
        );
    }
}

#[test]
fn posts_in_sqlite_on_a_volume_outlive_dynos_and_releases() {
    let Some(node) = node() else { return };
    let app = sample(&node, "blog");
    let created = app.cli(&node, &["addons:create", "volume"]);
    created.assert_success();
    assert!(created.text.contains("VOLUME_PATH"), "{}", created.text);
    let pushed = app.assert_pushed();
    assert!(
        pushed.text.contains("CreatePosts: migrated"),
        "{}",
        pushed.text
    );
    let mut browser = Browser {
        node: &node,
        cookie: String::new(),
    };
    let form = browser.get("/posts/new");
    let token = between(&form, "name=\"authenticity_token\" value=\"", "\"").to_owned();
    let fields = [
        ("authenticity_token", token.as_str()),
        ("post[title]", "A post that lasts"),
        ("post[body]", "kept"),
        ("post[file]", "some notes"),
    ];
    let created = browser.post("/posts", &fields);
    assert!(created.starts_with("HTTP/1.1 302 "), "{created}");
    app.cli(&node, &["config:set", "ANOTHER=release"])
        .assert_success();
    let page = browser.get("/posts/2");
    assert!(page.contains("A post that lasts"), "{page}");
    let file = between(&page, "<a href=\"/rails/active_storage/", "\"");
    let redirect = browser.get(&format!("/rails/active_storage/{file}"));
    let target = between(&redirect, "location: http://", "\r\n");
    let (_, target) = target.split_once('/').unwrap();
    let download = browser.get(&format!("/{target}"));
    assert!(download.ends_with("some notes"), "{download}");
}
