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

/// The code of a native gem that says where it comes from.
const SOURCE_C: &str = "#include <ruby.h>\nvoid Init_source(void) { rb_define_global_const(\"SOURCE\", rb_str_new_cstr(\"compiled\")); }\n";

/// Publishes the source of a native gem that needs `mini_build`, which no lockfile has, and its precompiled builds.
fn publish_native(server: &GemServer, script: &str) -> String {
    let files = [
        ("ext/source/extconf.rb", script),
        ("ext/source/source.c", SOURCE_C),
        ("lib/source.rb", "require 'source/source'\n"),
    ];
    let metadata = "dependencies:\n- !ruby/object:Gem::Dependency\n  name: mini_build\n  requirement: !ruby/object:Gem::Requirement\n    requirements:\n    - - \">=\"\n      - !ruby/object:Gem::Version\n        version: '0'\n  type: :runtime\n  prerelease: false\n  version_requirements: !ruby/object:Gem::Requirement\n    requirements:\n    - - \">=\"\n      - !ruby/object:Gem::Version\n        version: '0'\nextensions:\n- ext/source/extconf.rb\n";
    for platform in ["aarch64-linux-gnu", "arm64-darwin", "x86_64-linux-gnu"] {
        let line = format!("2.1-{platform} |checksum:{}\n", "5".repeat(64));
        server.add_to_index("source", &line);
    }
    server.publish("source", "2.1", &gem("source", "2.1", &files, metadata))
}

#[test]
fn lockfiles_of_other_platforms_install_the_source_of_native_gems() {
    let server = GemServer::start();
    let url = server.url();
    let node = TestNode::start_with(&["--gem-source", &url]);
    let script = "require 'mkmf'\ncreate_makefile('source/source')\n";
    let checksum = publish_native(&server, script);
    let plain = gem("plain", "1.0", &[("lib/plain.rb", "PLAIN = 1\n")], "");
    server.publish("plain", "1.0", &plain);
    let variants = ["aarch64-linux-gnu", "arm64-darwin", "x86_64-linux-gnu"];
    let own = "source (2.1)".to_owned();
    let specs = |names: &[&str]| {
        names
            .iter()
            .map(|name| format!("source (2.1-{name})"))
            .collect::<Vec<_>>()
    };
    let of_variant = format!("source (2.1-x86_64-linux-gnu) sha256={}", "5".repeat(64));
    let forced = "gem 'source', force_ruby_platform: true";
    for (name, specs, platforms, checksums, line) in [
        (
            "linux",
            specs(&variants[2..]),
            &variants[2..],
            vec![of_variant.clone()],
            "gem 'source'",
        ),
        (
            "mac",
            specs(&variants[1..2]),
            &variants[1..2],
            vec![],
            "gem 'source'",
        ),
        (
            "several",
            specs(&variants),
            &variants[..],
            vec![of_variant.clone(), "source (2.1-arm64-darwin)".to_owned()],
            "gem 'source'",
        ),
        (
            "mixed",
            [vec![own.clone()], specs(&variants[1..])].concat(),
            &variants[1..],
            vec![of_variant, format!("source (2.1) sha256={checksum}")],
            "gem 'source'",
        ),
        ("forced", vec![own], &variants[2..], vec![], forced),
    ] {
        let app = node.create(&format!("{name}-app"));
        app.write("Gemfile", &format!("source '{url}'\n{line}\ngem 'plain'\n"));
        let list = |items: &[String], indent: &str| {
            items
                .iter()
                .map(|item| format!("{indent}{item}\n"))
                .collect::<String>()
        };
        // The lockfile of an author on Windows.
        let end = if name == "several" { "\r\n" } else { "\n" };
        let platforms: Vec<String> = platforms.iter().map(|name| (*name).to_owned()).collect();
        let lockfile = format!(
            "GEM\n  remote: {url}\n  specs:\n    plain (1.0)\n{}\nPLATFORMS\n{}\nDEPENDENCIES\n  plain\n  source\n\nCHECKSUMS\n{}\nBUNDLED WITH\n   2.6.9\n",
            list(&specs, "    "),
            list(&platforms, "  "),
            list(&checksums, "  "),
        );
        app.write("Gemfile.lock", &lockfile.replace('\n', end));
        app.deploy(
            "Bundler.require\nSPEC = Gem.loaded_specs['source']\nrun ->(_) { [200, {}, [SOURCE, SPEC.full_name, SPEC.platform.to_s].map { _1 + ' ' }] }\n",
        );
        let expected = (200, "compiled source-2.1 ruby ".to_owned());
        assert_eq!(node.get(&format!("{name}-app"), "/"), expected, "{name}");
        // RubyGems alone would look for the gem that the lockfile lacks.
        if name == "linux" {
            let ran = app.cli(
                &node,
                &["run", "ruby", "-e", "require 'source'; puts SOURCE + '!'"],
            );
            assert!(ran.text.contains("compiled!"), "{}", ran.text);
        }
    }
    // A script that needs the gem that the lockfile lacks.
    let server = GemServer::start();
    publish_native(&server, "require 'mini_build'\n");
    let url = server.url();
    let node = TestNode::start_with(&["--gem-source", &url]);
    let app = node.create("myapp");
    app.write("Gemfile", &format!("source '{url}'\ngem 'source'\n"));
    app.write("Gemfile.lock", &format!("GEM\n  remote: {url}\n  specs:\n    source (2.1-x86_64-linux-gnu)\n\nPLATFORMS\n  x86_64-linux-gnu\n\nDEPENDENCIES\n  source\n"));
    app.write("config.ru", "run ->(_) { [200, {}, []] }\n");
    app.push("main").assert_failure(
        "source-2.1 needs mini_build (>= 0) to be compiled, which is not in Gemfile.lock",
    );
}
