//! A release and its branch are one step: what git refuses is not released, and what is released git has.

use std::process::Command;
use std::time::Duration;

use corundum_test_support::node::{ProcessOutput, Repository, TestNode};
use corundum_test_support::wait::wait_until;

const LIVE: &str = "run ->(e) { [200, {}, ['live']] }\n";

/// Returns the commit of a branch on the node; empty if it has no such branch.
fn branch(node: &TestNode, name: &str) -> String {
    let repository = node.data().join("repos/myapp.git");
    let mut git = Command::new("git");
    git.arg("-C").arg(repository);
    git.args([
        "for-each-ref",
        "--format=%(objectname)",
        &format!("refs/heads/{name}"),
    ]);
    ProcessOutput::of(&mut git).text.trim().to_owned()
}

/// Returns the commit of the app's newest release; empty if it has none.
fn released(node: &TestNode) -> String {
    let output = node.cli(&["releases", "--app", "myapp", "--json"]).text;
    let releases: serde_json::Value = serde_json::from_str(&output).unwrap();
    let builds = node.cli(&["releases", "--app", "myapp"]);
    builds.assert_success();
    let description = releases[0]["description"].as_str().unwrap_or_default();
    description.trim_start_matches("Deploy ").to_owned()
}

/// Asserts that the branch main points to the commit of the newest release.
fn assert_agree(node: &TestNode) {
    let (branch, released) = (branch(node, "main"), released(node));
    assert!(
        branch.starts_with(&released) && branch.is_empty() == released.is_empty(),
        "branch {branch}, release {released}"
    );
}

/// Adds an empty commit.
fn commit(app: &Repository, message: &str) {
    app.run_git(&["commit", "--quiet", "--allow-empty", "--message", message])
        .assert_success();
}

#[test]
fn push_from_a_shallow_clone_is_refused_before_the_build() {
    let node = TestNode::start();
    let app = node.create("myapp");
    app.write("config.ru", LIVE);
    app.commit();
    commit(&app, "2");
    commit(&app, "3");
    let shallow = app.path().with_extension("shallow");
    let source = format!("file://{}", app.path().display());
    app.run_git(&[
        "clone",
        "--quiet",
        "--depth",
        "1",
        &source,
        shallow.to_str().unwrap(),
    ])
    .assert_success();
    let url = app.git_text(&["remote", "get-url", "corundum"], b"");
    let push = || {
        let directory = shallow.to_str().unwrap();
        app.run_git(&["-C", directory, "push", &url, "HEAD:refs/heads/main"])
    };
    for _ in 0..2 {
        let push = push();
        push.assert_failure("source repository is a shallow clone");
        assert!(!push.text.contains("Ruby app detected"), "{}", push.text);
        assert_eq!(branch(&node, "main") + &released(&node), "");
    }
    node.assert_pushes_cleaned_up("myapp");
    // A clone that is shallow below commits that the node has can push.
    assert!(app.push("main").success);
    app.run_git(&[
        "-C",
        shallow.to_str().unwrap(),
        "commit",
        "--quiet",
        "--allow-empty",
        "-m",
        "4",
    ])
    .assert_success();
    push().assert_success();
    assert_agree(&node);
}

#[test]
fn moved_data_directory_builds_pushes() {
    let mut node = TestNode::start();
    let app = node.deploy("myapp", LIVE);
    node.kill();
    // The repository as an earlier version configured it, with the path of hooks that are gone.
    let repository = node.data().join("repos/myapp.git");
    for (name, value) in [
        ("core.hooksPath", "/gone/hooks"),
        ("receive.procReceiveRefs", "refs/x"),
    ] {
        let mut git = Command::new("git");
        git.arg("-C").arg(&repository).args(["config", name, value]);
        assert!(ProcessOutput::of(&mut git).success);
    }
    std::fs::remove_dir_all(node.data().join("hooks")).unwrap();
    node.restart();
    app.deploy("run ->(e) { [200, {}, ['moved']] }\n");
    assert_eq!(node.get("myapp", "/").1, "moved");
    assert_agree(&node);
}

#[test]
fn push_without_its_hooks_is_refused() {
    let node = TestNode::start();
    let app = node.deploy("myapp", LIVE);
    let before = branch(&node, "main");
    for hook in ["pre-receive", "proc-receive"] {
        let path = node.data().join("hooks").join(hook);
        let kept = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        commit(&app, hook);
        let push = app.run_git(&["push", "corundum", "main"]);
        assert!(!push.success, "{hook}: {}", push.text);
        assert_eq!(branch(&node, "main"), before, "{hook}");
        assert_agree(&node);
        std::fs::write(&path, kept).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&path, mode).unwrap();
    }
    app.run_git(&["push", "corundum", "main"]).assert_success();
    assert_agree(&node);
}

#[test]
fn branch_is_pushed_with_tags_and_other_branches() {
    let node = TestNode::start();
    let app = node.create("myapp");
    app.write("config.ru", LIVE);
    app.commit();
    app.run_git(&["tag", "--annotate", "v1", "--message", "One"])
        .assert_success();
    app.run_git(&["tag", "light"]).assert_success();
    app.run_git(&["branch", "topic"]).assert_success();
    app.run_git(&["push", "corundum", "main", "--tags"])
        .assert_success();
    assert_agree(&node);
    app.run_git(&["tag", "v2"]).assert_success();
    let push = app.run_git(&["push", "corundum", "main", "--tags"]);
    push.assert_success();
    assert!(push.text.contains("Nothing to deploy"), "{}", push.text);
    commit(&app, "2");
    let push = app.run_git(&["push", "corundum", "--all"]);
    push.assert_success();
    assert!(push.text.contains("topic does not deploy"), "{}", push.text);
    assert!(!branch(&node, "topic").is_empty());
    assert_agree(&node);
    app.run_git(&["push", "corundum", ":topic"])
        .assert_success();
    commit(&app, "3");
    for (refs, words) in [
        (&["main", "main:master"][..], "push one of them"),
        (
            &["main", "main:refs/replace/x"],
            "neither a branch nor a tag",
        ),
        (&["main", "main:refs/heads/master/x"], "rename the branch"),
        (&["main:topic"], "only main and master deploy"),
        (&[":main"], "cannot be deleted"),
    ] {
        let push = app.run_git(&[&["push", "--force", "corundum"], refs].concat());
        push.assert_failure(words);
        assert_agree(&node);
    }
    app.run_git(&["push", "corundum", "main"]).assert_success();
    assert_agree(&node);
}

#[test]
fn lock_that_a_killed_git_left_does_not_part_branch_and_release() {
    let mut node = TestNode::start();
    let app = node.deploy("myapp", LIVE);
    node.kill();
    let lock = node.data().join("repos/myapp.git/refs/heads/main.lock");
    std::fs::write(&lock, "").unwrap();
    node.restart();
    commit(&app, "2");
    app.run_git(&["push", "corundum", "main"]).assert_success();
    assert_agree(&node);
}

fn kill_rounds(rounds: u64, killed: impl Fn(&mut TestNode, &Repository, &mut std::process::Child)) {
    let mut node = TestNode::start();
    let app = node.deploy("myapp", LIVE);
    for round in 0..rounds {
        app.write(
            "config.ru",
            &format!("run ->(e) {{ [200, {{}}, ['{round}']] }}\n"),
        );
        let mut push = app.push_in_background("main");
        std::thread::sleep(Duration::from_millis(round * 37 % 700));
        killed(&mut node, &app, &mut push);
        let _ = push.wait();
        wait_until("branch and release agree", Duration::from_secs(20), || {
            let (branch, released) = (branch(&node, "main"), released(&node));
            branch.starts_with(&released)
        });
        let accepted = (0..20).any(|_| {
            std::thread::sleep(Duration::from_millis(50));
            app.run_git(&["push", "corundum", "main"]).success
        });
        assert!(accepted, "round {round}: the app accepts no push");
        assert_agree(&node);
        assert_eq!(node.get("myapp", "/").1, round.to_string());
    }
}

#[test]
fn branch_and_release_agree_after_kills_of_the_node() {
    kill_rounds(6, |node, _, _| node.kill_and_restart());
}

#[test]
#[ignore = "takes minutes; script/attack runs it"]
fn branch_and_release_agree_after_a_hundred_kills_of_the_node() {
    kill_rounds(100, |node, _, _| node.kill_and_restart());
}

#[test]
#[ignore = "takes minutes; script/attack runs it"]
fn branch_and_release_agree_after_a_hundred_kills_of_the_pusher() {
    kill_rounds(100, |_, app, push| app.kill_group(push));
}
