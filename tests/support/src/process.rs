//! Child processes that end with their test, and programs that a test needs.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::wait_until;

/// A child process that is stopped when the value is dropped.
#[derive(Debug)]
pub struct ChildProcess {
    child: Child,
    stop: Signal,
}

impl ChildProcess {
    /// Starts `command`. Dropping the process kills it.
    pub fn spawn(command: &mut Command) -> Self {
        Self {
            child: command.stdin(Stdio::null()).spawn().unwrap(),
            stop: Signal::KILL,
        }
    }

    /// Starts a server and waits until it listens at `address`. Dropping it sends SIGTERM, so that its workers end too.
    ///
    /// # Panics
    ///
    /// Panics if the server exits or does not listen within 10 s.
    pub fn spawn_server(command: &mut Command, address: SocketAddr) -> Self {
        let mut server = Self::spawn(command.stdout(Stdio::null())).stopped_by(Signal::TERM);
        wait_until("the server listens", Duration::from_secs(10), || {
            let exited = server.child.try_wait().unwrap();
            assert!(exited.is_none(), "{command:?} exited: {exited:?}");
            TcpStream::connect(address).is_ok()
        });
        server
    }

    /// Stops the process with `signal` in place of SIGKILL.
    #[must_use]
    pub fn stopped_by(mut self, signal: Signal) -> Self {
        self.stop = signal;
        self
    }

    /// Returns the process ID.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), self.stop);
        let _ = self.child.wait();
    }
}

/// Returns whether all of `files` exist, which `packages` of Debian install.
///
/// A test that cannot run prints that it is skipped.
///
/// # Panics
///
/// Panics if a file is missing and `CI=true`: CI has to run every test.
pub fn is_installed(files: &[&str], packages: &str) -> bool {
    let missing = files.iter().find(|file| !Path::new(file).exists());
    let Some(missing) = missing else {
        return true;
    };
    skip(&format!("{missing} is missing: apt-get install {packages}"));
    false
}

/// Prints that the test is skipped, and why.
///
/// # Panics
///
/// Panics if `CI=true`: CI has to run every test.
pub fn skip(reason: &str) {
    eprintln!("!! SKIPPED: {reason}");
    let ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
    assert!(!ci, "a test cannot be skipped with CI=true: {reason}");
}
