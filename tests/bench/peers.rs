//! The peers: the same apps on native MRI, served by thin and by puma as Debian packages them.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use corundum_test_support::http1::RepeatingClient;

/// A running server.
pub(crate) struct Peer {
    pub(crate) port: u16,
    /// From its start to its first byte.
    pub(crate) spawn: Duration,
    process: Child,
}

/// Which server.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Thin,
    Puma,
}

impl Peer {
    /// Starts a server of the app in `directory`, on one thread, and waits for its first answer.
    pub(crate) fn start(kind: Kind, directory: &Path, port: u16) -> Self {
        let port_text = port.to_string();
        let mut command = match kind {
            Kind::Thin => Command::new("thin"),
            Kind::Puma => Command::new("puma"),
        };
        match kind {
            Kind::Thin => command.args(["-R", "config.ru", "-a", "127.0.0.1", "-p", &port_text]),
            Kind::Puma => command.args(["-t", "1:1", "-b", &format!("tcp://127.0.0.1:{port}")]),
        };
        command.args(["-e", "production"]);
        match kind {
            Kind::Thin => command.arg("start"),
            Kind::Puma => command.arg("config.ru"),
        };
        let start = Instant::now();
        let process = command
            .current_dir(directory)
            .env("RACK_ENV", "production")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
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

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
