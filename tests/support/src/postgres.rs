//! A PostgreSQL server of Debian's package, with data of its own.

use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::ports::free_port;
use crate::process::skip;
use crate::wait::poll;

/// A server that trusts its clients on loopback. Its superuser is `app`. It ends when the value is dropped.
#[derive(Debug)]
pub struct PostgresServer {
    directory: tempfile::TempDir,
    programs: PathBuf,
    port: u16,
    process: Option<Child>,
}

impl PostgresServer {
    /// Starts a server on a free port. Without Debian's package, the test is skipped.
    ///
    /// # Panics
    ///
    /// Panics if the package is missing and `CI=true`, and if the server does not start.
    pub fn start() -> Option<Self> {
        let versions = std::fs::read_dir("/usr/lib/postgresql");
        let versions = versions.into_iter().flatten().flatten();
        let mut programs = versions.map(|version| version.path().join("bin"));
        let Some(programs) = programs.find(|programs| programs.join("postgres").exists()) else {
            skip("PostgreSQL (apt-get install postgresql): no app uses it");
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
        let mut server = Self {
            directory,
            programs,
            port: free_port(),
            process: None,
        };
        let mut initdb = server.command("initdb", &["-A", "trust", "-U", "app", "--no-sync"]);
        assert!(initdb.status().unwrap().success());
        server.run();
        Some(server)
    }

    /// Returns the port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Carries out SQL in the database `postgres`.
    ///
    /// # Panics
    ///
    /// Panics if the server refuses it.
    pub fn execute(&self, sql: &str) {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
        psql.args(["-U", "app", "-d", "postgres", "-q", "-v", "ON_ERROR_STOP=1"]);
        let status = psql.args(["-c", sql]).status();
        assert!(status.unwrap().success(), "{sql}");
    }

    /// The server refuses to run as root.
    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        if rustix::process::getuid().is_root() {
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
        }
        command.arg(self.programs.join(program)).args(arguments);
        command.arg("-D").arg(self.data());
        command
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    fn data(&self) -> PathBuf {
        Path::new(self.directory.path()).join("data")
    }

    fn run(&mut self) {
        let port = self.port.to_string();
        let mut arguments = vec!["-p", &port];
        for option in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
        ] {
            arguments.extend(["-c", option]);
        }
        let mut command = self.command("postgres", &arguments);
        self.process = Some(command.spawn().unwrap());
        let listens = || TcpStream::connect(("127.0.0.1", self.port)).ok();
        assert!(
            poll(Duration::from_secs(30), listens).is_some(),
            "PostgreSQL does not listen"
        );
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
