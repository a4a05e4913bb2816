//! Backups: made while the node works, restored onto an empty machine, and refused when they are damaged.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use corundum_test_support::node::{StopOnDrop, TestNode};

const HELLO: &str = "run ->(e) { [200, {}, [\"hello #{ENV['NAME']}\"]] }\n";

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn backup_of_a_busy_node_is_restored_onto_an_empty_machine() {
    let node = &TestNode::start();
    let app = node.deploy("myapp", HELLO);
    app.cli(node, &["config:set", "NAME=one"]).assert_success();
    app.cli(node, &["domains:add", "www.example.com"])
        .assert_success();
    node.create("empty");
    let busy = node.deploy("busy", HELLO);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("node.tar.zst");
    let data = node.data();
    let back_up = || node.cli(&["backup", text(&file), "--data-dir", text(&data)]);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stopped = StopOnDrop(&stop);
        scope.spawn(|| {
            for number in 0.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                busy.deploy(&HELLO.replace("hello", &format!("busy {number}")));
            }
        });
        std::thread::sleep(std::time::Duration::from_millis(1500));
        back_up().assert_success();
        drop(stopped);
    });
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    back_up().assert_failure("exists: choose another name");
    assert!(!data.join("backup").exists());

    let mut machine = TestNode::start();
    machine.kill();
    let target = machine.data();
    machine
        .cli(&["restore", text(&file), "--data-dir", text(&target)])
        .assert_failure("is not empty");
    std::fs::remove_dir_all(&target).unwrap();
    machine
        .cli(&["restore", text(&file), "--data-dir", text(&target)])
        .assert_success();
    assert_eq!(
        target.metadata().unwrap().permissions().mode() & 0o777,
        0o700
    );
    machine.restart();
    assert_eq!(machine.get("myapp", "/"), (200, "hello one".to_owned()));
    assert_eq!(machine.get_at("www.example.com", "/").0, 200);
    assert_eq!(machine.get("busy", "/").0, 200);
    machine.cli(&["login"]).assert_success();
    machine
        .cli(&["rollback", "v1", "--app", "myapp"])
        .assert_success();
    assert_eq!(machine.get("myapp", "/").1, "hello ");
    // Pushes are built there, to apps with a release and without.
    for name in ["myapp", "empty", "busy"] {
        let url = format!("http://127.0.0.1:{}/{name}.git", machine.api_port());
        let clone = directory.path().join(name);
        app.git_text(&["clone", "--quiet", &url, text(&clone)], b"");
        std::fs::write(clone.join("config.ru"), HELLO.replace("hello", "restored")).unwrap();
        let git = |arguments: &[&str]| {
            let arguments = [&["-C", text(&clone)], arguments].concat();
            app.git_text(&arguments, b"")
        };
        git(&["add", "--all"]);
        git(&["commit", "--quiet", "--message", "Restored"]);
        git(&["push", "origin", "HEAD:main"]);
        assert!(machine.get(name, "/").1.starts_with("restored"), "{name}");
    }
}

#[test]
fn damaged_backups_are_refused_and_leave_nothing() {
    let node = &mut TestNode::start();
    node.deploy("myapp", HELLO);
    node.kill();
    let directory = tempfile::tempdir().unwrap();
    let (file, target) = (
        directory.path().join("node.tar.zst"),
        directory.path().join("data"),
    );
    let data = node.data();
    node.cli(&["backup", text(&file), "--data-dir", text(&data)])
        .assert_success();
    let whole = std::fs::read(&file).unwrap();
    for at in [40, whole.len() / 3, whole.len() / 2, whole.len() - 40] {
        let mut damaged = whole.clone();
        damaged[at] ^= 4;
        std::fs::write(&file, &damaged).unwrap();
        node.cli(&["restore", text(&file), "--data-dir", text(&target)])
            .assert_failure("is damaged");
        std::fs::write(&file, &whole[..at]).unwrap();
        node.cli(&["restore", text(&file), "--data-dir", text(&target)])
            .assert_failure("is damaged");
        let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "byte {at}: {left:?}");
    }
    // A node with a damaged store has no consistent backup.
    let store = rusqlite::Connection::open(data.join("corundum.sqlite")).unwrap();
    store.execute("update releases set slug = 'x'", []).unwrap();
    drop(store);
    let other = directory.path().join("other.tar.zst");
    node.cli(&["backup", text(&other), "--data-dir", text(&data)])
        .assert_failure("cannot be read");
    assert!(!other.exists() && !data.join("backup").exists());
    node.cli(&["backup", text(&other), "--data-dir", text(&target)])
        .assert_failure("is not a data directory");
}
