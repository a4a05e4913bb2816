//! A server of Debian's, started for a test and stopped with it.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::ports::free_port;

/// A process that ends with this.
pub(crate) struct Process(Child);

impl Process {
    /// Starts a program and waits until it listens at `address`.
    pub(crate) fn start(command: &mut Command, address: SocketAddr) -> Self {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut process = Self(child);
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            let ended = process.0.try_wait().unwrap();
            assert!(ended.is_none(), "{command:?} ended: {ended:?}");
            assert!(start.elapsed() < Duration::from_secs(10), "{command:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        process
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

/// An address that is free now.
pub(crate) fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

/// Whether a program of Debian's is there. A check that cannot run says so, and fails where everything has to run.
pub(crate) fn is_installed(program: &str, package: &str) -> bool {
    let found = Path::new(program).exists();
    if !found {
        eprintln!("!! SKIPPED: {program} is missing (apt-get install {package})");
        let must = std::env::var_os("CI").is_some_and(|ci| ci == "true");
        assert!(!must, "{program} is missing, and CI=true");
    }
    found
}
