//! Databases as their users see them: psql through the node, and backups.

use std::process::Command;
use std::time::{Duration, Instant};

use corundum_test_support::node::{ProcessOutput, Repository, TestNode};
use corundum_test_support::process::skip;
use corundum_test_support::wait::wait_until;

use corundum_test_support::postgres::PostgresServer;

const PLANS: &str = "[services.postgres.plans]\nmini = { connections = 10, storage = \"1 GB\" }\n";

fn url(node: &TestNode, variable: &str) -> String {
    let config = node.cli(&["config:get", variable, "--app", "one"]);
    config.text.trim().to_owned()
}

fn psql(node: &TestNode, app: &Repository, statements: &str) -> ProcessOutput {
    app.cli(node, &["pg:psql", "-c", statements])
}

/// Returns the number of rows of a table, or the error.
fn count(server: &PostgresServer, url: &str) -> String {
    let counted = server.query(url, "select count(*) from numbers");
    counted.unwrap_or_else(|error| error)
}

#[test]
fn psql_and_backups_of_a_database_work_through_the_node() {
    let Some(mut server) = PostgresServer::start() else {
        return;
    };
    let config = server.config(PLANS);
    let mut node = TestNode::start_with(&["--config", config.to_str().unwrap()]);
    let app = node.create("one");
    let none = app.cli(&node, &["pg:backups:capture"]);
    none.assert_failure("DATABASE_URL");
    app.cli(&node, &["addons:create", "postgres"])
        .assert_success();
    let own = url(&node, "DATABASE_URL");
    let password = own.split([':', '@']).nth(2).unwrap().to_owned();

    // psql has the app's rights, and its exit status.
    let made = "create table numbers as select generate_series(1, 1000) as n";
    psql(&node, &app, made).assert_success();
    let counted = psql(&node, &app, "select count(*) from numbers");
    assert!(counted.text.contains("1000"), "{}", counted.text);
    let wrong = psql(&node, &app, "select * from nothing");
    wrong.assert_failure("relation \"nothing\" does not exist");
    let info = app.cli(&node, &["pg:info"]);
    assert!(
        info.text.contains("=== DATABASE_URL") && info.text.contains("Tables: 1"),
        "{}",
        info.text
    );

    let captured = app.cli(&node, &["pg:backups:capture"]);
    captured.assert_success();
    assert!(
        captured.text.contains("to b001... done"),
        "{}",
        captured.text
    );
    psql(
        &node,
        &app,
        "drop table numbers; create table later (x int)",
    )
    .assert_success();
    let unconfirmed = app.cli(&node, &["pg:backups:restore"]);
    unconfirmed.assert_failure("--confirm one");
    let restore = ["pg:backups:restore", "b001", "--confirm", "one"];
    app.cli(&node, &restore).assert_success();
    assert_eq!(count(&server, &own), "1000");
    // The data is the backup's, and nothing else is left.
    assert!(server.query(&own, "select * from later").is_err());
    let databases = "select count(*) from pg_database where datname like 'd%'";
    assert_eq!(server.query(&server.admin(), databases).unwrap(), "1");

    // A second database gets the backup, too.
    app.cli(&node, &["addons:create", "postgres"])
        .assert_success();
    let second = "HEROKU_POSTGRESQL_AMBER_URL";
    app.cli(
        &node,
        &["pg:backups:restore", "b001", second, "--confirm", "one"],
    )
    .assert_success();
    assert_eq!(count(&server, &url(&node, second)), "1000");

    // A downloaded backup is one for pg_restore.
    let file = app.path().join("latest.dump");
    let download = ["pg:backups:download", "--output", "latest.dump"];
    app.cli(&node, &download).assert_success();
    let list = Command::new(server.programs.join("pg_restore"))
        .arg("--list")
        .arg(&file)
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&list.stdout).contains("TABLE DATA public numbers"));
    app.cli(&node, &download).assert_failure("File exists");

    // A damaged file is refused, and the data stays.
    let addon = std::fs::read_dir(node.data().join("addon-backups")).unwrap();
    let folder = addon.into_iter().next().unwrap().unwrap().path();
    let stored = folder.join("b001.dump");
    let whole = std::fs::read(&stored).unwrap();
    std::fs::write(&stored, &whole[..whole.len() / 2]).unwrap();
    app.cli(&node, &restore).assert_failure("damaged");
    let mut flipped = whole.clone();
    flipped[..20].fill(b'x');
    std::fs::write(&stored, &flipped).unwrap();
    app.cli(&node, &restore).assert_failure("pg_restore: ");
    assert_eq!(count(&server, &own), "1000");
    assert_eq!(server.query(&server.admin(), databases).unwrap(), "2");
    std::fs::write(&stored, &whole).unwrap();

    // The server is down: the backup fails, by name, and the next one works.
    server.stop();
    let failed = app.cli(&node, &["pg:backups:capture"]);
    failed.assert_failure("does not answer");
    let refused = psql(&node, &app, "select 1");
    refused.assert_failure("its server does not answer");
    server.run();

    for text in [&captured.text, &wrong.text, &failed.text, &refused.text] {
        assert!(!text.contains(&password), "{text}");
    }
    let processes = |node: &TestNode| node.cli(&["logs", "--app", "one", "-n", "1500"]).text;
    assert!(!processes(&node).contains(&password));

    // Kept over a restart, and gone with the add-on.
    node.kill_and_restart();
    app.cli(&node, &restore).assert_success();
    app.cli(&node, &["pg:backups:delete", "b001"])
        .assert_failure("--confirm one");
    app.cli(&node, &["pg:backups:capture"]).assert_success();
    app.cli(&node, &["pg:backups:delete", "b001", "--confirm", "one"])
        .assert_success();
    let listed = app.cli(&node, &["pg:backups"]).text;
    assert!(
        !listed.contains("b001") && listed.contains("b002"),
        "{listed}"
    );
    assert!(!stored.exists() && folder.join("b002.dump").exists());
    app.cli(&node, &["addons:destroy", "DATABASE", "--confirm", "one"])
        .assert_success();
    assert!(!folder.exists());
}

#[test]
fn kill_during_a_backup_or_a_restore_leaves_the_data_and_no_half_backup() {
    let Some(server) = PostgresServer::start() else {
        return;
    };
    let config = server.config(PLANS);
    let mut node = TestNode::start_with(&["--config", config.to_str().unwrap()]);
    let app = node.create("one");
    app.cli(&node, &["addons:create", "postgres"])
        .assert_success();
    let own = url(&node, "DATABASE_URL");
    // Random text is slow to compress.
    let fill = "create table numbers as select n, md5(n::text) || md5((n + 1)::text) as t \
                from generate_series(1, 400000) as n; create index on numbers (t)";
    server.query(&own, fill).unwrap();
    let detached = ["pg:backups:capture", "--detach"];
    app.cli(&node, &detached).assert_success();
    app.cli(&node, &detached).assert_failure("is being made");
    node.kill_and_restart();
    let listed = app.cli(&node, &["pg:backups"]);
    assert!(
        listed.text.contains("failed: the node was stopped"),
        "{}",
        listed.text
    );
    wait_until("pg_dump has ended", Duration::from_secs(20), || {
        let ended = "select count(*) from pg_stat_activity where application_name = 'pg_dump'";
        server.query(&server.admin(), ended).unwrap() == "0"
    });
    app.cli(&node, &["pg:backups:restore", "b001", "--confirm", "one"])
        .assert_failure("not a complete backup");
    app.cli(&node, &["pg:backups:capture"]).assert_success();
    let folder = std::fs::read_dir(node.data().join("addon-backups")).unwrap();
    let folder = folder.into_iter().next().unwrap().unwrap().path();
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);

    // The node is killed while it restores; the old data is there, and then the new database goes.
    server
        .query(&own, "delete from numbers where n > 10")
        .unwrap();
    let mut restore = node.cli_from(corundum_test_support::node::corundum());
    restore.args([
        "pg:backups:restore",
        "b002",
        "--confirm",
        "one",
        "--app",
        "one",
    ]);
    let mut restore = restore.spawn().unwrap();
    let databases = "select count(*) from pg_database where datname like 'd%'";
    let deadline = Instant::now() + Duration::from_secs(60);
    while server.query(&server.admin(), databases).unwrap() != "2" {
        assert!(Instant::now() < deadline);
    }
    node.kill();
    restore.wait().unwrap();
    assert_eq!(count(&server, &own), "10");
    node.restart();
    wait_until("the new database goes", Duration::from_secs(90), || {
        server.query(&server.admin(), databases).unwrap() == "1"
    });
    assert_eq!(count(&server, &own), "10");
    app.cli(&node, &["pg:backups:restore", "b002", "--confirm", "one"])
        .assert_success();
    assert_eq!(count(&server, &own), "400000");
}

#[test]
fn daily_backup_runs_at_its_time_and_those_of_the_schedule_are_replaced() {
    let Some(server) = PostgresServer::start() else {
        return;
    };
    let config = server.config(PLANS);
    let mut node = TestNode::start_with(&["--config", config.to_str().unwrap()]);
    let app = node.create("one");
    app.cli(&node, &["addons:create", "postgres"])
        .assert_success();
    for wrong in ["25:00 UTC", "02:00 Mars/Base", "soon"] {
        app.cli(&node, &["pg:backups:schedule", "--at", wrong])
            .assert_failure("write a time as in");
    }
    app.cli(&node, &["pg:backups:schedule", "--at", "02:00 UTC"])
        .assert_success();
    let schedules = app.cli(&node, &["pg:backups:schedules"]).text;
    assert!(schedules.contains("02:00 UTC"), "{schedules}");
    // The last run was two days ago: those that were missed are one.
    node.kill();
    let store = rusqlite::Connection::open(node.data().join("corundum.sqlite")).unwrap();
    let earlier = "update addon_backup_schedules set planned = planned - 200000";
    assert_eq!(store.execute(earlier, []).unwrap(), 1);
    drop(store);
    node.restart();
    wait_until("the backup is made", Duration::from_secs(90), || {
        let listed = app.cli(&node, &["pg:backups"]).text;
        listed.contains("completed") && listed.contains("scheduled")
    });
    let listed = app.cli(&node, &["pg:backups", "--json"]).text;
    assert_eq!(listed.matches("\"b001\"").count(), 1);
    assert!(!listed.contains("b002"), "{listed}");
    app.cli(&node, &["pg:backups:unschedule"]).assert_success();
    app.cli(&node, &["pg:backups:unschedule"])
        .assert_failure("has no schedule");
}

#[test]
fn tls_to_the_server_is_demanded_and_its_certificate_checked() {
    let Some(mut server) = PostgresServer::start() else {
        return;
    };
    server.require_tls();
    let admin = server.admin();
    let with = |mode: &str, further: &str| {
        server.config_with_url(&format!("{admin}?sslmode={mode}"), further)
    };
    let config = with("disable", "");
    let mut node = TestNode::start_with(&["--config", config.to_str().unwrap()]);
    let app = node.create("one");
    app.cli(&node, &["addons:create", "postgres"])
        .assert_failure("postgres: ");
    // The authority is none of the public ones.
    with("verify-full", "");
    node.kill_and_restart();
    app.cli(&node, &["addons:create", "postgres"])
        .assert_failure("certificate");
    for (mode, further) in [("require", ""), ("verify-full", "ca-file = \"root.pem\"\n")] {
        with(mode, further);
        node.kill_and_restart();
        app.cli(&node, &["addons:create", "postgres"])
            .assert_success();
        let own = url(&node, "DATABASE_URL");
        assert!(own.ends_with("?sslmode=require"), "{own}");
        let session = psql(&node, &app, "\\conninfo");
        assert!(session.text.contains("SSL connection"), "{}", session.text);
        let made = "create table numbers as select generate_series(1, 1000) as n";
        server.query(&own, made).unwrap();
        app.cli(&node, &["pg:backups:capture"]).assert_success();
        server.query(&own, "delete from numbers").unwrap();
        app.cli(&node, &["pg:backups:restore", "--confirm", "one"])
            .assert_success();
        assert_eq!(count(&server, &own), "1000");
        app.cli(&node, &["addons:destroy", "DATABASE", "--confirm", "one"])
            .assert_success();
    }
}

#[test]
fn redis_cli_talks_to_an_addon_through_the_node() {
    if !std::path::Path::new("/usr/bin/redis-cli").exists() {
        return skip("redis-cli (apt-get install redis-server redis-tools): no redis:cli");
    }
    let node = TestNode::start_with(&["--dev-services", "--build-ruby", "false"]);
    let app = node.create("one");
    app.cli(&node, &["addons:create", "redis"]).assert_success();
    let redis = |words: &[&str]| app.cli(&node, &[&["redis:cli", "--"], words].concat());
    assert!(redis(&["set", "key", "value"]).text.contains("OK"));
    assert!(redis(&["get", "key"]).text.contains("value"));
    assert!(redis(&["config", "get", "dir"]).text.contains("NOPERM"));
    let info = app.cli(&node, &["redis:info"]);
    assert!(info.text.contains("Version: "), "{}", info.text);
    app.cli(&node, &["addons:create", "memcached"])
        .assert_success();
    let refused = app.cli(&node, &["redis:cli", "MEMCACHE_SERVERS", "--", "ping"]);
    assert!(!refused.success);
}
