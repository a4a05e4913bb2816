//! End-to-end tests: the real binary, driven by real git and real HTTP.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod acme;
mod addon_faults;
mod addons;
mod api;
mod backups;
mod bundler;
mod cache;
mod compression;
mod domains;
mod drains;
mod extensions;
mod faults;
mod files;
mod gems;
mod grid;
mod jobs;
mod languages;
mod mariadb;
mod native_gems;
mod outbound;
mod packs;
mod pg;
mod processes;
mod providers;
mod pushes;
mod rails;
mod restarts;
mod run;
mod samples;
mod services;
mod settings;
mod tls;
mod upgrade;
mod volumes;
mod websockets;

use std::time::Duration;

use corundum_test_support::node::TestNode;
use corundum_test_support::wait::wait_until;

const HELLO: &str =
    "run ->(e) { [200, {'content-type' => 'text/plain'}, [\"hello \", ENV['WHO'].to_s]] }\n";

#[test]
fn a_pushed_app_is_built_and_served() {
    let node = TestNode::start();
    let app = node.create("myapp");
    app.write("config.ru", HELLO);
    let push = app.push("main");
    for line in [
        "remote: -----> Ruby app detected",
        "remote: -----> Using Ruby version: ruby-3.3.8",
        "remote: -----> Compressing... done, ",
        "remote: -----> Booting... done (",
        "remote:        Released v1",
        "/ deployed to Corundum",
    ] {
        assert!(
            push.text.contains(line),
            "{line:?} is missing in:\n{}",
            push.text
        );
    }
    assert!(push.success);
    assert_eq!(node.get("myapp", "/"), (200, "hello ".to_owned()));
    let log = node.cli(&["logs", "--app", "myapp"]);
    assert!(
        log.text
            .contains("corundum[router]: at=info method=GET path=\"/\" host=myapp.localhost"),
        "{}",
        log.text
    );
}

#[test]
fn a_push_that_fails_to_boot_is_rejected_and_the_current_release_is_kept() {
    let node = TestNode::start();
    let app = node.create("myapp");
    app.write("config.ru", HELLO);
    assert!(app.push("main").success);
    app.write("config.ru", "raise 'broken on purpose'\n");
    let push = app.push("main");
    assert!(!push.success);
    for line in [
        "/app/config.ru:1",
        "broken on purpose (RuntimeError)",
        " !     Push rejected, failed to boot Ruby app.",
    ] {
        assert!(
            push.text.contains(line),
            "{line:?} is missing in:\n{}",
            push.text
        );
    }
    assert_eq!(node.get("myapp", "/").1, "hello ");
    assert_eq!(
        node.cli(&["releases", "--app", "myapp", "--json"])
            .text
            .matches("\"version\"")
            .count(),
        1
    );
}

#[test]
fn config_vars_create_releases_and_rollback_restores_them() {
    let node = TestNode::start();
    let app = node.create("myapp");
    assert!(
        node.cli(&["config:set", "WHO=before", "--app", "myapp"])
            .success
    );
    app.write("config.ru", HELLO);
    assert!(app.push("main").success);
    assert_eq!(node.get("myapp", "/").1, "hello before");
    assert!(
        node.cli(&["config:set", "WHO=after", "-a", "myapp"])
            .text
            .contains("done, v2")
    );
    assert_eq!(node.get("myapp", "/").1, "hello after");
    assert_eq!(
        node.cli(&["config:get", "WHO", "-a", "myapp"]).text,
        "after\n"
    );
    assert!(
        node.cli(&["rollback", "v1", "-a", "myapp"])
            .text
            .contains("done, v3 (Rollback to v1)")
    );
    assert_eq!(node.get("myapp", "/").1, "hello before");
    let run = node.cli(&[
        "run",
        "-a",
        "myapp",
        "ruby",
        "-e",
        "puts ENV['WHO']; exit 3",
    ]);
    assert_eq!((run.status, run.text.as_str()), (3, "before\n"));
}

#[test]
fn a_killed_node_serves_its_apps_again_after_a_restart() {
    let mut node = TestNode::start();
    let app = node.create("myapp");
    app.write("config.ru", HELLO);
    assert!(app.push("main").success);
    node.kill_and_restart();
    assert_eq!(node.get("myapp", "/").1, "hello ");
    // The node rebuilds a damaged image from the slug.
    node.kill();
    node.damage_images();
    node.restart();
    assert_eq!(node.get("myapp", "/").1, "hello ");
}

#[test]
fn a_node_killed_during_a_push_serves_the_old_release_or_the_new_one() {
    let mut node = TestNode::start();
    let app = node.create("myapp");
    app.write("config.ru", "run ->(e) { [200, {}, ['0']] }\n");
    assert!(app.push("main").success);
    for round in 1..=6u64 {
        app.write(
            "config.ru",
            &format!("sleep 0.05\nrun ->(e) {{ [200, {{}}, ['{round}']] }}\n"),
        );
        let before: u64 = node.get("myapp", "/").1.parse().unwrap();
        let push = app.push_in_background("main");
        std::thread::sleep(Duration::from_millis(40 * round));
        node.kill();
        wait_until(
            "processes of the killed node end",
            Duration::from_secs(5),
            || node.processes() == 0,
        );
        node.restart();
        let _ = push.wait_with_output();
        let (status, body) = node.get("myapp", "/");
        let now: u64 = body.parse().unwrap();
        assert!(
            status == 200 && (now == before || now == round),
            "round {round}: {before} became {body}"
        );
    }
    assert!(
        app.push("main").success || app.up_to_date("main"),
        "the app does not accept pushes again"
    );
}

#[test]
fn the_second_of_two_concurrent_pushes_is_rejected() {
    let node = TestNode::start();
    let one = node.create("myapp");
    one.write("config.ru", "sleep 1\nrun ->(e) { [200, {}, ['one']] }\n");
    let other = one.unrelated("other");
    other.write("config.ru", "sleep 1\nrun ->(e) { [200, {}, ['two']] }\n");
    let first = one.push_in_background("main");
    std::thread::sleep(Duration::from_millis(400));
    let second = other.push("main");
    let first = first.wait_with_output().unwrap();
    assert!(
        first.status.success(),
        "{}",
        String::from_utf8_lossy(&first.stderr)
    );
    assert!(!second.success);
    assert!(
        second
            .text
            .contains("another push to this app is being built"),
        "{}",
        second.text
    );
    assert_eq!(node.get("myapp", "/").1, "one");
}

#[test]
fn an_app_accepts_pushes_after_a_git_client_is_killed() {
    let node = TestNode::start();
    let app = node.create("myapp");
    app.write("config.ru", "sleep 30\nrun nil\n");
    let mut push = app.push_in_background("main");
    std::thread::sleep(Duration::from_millis(700));
    // git's remote helper holds the connection, so the whole process group is killed.
    app.kill_group(&mut push);
    app.write("config.ru", HELLO);
    let again = (0..50).map(|_| app.push("main")).find(|push| {
        std::thread::sleep(Duration::from_millis(100));
        push.success
    });
    assert!(again.is_some(), "the app does not accept pushes again");
    assert_eq!(node.work_files(), 0);
}

#[test]
fn pushes_without_an_app_of_an_unknown_ruby_and_of_another_branch_are_rejected() {
    let node = TestNode::start();
    let app = node.create("myapp");
    app.write("index.html", "hi");
    let push = app.push("main");
    assert!(push.text.contains("no app detected"), "{}", push.text);
    app.write("config.ru", HELLO);
    app.write(".ruby-version", "2.7.1\n");
    let push = app.push("main");
    assert!(
        push.text
            .contains(".ruby-version: unsupported Ruby version 2.7.1"),
        "{}",
        push.text
    );
    app.write(".ruby-version", "3.4\n");
    let push = app.push_ref("main", "feature");
    push.assert_failure("only main and master deploy");
    assert!(app.push("main").success);
}

#[test]
fn an_app_without_a_release_answers_h81_and_without_dynos_h14() {
    let node = TestNode::start();
    let app = node.create("myapp");
    let (status, page) = node.get("myapp", "/");
    assert!(status == 503 && page.contains("H81"), "{page}");
    app.write("config.ru", HELLO);
    assert!(app.push("main").success);
    assert!(node.cli(&["ps:scale", "web=0", "-a", "myapp"]).success);
    assert!(node.get("myapp", "/").1.contains("H14"));
    assert_eq!(node.get("nobody", "/").0, 404);
    assert!(
        !node.cli(&["apps:destroy", "-a", "myapp"]).success,
        "the app is deleted without --confirm"
    );
    assert!(
        node.cli(&["apps:destroy", "-a", "myapp", "--confirm", "myapp"])
            .success
    );
    assert_eq!(node.get("myapp", "/").0, 404);
}

#[test]
fn a_sinatra_app_is_deployed_and_keeps_sessions() {
    let node = TestNode::start();
    let app = node.create("guestbook");
    app.copy_sample("guestbook");
    let push = app.push("main");
    push.assert_success();
    assert!(
        push.text.contains("Installing sinatra 3.0.5 from"),
        "{}",
        push.text
    );
    assert!(
        !push.text.contains("webrick"),
        "a gem of the development group is installed"
    );
    let (status, page) = node.get("guestbook", "/");
    assert!(
        status == 200 && page.contains("<h1>Guestbook</h1>"),
        "{page}"
    );
    assert!(
        node.get("guestbook", "/style.css")
            .1
            .contains("color-scheme")
    );
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let answer = node.raw("guestbook", "POST /entries", form, "text=%3Cb%3Ehello");
    assert!(answer.starts_with("HTTP/1.1 303 "), "{answer}");
    let cookie = answer
        .split("set-cookie: ")
        .nth(1)
        .or(answer.split("Set-Cookie: ").nth(1))
        .unwrap();
    let cookie = format!("Cookie: {}\r\n", cookie.split(';').next().unwrap());
    let page = node.raw("guestbook", "GET /", &cookie, "");
    assert!(page.contains("<li>&lt;b&gt;hello</li>"), "{page}");
}

#[test]
fn rejected_pushes_name_missing_native_and_unlocked_gems() {
    let node = TestNode::start();
    let app = node.create("myapp");
    app.write("config.ru", HELLO);
    app.write(
        "Gemfile",
        "source 'https://rubygems.org'\ngem 'nothing-like-it'\n",
    );
    assert!(
        app.push("main")
            .text
            .contains("Gemfile.lock: missing beside the Gemfile; run bundle lock")
    );
    let lock = |name: &str| format!("GEM\n  specs:\n    {name} (1.0)\n\nDEPENDENCIES\n  {name}\n");
    app.write("Gemfile.lock", &lock("nothing-like-it"));
    let push = app.push("main");
    assert!(
        push.text.contains("gem nothing-like-it 1.0: not found"),
        "{}",
        push.text
    );
    app.write("Gemfile.lock", &lock("ffi"));
    assert!(
        app.push("main")
            .text
            .contains("Gemfile.lock: does not list nothing-like-it")
    );
    app.write("Gemfile", "gem 'ffi'\n");
    let push = app.push("main");
    assert!(
        push.text.contains("gem ffi: has a native extension"),
        "{}",
        push.text
    );
    app.write("Gemfile", "raise 'no'\n");
    assert!(app.push("main").text.contains("Gemfile: evaluation failed"));
}

#[test]
fn requests_to_the_api_without_a_token_are_unauthorized() {
    let node = TestNode::start();
    assert_eq!(node.api_status("/v1/apps", ""), 401);
    assert_eq!(node.api_status("/v1/apps", "Bearer wrong"), 401);
    assert_eq!(
        node.api_status("/myapp.git/info/refs?service=git-receive-pack", ""),
        401
    );
}

#[test]
fn a_second_server_on_a_data_directory_is_refused() {
    let node = TestNode::start();
    let second = node.second_server();
    second.assert_failure("another corundum server uses");
}
