//! Apps with gems from a gem server.

use corundum_test_support::gem_package::gem;
use corundum_test_support::gem_server::GemServer;
use corundum_test_support::node::{Repository, TestNode};

const APP: &str = "require 'greeting'\nrun ->(e) { [200, {}, [Greeting::TEXT]] }\n";

/// Starts a server with the gem `greeting`, which depends on `words`.
///
/// Returns it with the CHECKSUMS section of the lockfile.
fn publish() -> (GemServer, String) {
    let server = GemServer::start();
    let greeting =
        "require 'words'\nmodule Greeting\n  TEXT = \"#{Words::HELLO} from a gem\"\nend\n";
    let greeting = gem("greeting", "1.2", &[("lib/greeting.rb", greeting)], "");
    let words = "module Words\n  HELLO = 'hello'\nend\n";
    let words = gem("words", "0.1.0.pre.1", &[("lib/words.rb", words)], "");
    let checksums = format!(
        "  greeting (1.2) sha256={}\n  words (0.1.0.pre.1) sha256={}\n",
        server.publish("greeting", "1.2", &greeting),
        server.publish("words", "0.1.0.pre.1", &words)
    );
    (server, checksums)
}

/// Writes an app whose Gemfile and lockfile use the server at `url`.
fn write(app: &Repository, url: &str, checksums: &str) {
    app.write("config.ru", APP);
    app.write(
        "Gemfile",
        &format!("source '{url}'\ngem 'greeting', '~> 1.0'\n"),
    );
    app.write(
        "Gemfile.lock",
        &format!(
            "GEM
  remote: {url}
  specs:
    greeting (1.2)
      words (>= 0.1.0.pre)
    words (0.1.0.pre.1)

PLATFORMS
  ruby

DEPENDENCIES
  greeting (~> 1.0)

CHECKSUMS
{checksums}
BUNDLED WITH
   2.6.2
"
        ),
    );
}

#[test]
fn gems_are_downloaded_from_the_server_of_the_lockfile_and_then_cached() {
    let (server, checksums) = publish();
    let url = server.url();
    let mut node = TestNode::start_with(&["--gem-source", &url]);
    let app = node.create("myapp");
    write(&app, &url, &checksums);
    let push = app.push("main");
    for line in [
        format!("Installing words 0.1.0.pre.1 from {url}"),
        format!("Installing greeting 1.2 from {url}"),
    ] {
        assert!(push.text.contains(&line), "{}", push.text);
    }
    assert_eq!(node.get("myapp", "/"), (200, "hello from a gem".to_owned()));
    // The cache outlives the gem server and the server process.
    server.stop();
    node.kill_and_restart();
    app.write("config.ru", &APP.replace("TEXT", "TEXT.upcase"));
    let push = app.push("main");
    for name in ["words 0.1.0.pre.1", "greeting 1.2"] {
        let line = format!("Installing {name} from the gem cache");
        assert!(push.text.contains(&line), "{}", push.text);
    }
    assert_eq!(node.get("myapp", "/").1, "HELLO FROM A GEM");
    assert_eq!(node.work_files(), 0);
}

#[test]
fn pushes_with_wrong_checksums_stale_lockfiles_and_disallowed_servers_are_rejected() {
    let (server, checksums) = publish();
    let url = server.url();
    let node = TestNode::start_with(&["--gem-source", &url]);
    let app = node.create("myapp");
    let refused = |words: &[&str]| {
        let push = app.push("main");
        for words in words {
            assert!(
                !push.success && push.text.contains(words),
                "{words:?} is missing in:\n{}",
                push.text
            );
        }
    };
    let wrong = checksums
        .replace(") sha256=", ") sha256=0000")
        .lines()
        .map(|line| &line[..line.len() - 4])
        .collect::<Vec<_>>()
        .join("\n");
    write(&app, &url, &format!("{wrong}\n"));
    refused(&[
        "words 0.1.0.pre.1",
        "differs from Gemfile.lock",
        "was not installed",
    ]);
    assert!(
        server
            .requested()
            .iter()
            .all(|path| path.starts_with("/info/"))
    );
    app.write("Gemfile", "gem 'greeting', '~> 2.0'\n");
    refused(&["Gemfile.lock disagrees with the Gemfile", "greeting ~> 2.0"]);
    let other = GemServer::start();
    write(&app, &other.url(), &checksums);
    refused(&[
        "which this node does not fetch from",
        &format!("--gem-source {}", other.url()),
    ]);
    let secret = url.replace("127", "me:secret@127");
    write(&app, &secret, &checksums);
    let push = app.push("main");
    assert!(
        !push.success && !push.text.contains("secret"),
        "{}",
        push.text
    );
    assert!(
        push.text.contains("no user name and no password"),
        "{}",
        push.text
    );
    assert_eq!(
        (server.requested(), other.requested()),
        (Vec::new(), Vec::new())
    );
    write(&app, &url, &checksums);
    assert!(app.push("main").success);
}
