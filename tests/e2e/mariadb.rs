//! MariaDB as a service of add-ons.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use corundum_test_support::node::TestNode;
use corundum_test_support::ports::free_port;
use corundum_test_support::process::skip;
use corundum_test_support::wait::{poll, wait_until};

/// A MariaDB server of a test. It is killed when the value is dropped.
struct MariaDbServer {
    directory: tempfile::TempDir,
    port: u16,
    process: Option<Child>,
}

impl MariaDbServer {
    /// Creates and starts a server with the administrator `admin`. Returns `None` if it is not installed.
    fn start() -> Option<Self> {
        if !Path::new("/usr/sbin/mariadbd").exists() || !Path::new("/usr/bin/mariadb").exists() {
            skip("MariaDB (apt-get install mariadb-server mariadb-client): no add-ons of it");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let data = directory.path().join("data");
        std::fs::create_dir(&data).unwrap();
        if rustix::process::getuid().is_root() {
            let owned = Command::new("chown").arg("mysql").arg(&data).status();
            assert!(owned.unwrap().success());
        }
        let mut server = Self {
            directory,
            port: free_port(),
            process: None,
        };
        let made = server
            .command("/usr/bin/mariadb-install-db")
            .args([
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--cross-bootstrap",
            ])
            .status();
        assert!(made.unwrap().success());
        server.run();
        let admin = "CREATE USER admin@'%' IDENTIFIED BY 'secret-of-admin'; \
                     GRANT ALL PRIVILEGES ON *.* TO admin@'%' WITH GRANT OPTION; \
                     ALTER USER root@localhost ACCOUNT LOCK";
        server.query("root", "", "", admin).unwrap();
        Some(server)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        if rustix::process::getuid().is_root() {
            command.args(["--reuid=mysql", "--regid=mysql", "--clear-groups"]);
        }
        let data = self.directory.path().join("data");
        command
            .args([program, "--no-defaults"])
            .arg(format!("--datadir={}", data.display()))
            .current_dir("/")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    fn run(&mut self) {
        let socket = self.directory.path().join("data/socket");
        let process = self
            .command("/usr/sbin/mariadbd")
            .arg(format!("--port={}", self.port))
            .args(["--bind-address=127.0.0.1", "--skip-log-bin"])
            .arg(format!("--socket={}", socket.display()))
            .spawn();
        self.process = Some(process.unwrap());
        let answers = || std::net::TcpStream::connect(("127.0.0.1", self.port)).ok();
        assert!(poll(Duration::from_secs(60), answers).is_some());
    }

    fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Runs statements with the client. Returns its output, or its error.
    fn query(
        &self,
        user: &str,
        password: &str,
        database: &str,
        statements: &str,
    ) -> Result<String, String> {
        let output = Command::new("/usr/bin/mariadb")
            .args(["--no-defaults", "--protocol=TCP", "--host=127.0.0.1"])
            .args(["--batch", "--skip-column-names"])
            .arg(format!("--port={}", self.port))
            .arg(format!("--user={user}"))
            .args(["--execute", statements, database])
            .env("MYSQL_PWD", password)
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim().to_owned();
        match output.status.success() {
            true => Ok(text(output.stdout)),
            false => Err(text(output.stderr)),
        }
    }

    fn admin(&self, statements: &str) -> String {
        self.query("admin", "secret-of-admin", "", statements)
            .unwrap()
    }

    /// Runs statements as the owner of a URL.
    fn as_app(&self, url: &str, statements: &str) -> Result<String, String> {
        let [user, password, database] = parts(url);
        self.query(&user, &password, &database, statements)
    }
}

impl Drop for MariaDbServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Returns user, password and database of a URL.
fn parts(url: &str) -> [String; 3] {
    let rest = url.strip_prefix("mysql2://").unwrap();
    let (login, address) = rest.split_once('@').unwrap();
    let (user, password) = login.split_once(':').unwrap();
    [user, password, address.split_once('/').unwrap().1].map(str::to_owned)
}

#[test]
fn mariadb_addon_is_a_database_of_its_own_with_limits() {
    let Some(mut server) = MariaDbServer::start() else {
        return;
    };
    let config = server.directory.path().join("corundum.toml");
    let secret = server.directory.path().join("url");
    let url = format!("mysql://admin:secret-of-admin@127.0.0.1:{}", server.port);
    std::fs::write(&secret, url).unwrap();
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
    let text = "build-ruby = false\n[services.mariadb]\nurl-file = \"url\"\n\
                [services.mariadb.plans]\nmini = { connections = 2, storage = \"4 MB\" }\nlarge = { connections = 20, storage = \"1 GB\" }\n";
    std::fs::write(&config, text).unwrap();
    let mut node = TestNode::start_with(&["--config", config.to_str().unwrap()]);
    let (one, two) = (node.create("one"), node.create("two"));
    let url = |node: &TestNode, app: &str| {
        let config = node.cli(&["config:get", "DATABASE_URL", "--app", app]);
        config.text.trim().to_owned()
    };

    server.stop();
    let failed = one.cli(&node, &["addons:create", "mariadb"]);
    failed.assert_failure("does not answer");
    assert!(!failed.text.contains("secret"), "{}", failed.text);
    let listed = node.cli(&["addons", "--app", "one", "--json"]).text;
    assert_eq!(listed.trim(), "[]");
    server.run();
    for app in [&one, &two] {
        app.cli(&node, &["addons:create", "mysql"]).assert_success();
    }
    let [of_one, of_two] = ["one", "two"].map(|app| url(&node, app));

    // No other database exists for an app.
    server
        .as_app(&of_one, "create table secrets as select 1 as n")
        .unwrap();
    let [user, password, _] = parts(&of_two);
    let [.., database] = parts(&of_one);
    let refused = server.query(&user, &password, &database, "select * from secrets");
    assert!(refused.unwrap_err().contains("Access denied"));
    let databases = server.as_app(&of_two, "show databases").unwrap();
    assert!(!databases.contains(&database), "{databases}");
    for escalation in [
        "create user x",
        "create database x",
        "grant all on *.* to x",
    ] {
        assert!(server.as_app(&of_two, escalation).is_err(), "{escalation}");
    }

    // Replaced passwords stay valid for a while.
    one.cli(&node, &["addons:rotate", "DATABASE"])
        .assert_success();
    let rotated = url(&node, "one");
    assert_ne!(rotated, of_one);
    for url in [&rotated, &of_one] {
        server
            .as_app(url, "insert into secrets values (2)")
            .unwrap();
    }

    // The number of connections is the plan's.
    let sleepers: Vec<Child> = (0..6)
        .map(|_| {
            let [user, password, database] = parts(&rotated);
            Command::new("/usr/bin/mariadb")
                .args(["--no-defaults", "--protocol=TCP", "--host=127.0.0.1"])
                .arg(format!("--port={}", server.port))
                .arg(format!("--user={user}"))
                .args(["--execute", "select sleep(60)", &database])
                .env("MYSQL_PWD", password)
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
                .as_app(&rotated, "select 1")
                .is_err_and(|error| error.contains("max_user_connections"))
        },
    );
    for mut sleeper in sleepers {
        let _ = sleeper.kill();
        let _ = sleeper.wait();
    }

    // Above the plan's storage, only what makes the database smaller is allowed.
    wait_until("connections have ended", Duration::from_secs(70), || {
        server.as_app(&rotated, "select 1").is_ok()
    });
    // It checks the right, and inserts no row.
    let nothing = "insert into secrets select 3 from secrets where 1 = 0";
    let fill = "create table big (t longblob); insert into big values (repeat('x', 1000000)), (repeat('y', 1000000)), \
                (repeat('z', 1000000)), (repeat('a', 1000000)), (repeat('b', 1000000))";
    server.as_app(&rotated, fill).unwrap();
    wait_until("the quota holds", Duration::from_secs(150), || {
        server
            .as_app(&rotated, nothing)
            .is_err_and(|error| error.contains("denied"))
    });
    wait_until("the state is noted", Duration::from_secs(30), || {
        let info = one.cli(&node, &["addons:info", "DATABASE"]);
        info.text.contains("Full: INSERT is revoked")
    });
    wait_until(
        "the replaced password ends",
        Duration::from_secs(90),
        || server.as_app(&of_one, "select 1").is_err(),
    );
    server.as_app(&rotated, "drop table big").unwrap();
    node.kill_and_restart();
    wait_until("the rights are back", Duration::from_secs(150), || {
        server.as_app(&rotated, nothing).is_ok()
    });

    // A database goes when its server is there.
    server.stop();
    node.cli(&["apps:destroy", "--app", "two", "--confirm", "two"])
        .assert_success();
    server.run();
    let [user, _, database] = parts(&of_two);
    wait_until(
        "database and user are removed",
        Duration::from_secs(90),
        || {
            let left = format!(
                "select count(*) from information_schema.schemata where schema_name = '{database}'; \
             select count(*) from mysql.user where user = '{user}'"
            );
            server.admin(&left) == "0\n0"
        },
    );
    assert_eq!(
        server
            .as_app(&rotated, "select count(*) from secrets")
            .unwrap(),
        "3"
    );
}
