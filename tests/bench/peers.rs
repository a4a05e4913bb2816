//! Competitors: the same apps on native MRI, served by thin and puma of Debian.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use corundum_test_support::http1::RepeatingClient;
use corundum_test_support::process::ChildProcess;

/// A running server.
pub(crate) struct PeerServer {
    pub(crate) port: u16,
    /// Time from the start to the first byte.
    pub(crate) spawn: Duration,
    process: ChildProcess,
}

/// ServerKind of server.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ServerKind {
    Thin,
    Puma,
}

impl PeerServer {
    /// Starts a single-threaded server of the app in `directory`, and waits for its first response.
    pub(crate) fn start(kind: ServerKind, directory: &Path, port: u16) -> Self {
        Self::start_with(kind, directory, port, &[])
    }

    /// Starts a server as [`start`](Self::start) does, with these variables.
    pub(crate) fn start_with(
        kind: ServerKind,
        directory: &Path,
        port: u16,
        environ: &[(&str, &str)],
    ) -> Self {
        let port_text = port.to_string();
        let mut command = match kind {
            ServerKind::Thin => Command::new("thin"),
            ServerKind::Puma => Command::new("puma"),
        };
        match kind {
            ServerKind::Thin => {
                command.args(["-R", "config.ru", "-a", "127.0.0.1", "-p", &port_text])
            }
            ServerKind::Puma => {
                command.args(["-t", "1:1", "-b", &format!("tcp://127.0.0.1:{port}")])
            }
        };
        command.args(["-e", "production"]);
        match kind {
            ServerKind::Thin => command.arg("start"),
            ServerKind::Puma => command.arg("config.ru"),
        };
        let start = Instant::now();
        command
            .current_dir(directory)
            .env("RACK_ENV", "production")
            .envs(environ.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = ChildProcess::spawn(&mut command);
        let mut peer = Self {
            port,
            spawn: Duration::ZERO,
            process,
        };
        while peer.spawn.is_zero() {
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "{kind:?} does not answer"
            );
            let answer =
                RepeatingClient::connect(port, "localhost", "").and_then(|mut client| client.get());
            if answer.is_ok_and(|answer| answer.status == 200) {
                peer.spawn = start.elapsed();
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        peer
    }

    /// Returns the process ID.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }
}
