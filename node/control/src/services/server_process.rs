//! Server processes of the node's own: one for each add-on of a service that has no users or no isolation between them.
//!
//! A thread waits for each process and starts it again, with pauses, when it ends. The kernel ends the processes with the
//! node, and their files make them what they were at the next start. The thread lives as long as its process, because
//! the kernel counts the thread that has started a process as its parent.

use std::collections::HashMap;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use uuid::Uuid;

use crate::processes::backoff::Backoff;

/// The time from SIGTERM to SIGKILL. Redis writes its log within it.
const EXIT: Duration = Duration::from_secs(10);

/// Most threads' stacks are hardly used: these wait.
const STACK: usize = 128 << 10;

/// A server to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProcessSpec {
    /// The program.
    pub(crate) program: PathBuf,
    /// Its arguments, which every user of the machine can read.
    pub(crate) arguments: Vec<String>,
    /// The working directory.
    pub(crate) directory: PathBuf,
}

/// The processes that run, by add-on.
#[derive(Default)]
pub(crate) struct ServerProcesses {
    running: Mutex<HashMap<Uuid, Arc<Supervised>>>,
    data: PathBuf,
}

/// A process that is started again when it ends.
#[derive(Default)]
struct Supervised {
    state: Mutex<SupervisedState>,
    changed: Condvar,
}

#[derive(Default)]
struct SupervisedState {
    /// The process, until it has been waited for.
    pid: Option<Pid>,
    is_stopping: bool,
    has_ended: bool,
}

impl Supervised {
    fn state(&self) -> MutexGuard<'_, SupervisedState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a signal to the process, if it runs.
    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.state().pid {
            let _ = kill_process(pid, signal);
        }
    }

    /// Runs the process until it is stopped. Blocks.
    fn supervise(&self, spec: &ProcessSpec) {
        let mut backoff = Backoff::default();
        loop {
            let started = Instant::now();
            match self.spawn(spec) {
                Ok(Some(child)) => self.wait(child),
                Ok(None) => break,
                Err(error) => {
                    let program = spec.program.display();
                    tracing::error!(%program, %error, "could not start the server of an add-on");
                }
            }
            let state = self.state();
            if state.is_stopping {
                break;
            }
            let pause = backoff.pause_after(started.elapsed());
            tracing::warn!(directory = %spec.directory.display(), ?pause, "the server of an add-on ended");
            let waited = self
                .changed
                .wait_timeout_while(state, pause, |state| !state.is_stopping);
            drop(waited);
        }
        self.state().has_ended = true;
        self.changed.notify_all();
    }

    /// Starts the process; `None` after it was stopped.
    fn spawn(&self, spec: &ProcessSpec) -> std::io::Result<Option<Child>> {
        let mut state = self.state();
        if state.is_stopping {
            return Ok(None);
        }
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "--"])
            .arg(&spec.program)
            .args(&spec.arguments)
            .current_dir(&spec.directory)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        state.pid = Pid::from_raw(child.id().cast_signed());
        Ok(Some(child))
    }

    fn wait(&self, mut child: Child) {
        let pid = self.state().pid;
        if let Some(pid) = pid {
            // The process stays a zombie until no signal can be meant for it.
            let _ = waitid(
                WaitId::Pid(pid),
                WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
            );
        }
        self.state().pid = None;
        let _ = child.wait();
    }

    fn begin_stop(&self) {
        self.state().is_stopping = true;
        self.changed.notify_all();
        self.signal(Signal::TERM);
    }

    /// Waits for the end of the process after [`begin_stop`](Self::begin_stop). Blocks for at most twice [`EXIT`].
    fn finish_stop(&self) {
        for signal in [None, Some(Signal::KILL)] {
            if let Some(signal) = signal {
                self.signal(signal);
            }
            let state = self.state();
            let waited = self
                .changed
                .wait_timeout_while(state, EXIT, |state| !state.has_ended);
            if waited.is_ok_and(|(state, _)| state.has_ended) {
                return;
            }
        }
    }
}

impl ServerProcesses {
    /// Creates the type. `data` is the folder below which each add-on has a folder.
    pub(crate) fn new(data: PathBuf) -> Self {
        Self {
            running: Mutex::default(),
            data,
        }
    }

    /// Returns the folder of an add-on.
    pub(crate) fn directory(&self, addon: Uuid) -> PathBuf {
        self.data.join(addon.simple().to_string())
    }

    /// Starts the process of an add-on, unless it runs.
    pub(crate) fn start(&self, addon: Uuid, spec: ProcessSpec) -> std::io::Result<()> {
        let mut running = self.running();
        if running.contains_key(&addon) {
            return Ok(());
        }
        let supervised = Arc::new(Supervised::default());
        let of_thread = supervised.clone();
        std::thread::Builder::new()
            .name("addon".to_owned())
            .stack_size(STACK)
            .spawn(move || of_thread.supervise(&spec))?;
        running.insert(addon, supervised);
        Ok(())
    }

    /// Ends the process of an add-on. Blocks until it has ended.
    pub(crate) fn stop(&self, addon: Uuid) {
        let removed = self.running().remove(&addon);
        if let Some(supervised) = removed {
            supervised.begin_stop();
            supervised.finish_stop();
        }
    }

    /// Ends the process of an add-on, on a thread that may block.
    pub(crate) async fn end(self: &Arc<Self>, addon: Uuid) {
        let processes = self.clone();
        drop(tokio::task::spawn_blocking(move || processes.stop(addon)).await);
    }

    /// Ends the process of an add-on, and removes its folder.
    ///
    /// # Errors
    ///
    /// The folder cannot be removed.
    pub(crate) async fn remove(self: &Arc<Self>, addon: Uuid) -> std::io::Result<()> {
        self.end(addon).await;
        match tokio::fs::remove_dir_all(self.directory(addon)).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Ends all processes. Blocks until they have ended.
    pub(crate) fn stop_all(&self) {
        let all = std::mem::take(&mut *self.running());
        all.values().for_each(|supervised| supervised.begin_stop());
        all.values().for_each(|supervised| supervised.finish_stop());
    }

    fn running(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<Supervised>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the path of a program of Debian's packages, if it is installed.
pub(crate) fn debian_program(name: &str) -> Option<PathBuf> {
    ["/usr/bin", "/usr/sbin"]
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.exists())
}

/// Returns a port of 127.0.0.1 that is free now.
pub(crate) fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

/// Creates a folder that only the node's user can read.
pub(crate) fn create_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(directory: &Path, script: &str) -> ProcessSpec {
        ProcessSpec {
            program: "/bin/sh".into(),
            arguments: vec!["-c".to_owned(), script.to_owned()],
            directory: directory.to_owned(),
        }
    }

    fn wait_for(condition: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !condition() {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[test]
    fn process_that_ends_is_started_again_until_it_is_stopped() {
        let directory = tempfile::tempdir().unwrap();
        let processes = ServerProcesses::new(directory.path().to_owned());
        let id = Uuid::new_v4();
        let spec = spec(directory.path(), "echo >> starts");
        processes.start(id, spec.clone()).unwrap();
        processes.start(id, spec).unwrap();
        let starts = || std::fs::read(directory.path().join("starts")).map_or(0, |text| text.len());
        wait_for(|| starts() >= 2);
        processes.stop(id);
        let count = starts();
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(starts(), count);
    }

    #[test]
    fn stop_waits_for_the_process() {
        let directory = tempfile::tempdir().unwrap();
        let processes = ServerProcesses::new(directory.path().to_owned());
        let id = Uuid::new_v4();
        let script = "trap 'echo > ended; exit' TERM; echo > up; while :; do sleep 0.05; done";
        processes.start(id, spec(directory.path(), script)).unwrap();
        wait_for(|| directory.path().join("up").exists());
        processes.stop_all();
        assert!(directory.path().join("ended").exists());
    }
}
