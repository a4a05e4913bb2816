//! Add-ons: services that the node runs or that the operator names, used by apps through their config vars.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use corundum_test_support::node::TestNode;
use corundum_test_support::process::skip;
use corundum_test_support::wait::{poll, wait_until};

use corundum_test_support::postgres::PostgresServer;

/// An app that speaks to the server of its config var, or to the port in its path.
const REDIS_APP: &str = r#"require 'socket'
require 'uri'
def ask(url, *commands)
  uri = URI(url)
  socket = TCPSocket.new(uri.host, uri.port)
  ([['AUTH', uri.password]] + commands).map do |words|
    socket.write("*#{words.size}\r\n" + words.map { |word| "$#{word.bytesize}\r\n#{word}\r\n" }.join)
    line = socket.gets.chomp
    line = socket.read(line[1..].to_i + 2).chomp if line.start_with?('$') && line != '$-1'
    line
  end.last
ensure
  socket&.close
end
run(lambda do |env|
  url = ENV['REDIS_URL'].to_s
  answer = case env['PATH_INFO']
    when '/set' then ask(url, %w[SET key value])
    when '/get' then ask(url, %w[GET key])
    when '/url' then url
    when '/admin' then ask(url, %w[CONFIG GET dir])
    when '/migrate' then ask(url, %w[MIGRATE 127.0.0.1 1 key 0 100])
    when '/other' then ask(env['QUERY_STRING'], %w[GET key])
    when '/connect' then TCPSocket.new('127.0.0.1', env['QUERY_STRING'].to_i).then { 'connected' }
    else ENV.keys.grep(/_(URL|SERVERS|NAMESPACE)$/).sort.join(' ')
  end
  [200, {}, [answer.to_s]]
rescue SystemCallError => error
  [200, {}, [error.class.name]]
end)
"#;

fn has_servers() -> bool {
    let has = ["redis-server", "memcached"]
        .iter()
        .all(|program| Path::new("/usr/bin").join(program).exists());
    if !has {
        skip("redis-server and memcached (apt-get install redis-server memcached): no add-ons");
    }
    has
}

fn port_of(url: &str) -> u16 {
    url.rsplit_once(':').unwrap().1.parse().unwrap()
}

#[test]
fn redis_addon_is_one_apps_alone_and_survives_kill_and_takeover() {
    if !has_servers() {
        return;
    }
    let mut node = TestNode::start_with(&["--dev-services"]);
    let one = node.deploy("one", REDIS_APP);
    let two = node.deploy("two", REDIS_APP);
    let created = one.cli(&node, &["addons:create", "redis"]);
    created.assert_success();
    assert!(created.text.contains("as REDIS_URL"), "{}", created.text);
    let get = |node: &TestNode, app: &str, path: &str| {
        let (status, body) = node.get(app, path);
        assert_eq!(status, 200, "{body}");
        body
    };
    assert_eq!(get(&node, "one", "/set"), "+OK");
    let url = get(&node, "one", "/url");
    // The other app has the password, and no way to the port: without a grant, loopback is the dyno's own.
    assert_eq!(
        get(&node, "two", &format!("/other?{url}")),
        "Errno::ECONNREFUSED"
    );
    two.cli(&node, &["addons:create", "redis:mini"])
        .assert_success();
    assert_eq!(get(&node, "two", "/get"), "$-1");
    assert_eq!(
        get(&node, "two", &format!("/other?{url}")),
        "Errno::ECONNREFUSED"
    );
    for path in ["/admin", "/migrate"] {
        let refused = get(&node, "one", path);
        assert!(refused.starts_with("-NOPERM"), "{path}: {refused}");
    }
    let unset = one.cli(&node, &["config:unset", "REDIS_URL"]);
    unset.assert_failure("belongs to an add-on");
    // Passwords are in no argument and in no log.
    let password = url.split([':', '@']).nth(2).unwrap();
    let processes = Command::new("ps").args(["axww", "-o", "args"]).output();
    let processes = String::from_utf8_lossy(&processes.unwrap().stdout).into_owned();
    assert!(!processes.contains(password));
    assert!(
        !one.cli(&node, &["logs", "-n", "1500"])
            .text
            .contains(password)
    );

    node.kill_and_restart();
    let answers = |node: &TestNode| {
        poll(Duration::from_secs(60), || {
            Some(node.get("one", "/get")).filter(|(_, body)| body == "value")
        })
    };
    assert!(answers(&node).is_some(), "{:?}", node.get("one", "/get"));
    node.take_over();
    assert!(answers(&node).is_some(), "{:?}", node.get("one", "/get"));

    // Requests go on while the credentials are replaced.
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let requests = scope.spawn(|| {
            let mut failed = Vec::new();
            while !done.load(Ordering::SeqCst) {
                let answer = node.get("one", "/get");
                if answer != (200, "value".to_owned()) {
                    failed.push(answer);
                }
            }
            failed
        });
        let rotated = one.cli(&node, &["addons:rotate", "REDIS"]);
        done.store(true, Ordering::SeqCst);
        rotated.assert_success();
        assert_eq!(requests.join().unwrap(), []);
    });
    assert_ne!(get(&node, "one", "/url"), url);

    let attached = two.cli(
        &node,
        &["addons:attach", &addon_of(&node, "one"), "--as", "SHARED"],
    );
    attached.assert_success();
    assert_eq!(get(&node, "two", "/"), "REDIS_URL SHARED_URL");
    two.cli(&node, &["addons:detach", "SHARED"])
        .assert_success();
    assert_eq!(get(&node, "two", "/"), "REDIS_URL");
    assert_eq!(
        get(&node, "two", &format!("/other?{url}")),
        "Errno::ECONNREFUSED"
    );

    let unconfirmed = one.cli(&node, &["addons:destroy", "REDIS"]);
    unconfirmed.assert_failure("--confirm one");
    one.cli(&node, &["addons:destroy", "REDIS", "--confirm", "one"])
        .assert_success();
    assert_eq!(get(&node, "one", "/"), "");
    assert!(TcpStream::connect(("127.0.0.1", port_of(&url))).is_err());
    let port = port_of(&get(&node, "two", "/url"));
    node.cli(&["apps:destroy", "--app", "two", "--confirm", "two"])
        .assert_success();
    wait_until(
        "the add-ons of a destroyed app are removed",
        Duration::from_secs(60),
        || {
            TcpStream::connect(("127.0.0.1", port)).is_err()
                && node
                    .cli(&["addons", "--all", "--json", "--app", "one"])
                    .text
                    .trim()
                    == "[]"
        },
    );
}

/// Returns the name of an app's first add-on.
fn addon_of(node: &TestNode, app: &str) -> String {
    let listed = node.cli(&["addons", "--app", app, "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed.text).unwrap();
    listed[0]["name"].as_str().unwrap().to_owned()
}

#[test]
fn first_push_creates_the_addons_of_app_json() {
    if !has_servers() {
        return;
    }
    let node = TestNode::start_with(&["--dev-services"]);
    let app = node.create("cached");
    app.write("config.ru", REDIS_APP);
    app.write(
        "app.json",
        r#"{"addons": ["papertrail", {"plan": "memcached:mini", "as": "CACHE"}]}"#,
    );
    let push = app.push("main");
    push.assert_success();
    for line in [
        "-----> Provisioning add-ons",
        "papertrail is not offered by this node",
        "(memcached:mini) as CACHE_SERVERS, CACHE_NAMESPACE",
    ] {
        assert!(push.text.contains(line), "{line} in\n{}", push.text);
    }
    assert_eq!(node.get("cached", "/").1, "CACHE_NAMESPACE CACHE_SERVERS");
    let config = node.cli(&["config:get", "CACHE_SERVERS", "--app", "cached"]);
    let port = port_of(config.text.trim());
    let connect = format!("/connect?{port}");
    assert_eq!(node.get("cached", &connect).1, "connected");
    node.deploy("other", REDIS_APP);
    assert_eq!(node.get("other", &connect).1, "Errno::ECONNREFUSED");
    let unknown = app.cli(&node, &["addons:create", "memcached:huge"]);
    unknown.assert_failure("addons:plans memcached");
    app.write("x", "");
    let again = app.push("main");
    assert!(!again.text.contains("Provisioning"), "{}", again.text);
}

#[test]
fn postgres_addon_is_a_database_of_its_own_and_waits_for_a_server_that_is_down() {
    let Some(mut server) = PostgresServer::start() else {
        return;
    };
    let config = server.config(
        "[services.postgres.plans]\nmini = { connections = 3, storage = \"9 MB\" }\nlarge = { connections = 30, storage = \"1 GB\" }\n",
    );
    let node = TestNode::start_with(&["--config", config.to_str().unwrap()]);
    let one = node.create("one");
    let two = node.create("two");
    let url = |app: &str, variable: &str| {
        let config = node.cli(&["config:get", variable, "--app", app]).text;
        config.trim().to_owned()
    };

    server.stop();
    let failed = one.cli(&node, &["addons:create", "postgres"]);
    failed.assert_failure("does not answer");
    assert!(
        failed.text.contains("does not answer") && !failed.text.contains("secret"),
        "{}",
        failed.text
    );
    let listed = node.cli(&["addons", "--app", "one", "--json"]).text;
    assert_eq!(listed.trim(), "[]");
    assert_eq!(url("one", "DATABASE_URL"), "");
    server.run();

    for app in [&one, &two] {
        let created = app.cli(&node, &["addons:create", "postgres"]);
        created.assert_success();
        assert!(created.text.contains("as DATABASE_URL"), "{}", created.text);
    }
    let further = one.cli(&node, &["addons:create", "postgresql:large"]);
    assert!(
        further.text.contains("as HEROKU_POSTGRESQL_AMBER_URL"),
        "{}",
        further.text
    );
    let [of_one, of_two] = ["one", "two"].map(|app| url(app, "DATABASE_URL"));
    let database = |url: &str| url.rsplit_once('/').unwrap().1.to_owned();

    // Neither a table nor its name is another app's.
    server
        .query(&of_one, "create table secrets as select 1 as one")
        .unwrap();
    let as_two = of_two.replace(&database(&of_two), &database(&of_one));
    let refused = server.query(&as_two, "select * from secrets").unwrap_err();
    assert!(
        refused.contains("permission denied for database"),
        "{refused}"
    );
    let tables = "select count(*) from pg_tables where tablename = 'secrets'";
    assert_eq!(server.query(&of_two, tables).unwrap(), "0");
    for escalation in ["create role x", "create database x", "set role admin"] {
        assert!(server.query(&of_two, escalation).is_err(), "{escalation}");
    }

    // Replaced credentials stay valid, and the new ones own the same tables.
    one.cli(&node, &["addons:rotate", "DATABASE"])
        .assert_success();
    let rotated = url("one", "DATABASE_URL");
    assert_ne!(rotated, of_one);
    for url in [&rotated, &of_one] {
        server.query(url, "insert into secrets values (2)").unwrap();
    }
    server
        .query(&rotated, "alter table secrets add column two int")
        .unwrap();

    // The connection limit is the plan's: only some of these get in.
    let sleepers: Vec<Child> = (0..8)
        .map(|_| {
            Command::new(server.programs.join("psql"))
                .args([&rotated, "-XAtqc", "select pg_sleep(60)"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    wait_until(
        "the connection limit holds",
        Duration::from_secs(30),
        || {
            server
                .query(&rotated, "select 1")
                .is_err_and(|error| error.contains("too many connections for role"))
        },
    );
    one.cli(&node, &["addons:upgrade", "DATABASE", "large"])
        .assert_success();
    assert_eq!(server.query(&rotated, "select 1").unwrap(), "1");
    for mut sleeper in sleepers {
        let _ = sleeper.kill();
        let _ = sleeper.wait();
    }
    let info = one.cli(&node, &["addons:info", "DATABASE"]);
    for line in [
        "Plan: postgres:large",
        "Status: Available",
        "PG Version:",
        "/30",
    ] {
        assert!(info.text.contains(line), "{line} in {}", info.text);
    }

    // The app is gone at once; its database goes when the server is there.
    server.stop();
    node.cli(&["apps:destroy", "--app", "two", "--confirm", "two"])
        .assert_success();
    let left = node.cli(&["addons", "--all", "--app", "one"]).text;
    assert!(left.contains("deprovisioning"), "{left}");
    server.run();
    let gone = format!(
        "select count(*) from pg_database where datname = '{}'",
        database(&of_two)
    );
    wait_until("the database is removed", Duration::from_secs(90), || {
        server
            .query(&server.admin(), &gone)
            .is_ok_and(|count| count == "0")
    });
    assert_eq!(
        server
            .query(&rotated, "select count(*) from secrets")
            .unwrap(),
        "3"
    );
    let roles = format!(
        "select count(*) from pg_roles where rolname like 'u{}%'",
        &database(&of_two)[1..]
    );
    wait_until("the roles are removed", Duration::from_secs(30), || {
        server
            .query(&server.admin(), &roles)
            .is_ok_and(|count| count == "0")
    });
}
