//! Add-ons when something goes wrong: a node or a server is killed, a quota is full, credentials end, a record is damaged.

use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use corundum_test_support::node::{StopOnDrop, TestNode, corundum};
use corundum_test_support::wait::wait_until;

use crate::services::{installed, write_app};
use corundum_test_support::postgres::PostgresServer;

fn config(node: &TestNode, app: &str, variable: &str) -> String {
    let config = node.cli(&["config:get", variable, "--app", app]);
    config.text.trim().to_owned()
}

#[test]
fn full_database_takes_no_rows_and_replaced_credentials_end() {
    let Some(server) = PostgresServer::start() else {
        return;
    };
    let file = server
        .config("[services.postgres.plans]\nmini = { connections = 5, storage = \"12 MB\" }\n");
    let node = TestNode::start_with(&["--config", file.to_str().unwrap()]);
    let app = node.create("one");
    app.cli(&node, &["addons:create", "postgres"])
        .assert_success();
    let before = config(&node, "one", "DATABASE_URL");
    server.query(&before, "create table small (n int)").unwrap();
    app.cli(&node, &["addons:rotate", "DATABASE"])
        .assert_success();
    let url = config(&node, "one", "DATABASE_URL");
    let fill =
        "create table big as select n, md5(n::text) as t from generate_series(1, 150000) as n";
    server.query(&before, fill).unwrap();
    let insert = || server.query(&url, "insert into small values (1)");
    wait_until("the quota holds", Duration::from_secs(150), || {
        insert().is_err_and(|error| error.contains("permission denied"))
    });
    // The role may still read, and make the database smaller.
    assert_eq!(
        server.query(&url, "select max(n) from big").unwrap(),
        "150000"
    );
    assert!(server.query(&url, "create table more (n int)").is_err());
    let info = app.cli(&node, &["addons:info", "DATABASE"]).text;
    assert!(info.contains("Full: INSERT is revoked"), "{info}");
    wait_until("the old credentials end", Duration::from_secs(90), || {
        server.query(&before, "select 1").is_err()
    });
    let roles = "select count(*) from pg_roles where rolname like 'u%\\_%'";
    assert_eq!(server.query(&server.admin(), roles).unwrap(), "1");
    // The table of the old role belongs to the app.
    server.query(&url, "drop table big").unwrap();
    wait_until("the rights are back", Duration::from_secs(150), || {
        insert().is_ok()
    });
}

#[test]
fn kill_at_any_step_of_a_creation_leaves_a_whole_addon_or_none() {
    let Some(server) = PostgresServer::start() else {
        return;
    };
    let file = server.config("");
    let mut node = TestNode::start_with(&["--config", file.to_str().unwrap()]);
    let app = node.create("one");
    for delay in [0, 40, 90, 150, 250, 400] {
        let mut create = node.cli_from(corundum());
        create.args(["addons:create", "postgres", "--app", "one"]);
        let mut create = create.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        node.kill();
        create.wait().unwrap();
        node.restart();
        let listed = || {
            let listed = app.cli(&node, &["addons", "--json"]).text;
            let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
            listed.as_array().unwrap().clone()
        };
        let is_settled = || {
            let states = listed().into_iter();
            states
                .into_iter()
                .all(|addon| addon["state"] == "provisioned")
        };
        wait_until(
            "the add-ons are settled",
            Duration::from_secs(60),
            is_settled,
        );
        let addons = listed();
        let databases = "select count(*) from pg_database where datname like 'd%'";
        let databases = server.query(&server.admin(), databases).unwrap();
        assert_eq!(
            databases,
            addons.len().to_string(),
            "{delay} ms: {addons:?}"
        );
        for addon in addons {
            let variables = addon["config_vars"].as_array().unwrap();
            assert!(!variables.is_empty(), "{delay} ms: {addon}");
            for variable in variables {
                let url = config(&node, "one", variable.as_str().unwrap());
                assert_eq!(server.query(&url, "select 1").unwrap(), "1", "{delay} ms");
            }
        }
    }
}

#[test]
fn damaged_record_keeps_no_other_addon_from_starting() {
    if !std::path::Path::new("/usr/bin/redis-server").exists() {
        return corundum_test_support::process::skip("redis-server: no add-ons");
    }
    let mut node = TestNode::start_with(&["--dev-services", "--build-ruby", "false"]);
    let app = node.create("one");
    for _ in 0..2 {
        app.cli(&node, &["addons:create", "redis"]).assert_success();
    }
    node.kill();
    let store = rusqlite::Connection::open(node.data().join("corundum.sqlite")).unwrap();
    let damage = "update addons set state = 'x' where rowid = (select min(rowid) from addons)";
    assert_eq!(store.execute(damage, []).unwrap(), 1);
    drop(store);
    node.restart();
    let url = config(&node, "one", "HEROKU_REDIS_AMBER_URL");
    let port: u16 = url.rsplit_once(':').unwrap().1.parse().unwrap();
    wait_until("the other one runs", Duration::from_secs(30), || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    // Nothing is deleted on incomplete knowledge.
    let services = std::fs::read_dir(node.data().join("services")).unwrap();
    assert_eq!(services.count(), 2);
}

#[test]
fn first_push_creates_the_addons_of_its_gems_unless_that_is_turned_off() {
    if !installed("redis-server", &["redis"]) {
        return;
    }
    let gems = "/usr/share/rubygems-integration/all";
    let arguments = ["--dev-services", "--gems", gems, "--build-ruby", "false"];
    let code =
        "Redis.new(url: ENV['REDIS_URL']).then { |redis| redis.set('a', 'b') + redis.get('a') }";
    let mut node = TestNode::start_with(&arguments);
    let app = node.create("cached");
    write_app(&app, &[("redis", &[])], "require 'redis'", code);
    let push = app.push("main");
    push.assert_success();
    assert!(
        push.text.contains("(redis:mini) as REDIS_URL"),
        "{}",
        push.text
    );
    assert_eq!(node.get("cached", "/").1, "OKb");
    // An app that has the config var gets none.
    let own = node.create("own");
    own.cli(&node, &["config:set", "REDIS_URL=redis://127.0.0.1:1"])
        .assert_success();
    write_app(&own, &[("redis", &[])], "require 'redis'", "'own'");
    let push = own.push("main");
    assert!(
        push.success && !push.text.contains("Provisioning"),
        "{}",
        push.text
    );
    node.restart_with(&[&arguments[..], &["--auto-addons", "false"]].concat());
    let off = node.create("off");
    write_app(&off, &[("redis", &[])], "require 'redis'", "'off'");
    let push = off.push("main");
    assert!(
        push.success && !push.text.contains("Provisioning"),
        "{}",
        push.text
    );
}

#[test]
fn restart_of_postgres_under_load_loses_no_acknowledged_row() {
    let Some(mut server) = PostgresServer::start() else {
        return;
    };
    let file = server.config("");
    let node = TestNode::start_with(&["--config", file.to_str().unwrap()]);
    let app = node.create("one");
    app.cli(&node, &["addons:create", "postgres"])
        .assert_success();
    let url = config(&node, "one", "DATABASE_URL");
    server
        .query(&url, "create table rows (n int primary key)")
        .unwrap();
    let acknowledged = Mutex::new(Vec::new());
    let failures = Mutex::new(0);
    let done = AtomicBool::new(false);
    let psql = server.programs.join("psql");
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (acknowledged, failures, done) = (&acknowledged, &failures, &done);
            let (psql, url) = (&psql, &url);
            scope.spawn(move || {
                for number in 0.. {
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                    let n = thread * 1_000_000 + number;
                    let insert = format!("insert into rows values ({n})");
                    let inserted = Command::new(psql)
                        .args([url, "-XAtqc", &insert])
                        .output()
                        .unwrap();
                    match inserted.status.success() {
                        true => acknowledged.lock().unwrap().push(n),
                        false => *failures.lock().unwrap() += 1,
                    }
                }
            });
        }
        let _stop = StopOnDrop(&done);
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(700));
            server.stop();
            std::thread::sleep(Duration::from_millis(300));
            server.run();
        }
        std::thread::sleep(Duration::from_millis(700));
    });
    let acknowledged = acknowledged.into_inner().unwrap();
    let rows = server.query(&url, "select n from rows").unwrap();
    let rows: std::collections::BTreeSet<i64> =
        rows.lines().map(|line| line.parse().unwrap()).collect();
    let lost: Vec<_> = acknowledged.iter().filter(|n| !rows.contains(n)).collect();
    eprintln!(
        "{} rows, {} failures",
        acknowledged.len(),
        failures.into_inner().unwrap()
    );
    assert!(acknowledged.len() > 10 && lost.is_empty(), "{lost:?}");
    // The node goes on with the server.
    app.cli(&node, &["addons:rotate", "DATABASE"])
        .assert_success();
}

/// An app that counts in Redis.
const COUNTER: &str = r#"require 'socket'
require 'uri'
run(lambda do |env|
  uri = URI(ENV['REDIS_URL'])
  socket = TCPSocket.new(uri.host, uri.port)
  lines = [['AUTH', uri.password], [env['PATH_INFO'][1..], 'count']].map do |words|
    socket.write("*2\r\n" + words.map { |word| "$#{word.bytesize}\r\n#{word}\r\n" }.join)
    line = socket.gets or raise EOFError
    line.start_with?('$') ? socket.gets : line
  end
  [200, {}, [lines.last[/\d+/].to_s]]
rescue SystemCallError, IOError => e
  [503, {}, [e.class.name]]
ensure
  socket&.close
end)
"#;

#[test]
fn kill_of_redis_under_load_loses_no_acknowledged_write() {
    if !std::path::Path::new("/usr/bin/redis-server").exists() {
        return corundum_test_support::process::skip("redis-server: no add-ons");
    }
    let node = TestNode::start_with(&["--dev-services", "--build-ruby", "false"]);
    let app = node.create("counter");
    app.cli(&node, &["addons:create", "redis"]).assert_success();
    app.deploy(COUNTER);
    let acknowledged = Mutex::new(0);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let (status, count) = node.get("counter", "/INCR");
                    if status == 200 {
                        let count: u64 = count.parse().unwrap();
                        let mut most = acknowledged.lock().unwrap();
                        *most = count.max(*most);
                    }
                }
            });
        }
        let _stop = StopOnDrop(&done);
        for _ in 0..2 {
            std::thread::sleep(Duration::from_secs(1));
            let folder = node.data().join("services");
            let is_ours = |entry: &std::fs::DirEntry| {
                let at = std::fs::read_link(entry.path().join("cwd"));
                at.is_ok_and(|at| at.starts_with(&folder))
            };
            let processes = std::fs::read_dir("/proc").unwrap().flatten();
            for process in processes.filter(is_ours) {
                let id = process.file_name().into_string().unwrap();
                Command::new("kill").args(["-9", &id]).status().unwrap();
            }
        }
        wait_until("Redis is back", Duration::from_secs(60), || {
            node.get("counter", "/GET").0 == 200
        });
    });
    let most = *acknowledged.lock().unwrap();
    let kept: u64 = node.get("counter", "/GET").1.parse().unwrap();
    assert!(most > 3 && kept >= most, "{kept} of {most}");
}
