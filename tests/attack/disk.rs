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

/// Returns the numbers of an app's releases.
fn releases(node: &TestNode, app: &str) -> Vec<u64> {
    let listed = node.cli(&["releases", "--app", app, "--json"]).text;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let listed = listed.as_array().unwrap().iter();
    listed
        .map(|release| release["version"].as_u64().unwrap())
        .collect()
}

/// Returns the node's disk, as `storage --json` prints it.
fn storage(node: &TestNode) -> serde_json::Value {
    serde_json::from_str(&node.cli(&["storage", "--json"]).text).unwrap()
}

#[test]
fn releases_beyond_the_retention_go_with_their_slugs() {
    let node = &mut TestNode::start_with(&["--build-ruby", "false", "--keep-releases", "3"]);
    let app = node.deploy("myapp", HELLO);
    for text in ["two", "three", "four"] {
        app.deploy(&HELLO.replace("hello", text));
    }
    assert_eq!(releases(node, "myapp"), [4, 3, 2]);
    assert_eq!(
        files(node)
            .iter()
            .filter(|name| name.starts_with("slugs/"))
            .count(),
        3
    );
    assert_eq!(trashed(node), 1);
    let gone = node.cli(&["rollback", "v1", "--app", "myapp"]);
    gone.assert_failure("no release to roll back to");
    node.cli(&["rollback", "v2", "--app", "myapp"])
        .assert_success();
    assert_eq!(node.get("myapp", "/").1, "two");
    // v5 has the slug of v2, which therefore stays when v2 goes.
    node.cli(&["storage:prune", "--app", "myapp", "--keep", "1"])
        .assert_success();
    assert_eq!(releases(node, "myapp"), [5]);
    assert_eq!(
        files(node)
            .iter()
            .filter(|name| name.starts_with("slugs/"))
            .count(),
        1
    );
    node.kill_and_restart();
    loaded(node);
    assert_eq!(node.get("myapp", "/").1, "two");
    let before = storage(node);
    assert_eq!(before["apps"][0]["releases"], 1, "{before}");
    assert!(
        before["trash"].as_u64() > Some(0) && before["problems"].as_array().unwrap().is_empty(),
        "{before}"
    );
    node.cli(&["storage:prune", "--empty-trash"])
        .assert_success();
    assert_eq!(
        (storage(node)["trash"].as_u64(), trashed(node)),
        (Some(0), 0)
    );
    let table = node.cli(&["storage"]).text;
    assert!(
        table.starts_with("App ") && table.contains("myapp"),
        "{table}"
    );
}

#[test]
fn push_beyond_the_quota_is_refused_and_pruning_makes_room() {
    let node = &TestNode::start_with(&["--build-ruby", "false", "--app-quota", "26"]);
    let app = node.create("myapp");
    app.write("config.ru", HELLO);
    // Two of them exceed the quota beside the image; random bytes do not shrink.
    let mut noise = vec![0; 3 << 20];
    let mut fill = |app: &corundum_test_support::node::Repository| {
        getrandom(&mut noise);
        app.write_bytes("noise", &noise);
        app.push("main")
    };
    let first = fill(&app);
    if !first.success {
        return first.assert_failure("may take 26 MB");
    }
    let refused = (0..8).map(|_| fill(&app)).find(|push| !push.success);
    refused
        .unwrap()
        .assert_failure("corundum storage:prune --app myapp --keep 3");
    assert_eq!(node.get("myapp", "/").1, "hello");
    node.cli(&["config:set", "A=1", "--app", "myapp"])
        .assert_success();
    let version = releases(node, "myapp")[0];
    node.cli(&["storage:prune", "--app", "myapp", "--keep", "1"])
        .assert_success();
    assert_eq!(releases(node, "myapp"), [version]);
}

fn getrandom(bytes: &mut [u8]) {
    use std::io::Read;
    std::fs::File::open("/dev/urandom")
        .unwrap()
        .read_exact(bytes)
        .unwrap();
}

#[test]
fn repository_with_many_packs_is_collected_and_still_takes_pushes() {
    let node = &TestNode::start();
    let app = node.deploy("myapp", HELLO);
    let repository = node.data().join("repos/myapp.git");
    // Objects that no branch reaches, as many as pushes leave in years.
    let objects = repository.join("objects");
    for number in 0..600 {
        let name = app.git_text(
            &["hash-object", "-w", "--stdin"],
            format!("{number}").as_bytes(),
        );
        let (folder, file) = name.split_at(2);
        std::fs::create_dir_all(objects.join(folder)).unwrap();
        let from = app.path().join(".git/objects").join(folder).join(file);
        std::fs::copy(from, objects.join(folder).join(file)).unwrap();
    }
    let pruned = node.cli(&["storage:prune", "--app", "myapp", "--json"]);
    assert!(
        pruned.text.contains("\"repositories\": 1"),
        "{}",
        pruned.text
    );
    let packs = std::fs::read_dir(objects.join("pack")).unwrap();
    let packs = packs.filter(|file| {
        file.as_ref()
            .unwrap()
            .path()
            .extension()
            .is_some_and(|e| e == "pack")
    });
    assert!(packs.count() >= 1);
    app.deploy(&HELLO.replace("hello", "again"));
    assert_eq!(node.get("myapp", "/").1, "again");
}

#[test]
fn damaged_log_of_a_killed_node_is_reported_and_deletes_nothing() {
    let node = &mut TestNode::start();
    let app = node.deploy("myapp", HELLO);
    app.deploy(&HELLO.replace("hello", "second"));
    node.kill();
    let before = files(node);
    let log = node.data().join("corundum.sqlite-wal");
    let mut bytes = std::fs::read(&log).unwrap();
    // Behind the header and some frames of the schema.
    let at = bytes.len() / 3;
    bytes[at] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    node.restart();
    let (status, reason) = loaded(node);
    assert!(
        status == 503 && reason.contains("store: its log was damaged"),
        "{status} {reason}"
    );
    let now = files(node);
    let slugs = |files: &BTreeSet<String>| -> Vec<String> {
        let kept = files.iter().filter(|name| !name.starts_with("images/"));
        kept.cloned().collect()
    };
    assert_eq!((slugs(&now), trashed(node)), (slugs(&before), 0));
}
