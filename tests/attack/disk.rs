//! The disk: flipped bits in the store, and the sweep of files that nothing names.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use corundum_test_support::node::TestNode;
use corundum_test_support::wait::poll;

const HELLO: &str = "run ->(e) { [200, {}, ['hello']] }\n";

/// Returns the slugs, images and repositories of a node.
fn files(node: &TestNode) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for folder in ["slugs", "images", "repos"] {
        for entry in std::fs::read_dir(node.data().join(folder)).unwrap() {
            names.insert(format!(
                "{folder}/{}",
                entry.unwrap().file_name().to_string_lossy()
            ));
        }
    }
    names
}

/// Counts what the node has moved to the trash.
fn trashed(node: &TestNode) -> usize {
    std::fs::read_dir(node.data().join("trash"))
        .unwrap()
        .count()
}

/// Waits until the node has loaded its apps, and returns the answer of `/readyz`.
fn loaded(node: &TestNode) -> (u16, String) {
    let answer = poll(Duration::from_secs(60), || {
        Some(node.admin("/readyz")).filter(|(_, body)| body != "starting\n")
    });
    answer.expect("the node starts for more than a minute")
}

/// Changes the store of a stopped node, and leaves all of it in one file.
fn change_store(node: &TestNode, sql: &str) {
    let store = rusqlite::Connection::open(node.data().join("corundum.sqlite")).unwrap();
    store.execute_batch(sql).unwrap();
    let checkpointed: i64 = store
        .query_row("pragma wal_checkpoint(truncate)", [], |row| row.get(0))
        .unwrap();
    assert_eq!(checkpointed, 0);
}

/// Flips a bit of the byte that is `offset` bytes behind the first `needle` in a file.
fn flip(path: &Path, needle: &[u8], offset: usize, bit: u8) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = bytes.windows(needle.len()).position(|part| part == needle);
    bytes[at.unwrap() + offset] ^= 1 << bit;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn damaged_records_delete_nothing_and_other_apps_are_served() {
    let node = &mut TestNode::start();
    node.deploy("kapp", HELLO);
    let other = node.deploy("other", &HELLO.replace("hello", "first"));
    other.deploy(HELLO);
    loaded(node);
    node.kill();
    change_store(node, "");
    let store = node.data().join("corundum.sqlite");
    let whole = std::fs::read(&store).unwrap();
    let before = files(node);

    // The year of an app's creation is no longer UTF-8.
    flip(&store, b"kapp2", 4, 7);
    node.restart();
    let (status, reason) = loaded(node);
    assert_eq!(status, 503, "{reason}");
    assert!(
        reason.contains("store: the record of app \"kapp\" cannot be read"),
        "{reason}"
    );
    assert_eq!(node.get("other", "/").0, 200);
    assert_eq!((files(node), trashed(node)), (before.clone(), 0));
    node.kill();

    // Another digit in a slug's digest: the record can be read, and names a slug that does not exist.
    std::fs::write(&store, &whole).unwrap();
    change_store(
        node,
        "update releases set slug = replace(substr(slug, 1, 1), substr(slug, 1, 1), case substr(slug, 1, 1) when 'a' then 'b' else 'a' end) || substr(slug, 2) where app = 'kapp'",
    );
    node.restart();
    loaded(node);
    assert_eq!(node.get("other", "/").0, 200);
    assert_eq!((files(node), trashed(node)), (before.clone(), 0));
    node.kill();

    // An empty name of an image, which would be the folder of all images.
    std::fs::write(&store, &whole).unwrap();
    change_store(node, "update releases set image = '' where app = 'kapp'");
    node.restart();
    let (status, reason) = loaded(node);
    assert_eq!(status, 503, "{reason}");
    assert!(reason.contains("release v1 of app \"kapp\""), "{reason}");
    assert_eq!(node.get("other", "/").0, 200);
    assert_eq!((files(node), trashed(node)), (before.clone(), 0));
    // The app can be destroyed all the same, and nothing of another app goes with it.
    node.cli(&["apps:destroy", "--app", "kapp", "--confirm", "kapp"])
        .assert_success();
    assert_eq!(node.get("other", "/").0, 200);
    node.kill_and_restart();
    assert_eq!(loaded(node), (200, "ready\n".to_owned()));
    assert_eq!(node.get("other", "/").0, 200);
    let kept = files(node);
    assert!(
        kept.is_subset(&before) && kept.len() < before.len(),
        "{kept:?}"
    );
    node.kill();

    // A page of the table of apps that is no page of a table.
    change_store(node, "");
    flip(&store, b"SQLite format 3", 0, 0);
    let refused = node.second_server();
    refused.assert_failure("store: ");
    assert_eq!(files(node), kept);
}

#[test]
fn files_that_nothing_names_go_to_the_trash_first() {
    let node = &mut TestNode::start();
    node.deploy("myapp", HELLO);
    node.kill();
    let before = files(node);
    let slug = node.data().join(format!("slugs/{}.tar", "0".repeat(64)));
    std::fs::write(&slug, "left by a killed node").unwrap();
    std::fs::create_dir(node.data().join("images/.image-left")).unwrap();
    node.restart();
    assert_eq!(loaded(node), (200, "ready\n".to_owned()));
    assert_eq!((files(node), trashed(node)), (before.clone(), 2));
    node.kill_and_restart();
    loaded(node);
    assert_eq!(trashed(node), 2);

    // A slug that a record names comes back from there.
    node.kill();
    let named = before
        .iter()
        .find(|name| name.starts_with("slugs/"))
        .unwrap();
    let digest = named.trim_start_matches("slugs/");
    let place = node.data().join(format!("trash/1.0.slugs.{digest}"));
    std::fs::rename(node.data().join(named), place).unwrap();
    node.restart();
    loaded(node);
    assert_eq!(files(node), before);
    assert_eq!(node.get("myapp", "/").0, 200);

    // Without a grace period, the sweep deletes.
    node.restart_with(&["--build-ruby", "false", "--trash-hours", "0"]);
    loaded(node);
    assert_eq!((files(node), trashed(node)), (before, 0));
}
