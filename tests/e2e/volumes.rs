//! Volumes: a directory that all dynos of an app share and that outlives them, and SQLite on it.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use corundum_test_support::gem_server::GemServer;
use corundum_test_support::node::TestNode;
use corundum_test_support::process::skip;

/// Gems that `script/native-gems` has made.
const MADE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/native-gems");

const FILES: &str = r#"
run ->(env) {
  body = begin
    case env['PATH_INFO']
    when '/write' then File.write('/data/note', 'kept'); 'written'
    when '/read' then File.read('/data/note')
    when '/fill'
      File.open('/data/big', 'wb') { |f| 100.times { f.write('x' * 65_536) } }
      'filled'
    when '/escape'
      Dir.mkdir('/data/d') unless Dir.exist?('/data/d')
      File.symlink('/etc/hostname', '/data/link') unless File.symlink?('/data/link')
      File.symlink('../../../../../etc/hostname', '/data/d/up') unless File.symlink?('/data/d/up')
      %w[/data/link /data/d/up /data/../../etc/hostname].map { |path| File.exist?(path) }.inspect
    else 'ready'
    end
  rescue SystemCallError => e
    e.class.name
  end
  [200, {}, [body]]
}
"#;

#[test]
fn files_of_a_volume_are_shared_survive_and_stay_within_the_quota() {
    let mut node = TestNode::start();
    let app = node.deploy("files", FILES);
    assert_eq!(node.get("files", "/read").1, "Errno::ENOENT");
    let set = app.cli(&node, &["settings:set", "volume=5MB"]);
    set.assert_success();
    assert_eq!(node.get("files", "/write").1, "written");
    assert_eq!(node.get("files", "/fill").1, "Errno::ENOSPC");
    assert_eq!(node.get("files", "/escape").1, "[false, false, false]");
    node.kill_and_restart();
    assert_eq!(node.get("files", "/read").1, "kept");
    // The other app has a volume of its own.
    let other = node.deploy("other", FILES);
    let set = other.cli(&node, &["settings:set", "volume=5MB"]);
    set.assert_success();
    assert_eq!(node.get("other", "/read").1, "Errno::ENOENT");
    let huge = other.cli(&node, &["settings:set", "volume=9000GB"]);
    huge.assert_failure("choose a smaller one");
    // A volume goes to the trash with its app.
    let destroyed = app.cli(&node, &["apps:destroy", "--confirm", "files"]);
    destroyed.assert_success();
    assert!(!node.data().join("volumes/files").exists());
}

#[test]
fn volume_returns_to_a_snapshot_and_is_an_addon() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("corundum.toml");
    let text =
        "[services.volume.plans]\nmini = { storage = \"5 MB\" }\nlarge = { storage = \"9 MB\" }\n";
    fs::write(&config, text).unwrap();
    let mut node = TestNode::start_with(&[
        "--config",
        config.to_str().unwrap(),
        "--build-ruby",
        "false",
    ]);
    let app = node.deploy("files", FILES);
    app.cli(&node, &["volume:snapshots:capture"])
        .assert_failure("has no volume");
    let created = app.cli(&node, &["addons:create", "volume"]);
    created.assert_success();
    assert!(created.text.contains("as VOLUME_PATH"), "{}", created.text);
    app.cli(&node, &["addons:create", "volume"])
        .assert_failure("has a volume already");
    assert_eq!(node.get("files", "/write").1, "written");
    let captured = app.cli(&node, &["volume:snapshots:capture"]);
    captured.assert_success();
    assert!(captured.text.contains("s001"), "{}", captured.text);
    // The node was killed while it made another one.
    let unfinished = node.data().join("volume-snapshots/files/.unfinished");
    fs::create_dir(&unfinished).unwrap();
    fs::write(unfinished.join("x"), "x").unwrap();
    fs::write(node.data().join("volumes/files/note"), "changed").unwrap();
    assert_eq!(node.get("files", "/read").1, "changed");
    node.kill_and_restart();
    let restore = ["volume:snapshots:restore", "s001", "--confirm", "files"];
    app.cli(&node, &restore[..2])
        .assert_failure("--confirm files");
    let restored = app.cli(&node, &restore);
    restored.assert_success();
    assert!(
        restored.text.contains("before is s002"),
        "{}",
        restored.text
    );
    assert_eq!(node.get("files", "/read").1, "kept");
    let before = node.data().join("volume-snapshots/files/s002/note");
    assert_eq!(fs::read_to_string(before).unwrap(), "changed");
    app.cli(
        &node,
        &["volume:snapshots:restore", "s009", "--confirm", "files"],
    )
    .assert_failure("Couldn't find that snapshot");
    app.cli(
        &node,
        &["volume:snapshots:delete", "s002", "--confirm", "files"],
    )
    .assert_success();
    let listed = app.cli(&node, &["volume:snapshots"]).text;
    assert!(
        listed.contains("s001") && !listed.contains("s002"),
        "{listed}"
    );

    // The quota is the plan's.
    assert_eq!(node.get("files", "/fill").1, "Errno::ENOSPC");
    app.cli(&node, &["addons:upgrade", "VOLUME", "large"])
        .assert_success();
    assert_eq!(node.get("files", "/fill").1, "filled");
    let other = node.deploy("other", FILES);
    other
        .cli(&node, &["addons:attach", &addon_name(&node)])
        .assert_failure("for the app alone");
    app.cli(&node, &["addons:destroy", "VOLUME", "--confirm", "files"])
        .assert_success();
    assert_eq!(node.get("files", "/read").1, "Errno::ENOENT");
    assert!(!node.data().join("volumes/files").exists());
}

fn addon_name(node: &TestNode) -> String {
    let listed = node.cli(&["addons", "--app", "files", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed.text).unwrap();
    listed[0]["name"].as_str().unwrap().to_owned()
}

const DATABASE: &str = r#"
require 'sqlite3'
OPEN = lambda do
  $db ||= SQLite3::Database.new('/data/app.db').tap do |db|
    db.busy_timeout = 20_000
    db.execute('CREATE TABLE IF NOT EXISTS entries (id INTEGER PRIMARY KEY, dyno TEXT)')
  end
end
run ->(env) {
  body = case env['PATH_INFO']
    when '/add'
      OPEN.().execute('INSERT INTO entries (id, dyno) VALUES (?, ?)', [env['QUERY_STRING'].to_i, ENV.fetch('DYNO')])
      # Others get the lock meanwhile.
      sleep 0.02
      'added'
    when '/ids' then OPEN.().execute('SELECT id FROM entries').flatten.join(' ')
    when '/dynos' then OPEN.().execute('SELECT count(DISTINCT dyno) FROM entries').flatten.first.to_s
    when '/check' then OPEN.().execute('PRAGMA integrity_check').flatten.join
    when '/wal' then OPEN.().execute('PRAGMA journal_mode=wal').flatten.join
    else 'ready'
    end
  [200, {}, [body]]
}
"#;

#[test]
fn sqlite_keeps_every_acknowledged_commit_of_many_dynos_when_the_node_is_killed() {
    let made = fs::read_dir(MADE).into_iter().flatten().flatten();
    let gems: Vec<_> = made
        .filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let (gem, version) = name.strip_suffix(".gem")?.rsplit_once('-')?;
            Some((gem.to_owned(), version.to_owned(), entry.path()))
        })
        .collect();
    let Some((_, version, _)) = gems.iter().find(|(gem, ..)| gem == "sqlite3") else {
        return skip("native gems are missing: run script/native-gems");
    };
    let server = GemServer::start();
    for (gem, version, path) in &gems {
        server.publish(gem, version, &fs::read(path).unwrap());
    }
    let url = server.url();
    let mut node = TestNode::start_with(&["--gem-source", &url, "--build-ruby", "false"]);
    let app = node.create("database");
    app.write("Gemfile", &format!("source '{url}'\ngem 'sqlite3'\n"));
    app.write(
        "Gemfile.lock",
        &format!(
            "GEM\n  remote: {url}\n  specs:\n    sqlite3 ({version})\n\nPLATFORMS\n  ruby\n\nDEPENDENCIES\n  sqlite3\n"
        ),
    );
    app.write("config.ru", DATABASE);
    app.cli(&node, &["settings:set", "volume=100MB"])
        .assert_success();
    app.cli(&node, &["ps:scale", "web=8"]).assert_success();
    app.push("main").assert_success();
    assert_eq!(node.get("database", "/wal").1, "delete");

    let acknowledged = Mutex::new(BTreeSet::new());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..16 {
            let (node, acknowledged, stop) = (&node, &acknowledged, &stop);
            scope.spawn(move || {
                let mut id = thread * 1_000_000 + 1;
                while !stop.load(Ordering::Relaxed) {
                    // The client panics when the node has been killed.
                    let add = std::panic::AssertUnwindSafe(|| {
                        node.get("database", &format!("/add?{id}"))
                    });
                    match std::panic::catch_unwind(add) {
                        Ok((200, body)) if body == "added" => {
                            acknowledged.lock().unwrap().insert(id);
                        }
                        _ => std::thread::sleep(Duration::from_millis(20)),
                    }
                    id += 1;
                }
            });
        }
        let started = Instant::now();
        let count = || acknowledged.lock().unwrap().len();
        while count() < 200 && started.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(50));
        }
        eprintln!("{} commits in {:?}", count(), started.elapsed());
        node.signal("KILL");
        stop.store(true, Ordering::Relaxed);
    });
    node.wait();
    node.restart();
    let acknowledged = acknowledged.into_inner().unwrap();
    assert!(acknowledged.len() >= 200, "{}", acknowledged.len());
    assert_eq!(node.get("database", "/check").1, "ok");
    let ids = node.get("database", "/ids").1;
    let kept: BTreeSet<i32> = ids.split(' ').map(|id| id.parse().unwrap()).collect();
    let lost: Vec<_> = acknowledged.difference(&kept).collect();
    assert!(lost.is_empty(), "{lost:?}");
    let dynos: u32 = node.get("database", "/dynos").1.parse().unwrap();
    assert!(dynos > 1, "{dynos}");
}
