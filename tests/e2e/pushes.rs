//! Rejected pushes: each names its reason and leaves nothing behind.

use std::io::Write;
use std::time::Duration;

use corundum_test_support::node::{ProcessOutput, Repository, TestNode};
use corundum_test_support::noise::incompressible;
use corundum_test_support::wait::wait_until;

const LIVE: &str = "run ->(e) { [200, {}, ['live']] }\n";

/// Starts a node and deploys an app to it.
fn start(arguments: &[&str]) -> (TestNode, Repository) {
    let gems = ["--gem-source", "http://127.0.0.1:9/"];
    let node = TestNode::start_with(&[&gems, arguments].concat());
    let app = node.deploy("myapp", LIVE);
    (node, app)
}

/// Asserts that a push is rejected with each of `words`, and that the node and the app stay as they were.
fn assert_rejected(node: &TestNode, words: &[&str], push: impl FnOnce() -> ProcessOutput) {
    let before = node.push_results("myapp");
    let push = push();
    assert!(
        !push.success,
        "accepted in place of {words:?}:\n{}",
        push.text
    );
    for word in words {
        assert!(
            push.text.contains(word),
            "{word:?} is missing in:\n{}",
            push.text
        );
    }
    assert_eq!(node.push_results("myapp"), before, "{}", push.text);
    node.assert_pushes_cleaned_up("myapp");
    assert_eq!(node.get("myapp", "/"), (200, "live".to_owned()));
}

/// Writes a tree object of entries that git does not check. An entry has a mode, a name and an object.
fn raw_tree(app: &Repository, entries: &[(&str, &str, &str)]) -> String {
    let mut tree = Vec::new();
    for (mode, name, object) in entries {
        write!(tree, "{mode} {name}\0").unwrap();
        let bytes = (0..20).map(|at| u8::from_str_radix(&object[2 * at..2 * at + 2], 16).unwrap());
        tree.extend(bytes);
    }
    app.git_text(
        &["hash-object", "-t", "tree", "--literally", "-w", "--stdin"],
        &tree,
    )
}

#[test]
fn trees_that_violate_fsck_are_rejected() {
    let (node, app) = start(&[]);
    let blob = app.git_text(&["hash-object", "-w", "--stdin"], LIVE.as_bytes());
    let tree = raw_tree(&app, &[("100644", "x", &blob)]);
    for (mode, name, object) in [
        ("100644", "..", &blob),
        ("40000", "..", &tree),
        ("100644", "../../evil", &blob),
        ("100644", "/etc/passwd", &blob),
        ("40000", ".git", &tree),
        ("40000", ".GIT", &tree),
        ("40000", "git~1", &tree),
    ] {
        let mut entries = [
            (mode, name, object.as_str()),
            ("100644", "config.ru", &blob),
        ];
        entries.sort_by_key(|entry| entry.1);
        let tree = raw_tree(&app, &entries);
        assert_rejected(&node, &["fsck error"], || app.push_tree(&tree));
    }
}

#[test]
fn trees_with_paths_that_a_slug_must_not_have_are_rejected() {
    let (node, app) = start(&[]);
    let blob = app.git_text(&["hash-object", "-w", "--stdin"], LIVE.as_bytes());
    let long = "x".repeat(1025);
    let tree = raw_tree(&app, &[("100644", "x", &blob)]);
    for (mode, name, object, words) in [
        ("100644", long.as_str(), &blob, "longer than 1024 bytes"),
        ("100644", ".corundum", &blob, "is reserved for the platform"),
        ("40000", ".corundum", &tree, "is reserved for the platform"),
        ("160000", "lib", &blob, "\"lib\" is a git submodule"),
    ] {
        let mut entries = [
            (mode, name, object.as_str()),
            ("100644", "config.ru", &blob),
        ];
        entries.sort_by_key(|entry| entry.1);
        let tree = raw_tree(&app, &entries);
        assert_rejected(&node, &[words, "failed to compile"], || {
            app.push_tree(&tree)
        });
    }
}

#[test]
fn a_small_pack_of_a_million_files_is_rejected() {
    let (node, app) = start(&[]);
    let blob = app.git_text(&["hash-object", "-w", "--stdin"], LIVE.as_bytes());
    let (mut mode, mut below) = ("100644", blob.clone());
    // Each of six levels has ten names for the same object.
    for _ in 0..6 {
        let names: Vec<String> = (0..10).map(|name| name.to_string()).collect();
        let entries: Vec<_> = names
            .iter()
            .map(|name| (mode, name.as_str(), below.as_str()))
            .collect();
        below = raw_tree(&app, &entries);
        mode = "40000";
    }
    let tree = raw_tree(
        &app,
        &[("100644", "config.ru", &blob), ("40000", "x", &below)],
    );
    assert_rejected(&node, &["the app has more than 100000 files"], || {
        app.push_tree(&tree)
    });
}

#[test]
fn a_push_over_the_push_limit_is_rejected() {
    let (node, app) = start(&["--push-limit", "1"]);
    app.write_bytes("noise", &incompressible(3 << 20));
    assert_rejected(&node, &["pack exceeds maximum allowed size"], || {
        app.push("main")
    });
}

#[test]
fn a_slug_over_the_slug_limit_is_rejected_with_its_size() {
    let (node, app) = start(&["--slug-limit", "1"]);
    app.write_bytes("zeros", &vec![0; 2 << 20]);
    let words = [
        "Compiled slug size: 2.0M is too large (max is 1M).",
        ".slugignore",
    ];
    assert_rejected(&node, &words, || app.push("main"));
    // Files that .slugignore excludes do not count.
    app.write(".slugignore", "zeros\n");
    assert!(app.push("main").success);
}

#[test]
fn pushes_of_a_tag_and_from_an_outdated_branch_are_rejected() {
    let (node, app) = start(&[]);
    let first = app.git_text(&["rev-parse", "HEAD"], b"");
    app.git_output(&["tag", "--annotate", "v1", "--message", "One"], b"");
    let tag = app.git_text(&["rev-parse", "v1"], b"");
    assert_rejected(&node, &["not a tag", "TAG^{}:main"], || {
        app.push_object(&tag, "main")
    });
    app.write("config.ru", &format!("{LIVE}# 2\n"));
    assert!(app.push("main").success);
    // This client does not know the second commit: it creates the branch at the first one.
    let before = (node.push_results("myapp"), releases(&node));
    let update = format!("{} {first} refs/heads/main\0 report-status", "0".repeat(40));
    let mut body = format!("{:04x}{update}0000", update.len() + 4).into_bytes();
    body.extend(app.git_output(&["pack-objects", "--stdout", "-q"], b""));
    let kind = "Content-Type: application/x-git-receive-pack-request\r\n";
    let line = "POST /myapp.git/git-receive-pack";
    let (status, report) = node.api(line, &node.token(), kind, &body);
    assert!(
        status == 200 && report.contains("ng refs/heads/main"),
        "{report}"
    );
    assert_eq!((node.push_results("myapp"), releases(&node)), before);
    node.assert_pushes_cleaned_up("myapp");
}

fn releases(node: &TestNode) -> usize {
    let list = node.cli(&["releases", "--app", "myapp", "--json"]).text;
    list.matches("\"version\"").count()
}

#[test]
fn a_disconnected_push_leaves_no_object_process_or_file() {
    let (node, app) = start(&[]);
    let before = node.push_results("myapp");
    // The client disconnects while the app boots.
    app.write("config.ru", "sleep 50\nrun nil\n");
    let mut push = app.push_in_background("main");
    wait_until("the app boots", Duration::from_secs(10), || {
        node.work_files() > 0
    });
    app.kill_group(&mut push);
    node.assert_pushes_cleaned_up("myapp");
    // The client disconnects in the middle of the pack.
    let zero = "0".repeat(40);
    let update = format!("{zero} {} refs/heads/main\0 report-status", "1".repeat(40));
    let body = format!(
        "{:04x}{update}0000PACK\0\0\0\x02\0\0\0\x05",
        update.len() + 4
    );
    let headers =
        "Content-Type: application/x-git-receive-pack-request\r\nContent-Length: 1000000\r\n";
    let line = "POST /myapp.git/git-receive-pack";
    let mut upload = node.open_api(line, &node.token(), headers);
    upload.write_all(body.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    drop(upload);
    node.assert_pushes_cleaned_up("myapp");
    assert_eq!(node.push_results("myapp"), before);
    app.write("config.ru", &format!("{LIVE}# again\n"));
    assert!(app.push("main").success);
}

#[test]
fn invalid_configuration_files_are_rejected_with_the_reason() {
    let (node, app) = start(&[]);
    for (file, text, words) in [
        (
            "Procfile",
            "web rackup\n",
            "Procfile line 1: \"web rackup\"",
        ),
        (
            "Procfile",
            "web: rackup\nweb: rackup\n",
            "web is declared twice",
        ),
        ("Procfile", "web: rackup missing.ru\n", "missing.ru"),
        ("app.json", "{\"env\": [", "app.json: invalid"),
        ("app.json", "{\"isolation\": \"none\"}", "app.json: invalid"),
        (
            "app.json",
            "{\"formation\": {\"web\": {\"quantity\": -1}}}",
            "app.json: invalid",
        ),
        (
            "app.json",
            "{\"env\": {\"A-B\": \"1\"}}",
            "\"A-B\" is not a config var's name",
        ),
        (
            "app.json",
            "{\"env\": {\"NEEDED\": {\"required\": true}, \"OTHER\": {}}}",
            "corundum config:set --app myapp NEEDED=... OTHER=...",
        ),
        (
            ".slugignore",
            "*.log\n!keep.log\n",
            ".slugignore line 2: \"!keep.log\"",
        ),
        (".slugignore", "{a\n", ".slugignore line 1"),
        (".slugignore", "*\n", "no app detected"),
        (
            ".ruby-version",
            "1.8.7\n",
            ".ruby-version: unsupported Ruby version 1.8.7",
        ),
    ] {
        app.write(file, text);
        assert_rejected(&node, &[words], || app.push("main"));
        app.remove(file);
    }
    app.write_bytes("Procfile", b"web: \xff\xfe\n");
    assert_rejected(&node, &["Procfile: not UTF-8 text"], || app.push("main"));
    app.write("Procfile", &format!("{} x\n", "y".repeat(100_000)));
    let mut length = 0;
    assert_rejected(&node, &["Procfile line 1"], || {
        let push = app.push("main");
        length = push.text.len();
        push
    });
    assert!(length < 20_000, "{length}");
    app.write("Procfile", &"# a comment\n".repeat(100_000));
    assert_rejected(&node, &["Procfile: larger than 1.0M"], || app.push("main"));
    app.remove("Procfile");
    app.write("Gemfile", "source 'https://rubygems.org'\n");
    for text in [
        "<<<<<<< HEAD\nGEM\n",
        "GEM\n  specs:\n    rack (not a version\n",
        "\u{0}",
    ] {
        app.write("Gemfile.lock", text);
        assert_rejected(&node, &["Gemfile.lock"], || app.push("main"));
    }
}

#[test]
fn an_app_that_fails_to_boot_is_rejected_with_its_own_output() {
    let (node, app) = start(&["--boot-timeout", "4"]);
    for (code, words) in [
        ("loop {}", &["the app did not boot within 4 s"][..]),
        ("sleep", &["the app did not boot within 4 s"]),
        ("x = []; loop { x << 'y' * 1_000_000 }", &["memory"]),
        (
            "def f = f\nf",
            &["stack level too deep", "/app/config.ru:1"],
        ),
        ("exit 3", &["the app called exit(3) while it was loading"]),
        ("exit! 3", &["the app exited with status 3"]),
        ("abort 'no database'", &["no database"]),
        (
            "require 'nothing'",
            &["cannot load such file -- nothing", "/app/config.ru:1"],
        ),
        ("def broken(", &["/app/config.ru:2: syntax error"]),
        (
            "puts 'first'\n20_000.times { puts 'x' * 2000 }\nraise 'after a flood'",
            &[
                "first",
                "lines left out",
                "after a flood (RuntimeError)",
                "/app/config.ru:3",
            ],
        ),
    ] {
        app.write("config.ru", &format!("{code}\n{LIVE}"));
        let words = [words, &["Push rejected, failed to boot Ruby app."]].concat();
        assert_rejected(&node, &words, || app.push("main"));
    }
    // Much output alone does not make a boot fail.
    let loud = format!("2000.times {{ puts 'x' * 5000 }}\n{LIVE}");
    app.write("config.ru", &loud);
    let push = app.push("main");
    push.assert_success();
}

#[test]
fn a_gemfile_is_evaluated_in_a_sandbox_with_limits() {
    let (node, app) = start(&["--boot-timeout", "3"]);
    app.write("Gemfile.lock", "GEM\n  specs:\n\nDEPENDENCIES\n");
    for (code, words) in [
        ("loop {}", "evaluation takes longer than 3 s"),
        (
            "system('touch /tmp/corundum-was-here') or raise 'no'",
            "Gemfile: evaluation failed",
        ),
        ("raise `id`.inspect", "Gemfile: evaluation failed"),
        // The users of the sandbox, not those of the node.
        ("raise File.read('/etc/passwd')[/daemon/].inspect", "nil"),
        (
            "raise File.read('/proc/1/environ')",
            "No such file or directory",
        ),
        ("raise Dir['/**/*.sqlite'].inspect + ENV.keys.inspect", "[]"),
        (
            "require 'socket'; TCPSocket.new('127.0.0.1', 22)",
            "Gemfile: evaluation failed",
        ),
        (
            "IO.for_fd(1000, autoclose: false).syswrite('{\"gems\": []}')",
            "it printed something itself",
        ),
        ("exit 0", "it called exit(0)"),
        ("exit! 7", "it called exit(7)"),
        (
            "x = []; loop { x << 'y' * 1_000_000 }",
            "Gemfile: evaluation failed",
        ),
        ("def f = f\nf", "Gemfile: evaluation failed"),
    ] {
        app.write("Gemfile", &format!("{code}\n"));
        assert_rejected(&node, &[words, "failed to compile"], || app.push("main"));
    }
    assert!(!std::path::Path::new("/tmp/corundum-was-here").exists());
}

#[test]
fn a_push_without_a_required_config_var_is_rejected() {
    let (node, app) = start(&[]);
    app.write("app.json", "{\"env\": {\"KEY\": {\"required\": true}}}");
    assert_rejected(&node, &["corundum config:set --app myapp KEY=..."], || {
        app.push("main")
    });
    assert!(node.cli(&["config:set", "KEY=1", "--app", "myapp"]).success);
    assert!(app.push("main").success);
}

#[test]
fn push_tells_what_fails_and_what_does_not_run() {
    let node = TestNode::start();
    let app = node.create("myapp");
    app.write(
        "config.ru",
        "def deep(n) = n.zero? ? raise(KeyError, 'inner problem') : deep(n - 1)\n\
         begin\n  deep(300)\nrescue KeyError\n  raise 'outer problem'\nend\n",
    );
    let push = app.push("main");
    assert!(!push.success);
    assert!(push.text.contains("lines left out)"), "{}", push.text);
    assert!(push.text.matches("deep").count() < 60, "{}", push.text);
    let end = push.text.rsplit("the app did not load").next().unwrap();
    for part in [
        "outer problem (RuntimeError)",
        "caused by ",
        "inner problem (KeyError)",
        "Push rejected, failed to boot Ruby app.",
    ] {
        assert!(end.contains(part), "{part} in\n{}", push.text);
    }
    app.write("config.ru", "run ->(env) { raise IOError, 'no page' }\n");
    app.write(
        "Procfile",
        "web: rackup\nrelease: rake -T\nworker: rake work | tee log\n",
    );
    app.write(
        "Rakefile",
        "task('assets:precompile') { puts 'the task says hello'; mkdir_p 'public'; File.write('public/made.txt', 'made') }\n",
    );
    app.write(".ruby-version", "3.3.0\n");
    let push = app.push("main");
    assert!(push.success);
    for part in [
        "Warning: the sample request GET / failed: ",
        "no page (IOError)",
        "The process type worker cannot be scaled: \"rake work | tee log\": a dyno has no shell for pipes",
        "-----> Running release command...",
        "Running: rake assets:precompile",
        "the task says hello",
        ".ruby-version asks for Ruby 3.3.0, and the app runs on 3.3.",
    ] {
        assert!(push.text.contains(part), "{part} in\n{}", push.text);
    }
    assert_eq!(node.get("myapp", "/made.txt"), (200, "made".to_owned()));
    app.write(
        "Rakefile",
        "task('assets:precompile') { system('yarn', 'build') or abort 'yarn is missing' }\n",
    );
    let push = app.push("main");
    assert!(!push.success);
    for part in [
        "yarn is missing",
        "compiling the app's assets failed",
        "starts no other programs: no node, yarn",
        "Push rejected, failed to compile Ruby app.",
    ] {
        assert!(push.text.contains(part), "{part} in\n{}", push.text);
    }
    assert_eq!(node.get("myapp", "/made.txt"), (200, "made".to_owned()));
}
