//! A PostgreSQL server of Debian's package, with data of its own.

use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::certificates::CertificateAuthority;
use crate::ports::free_port;
use crate::process::skip;
use crate::wait::poll;

/// A server with the administrator `admin`, who has a password, and the superuser `app`, who needs none. It is killed when the value
/// is dropped.
#[derive(Debug)]
pub struct PostgresServer {
    directory: tempfile::TempDir,
    /// Directory of the server's programs.
    pub programs: PathBuf,
    port: u16,
    process: Option<Child>,
}

impl PostgresServer {
    /// Creates and starts a server with the administrator `admin`. Returns `None` if it is not installed; the test is
    /// skipped then.
    ///
    /// # Panics
    ///
    /// Panics if the server does not start, or is not installed and `CI=true`.
    pub fn start() -> Option<Self> {
        let versions = std::fs::read_dir("/usr/lib/postgresql")
            .into_iter()
            .flatten();
        let mut programs = versions.flatten().map(|version| version.path().join("bin"));
        let Some(programs) = programs.find(|programs| programs.join("postgres").exists()) else {
            skip("PostgreSQL (apt-get install postgresql): no add-ons of it");
            return None;
        };
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        std::fs::create_dir(&data).unwrap();
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
        if rustix::process::getuid().is_root() {
            let owned = Command::new("chown").arg("postgres").arg(&data).status();
            assert!(owned.unwrap().success());
        }
        let password = directory.path().join("password");
        std::fs::write(&password, "secret-of-admin").unwrap();
        std::fs::set_permissions(&password, PermissionsExt::from_mode(0o644)).unwrap();
        let mut server = Self {
            directory,
            programs,
            port: free_port(),
            process: None,
        };
        let file = format!("--pwfile={}", password.display());
        let made = server
            .command(
                "initdb",
                &["-A", "scram-sha-256", "-U", "admin", "--no-sync", &file],
            )
            .status();
        assert!(made.unwrap().success());
        let rules = server.data().join("pg_hba.conf");
        let text = std::fs::read_to_string(&rules).unwrap();
        std::fs::write(&rules, format!("host all app 127.0.0.1/32 trust\n{text}")).unwrap();
        server.run();
        let created = server.query(&server.admin(), "create role app superuser login");
        created.unwrap();
        Some(server)
    }

    /// Makes the server refuse connections without TLS. Its certificate, for 127.0.0.1, is of a new authority, whose root
    /// certificate is `root.pem` beside the configuration.
    ///
    /// # Panics
    ///
    /// Panics if the server does not start again.
    pub fn require_tls(&mut self) {
        self.stop();
        let authority = CertificateAuthority::new(self.directory.path());
        authority.issue("server", &["127.0.0.1"], 2100);
        let data = self.directory.path().join("data");
        for name in ["server.pem", "server.key"] {
            let to = data.join(name);
            std::fs::rename(self.directory.path().join(name), &to).unwrap();
            std::fs::set_permissions(&to, PermissionsExt::from_mode(0o600)).unwrap();
            if rustix::process::getuid().is_root() {
                let owned = Command::new("chown").arg("postgres").arg(&to).status();
                assert!(owned.unwrap().success());
            }
        }
        let access = "hostssl all all 127.0.0.1/32 scram-sha-256\n";
        std::fs::write(data.join("pg_hba.conf"), access).unwrap();
        let options = "ssl = on\nssl_cert_file = 'server.pem'\nssl_key_file = 'server.key'\n";
        std::fs::write(data.join("postgresql.auto.conf"), options).unwrap();
        self.run();
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Returns the port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server refuses to run as root.
    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let path = self.programs.join(program);
        let mut command = Command::new("setpriv");
        if rustix::process::getuid().is_root() {
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
        }
        command.arg(path).args(arguments).arg("-D");
        command.arg(self.data());
        command
            .current_dir("/")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Starts the server, and waits until it answers.
    ///
    /// # Panics
    ///
    /// Panics if it does not within two minutes.
    pub fn run(&mut self) {
        let port = self.port.to_string();
        let options = [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
        ];
        let mut arguments = vec!["-p", &port];
        options
            .iter()
            .for_each(|option| arguments.extend(["-c", option]));
        let mut process = self.command("postgres", &arguments).spawn().unwrap();
        let listens = || {
            // A server that finds the files of the one before it in use exits.
            if process.try_wait().unwrap().is_some() {
                process = self.command("postgres", &arguments).spawn().unwrap();
            }
            TcpStream::connect(("127.0.0.1", self.port)).ok()
        };
        let is_listening = poll(Duration::from_secs(60), listens).is_some();
        self.process = Some(process);
        assert!(is_listening);
        let ready = || self.query(&self.admin(), "select 1").ok();
        assert!(poll(Duration::from_secs(60), ready).is_some());
    }

    /// Kills the server.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Returns the URL of the administrator.
    pub fn admin(&self) -> String {
        format!(
            "postgres://admin:secret-of-admin@127.0.0.1:{}/postgres",
            self.port
        )
    }

    /// Writes a configuration of a node with the server, and further tables. Returns its path.
    ///
    /// # Panics
    ///
    /// Panics if the file cannot be written.
    pub fn config(&self, further: &str) -> PathBuf {
        self.config_with_url(&self.admin(), further)
    }

    /// Writes a configuration of a node with the server at this URL.
    ///
    /// # Panics
    ///
    /// Panics if the file cannot be written.
    pub fn config_with_url(&self, url: &str, further: &str) -> PathBuf {
        let secret = self.directory.path().join("url");
        std::fs::write(&secret, url).unwrap();
        std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
        let path = self.directory.path().join("corundum.toml");
        let text =
            format!("build-ruby = false\n[services.postgres]\nurl-file = \"url\"\n{further}");
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Runs a query with psql.
    ///
    /// # Errors
    ///
    /// The output of psql, if it fails.
    ///
    /// # Panics
    ///
    /// Panics if psql cannot be started.
    pub fn query(&self, url: &str, query: &str) -> Result<String, String> {
        let output = Command::new(self.programs.join("psql"))
            .args([url, "-XAtqc", query])
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim().to_owned();
        match output.status.success() {
            true => Ok(text(output.stdout)),
            false => Err(text(output.stderr)),
        }
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.stop();
    }
}
