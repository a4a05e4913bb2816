//! A node's life as a process: listeners, start, takeover by another process, and end.

pub mod control_plane;
pub mod descriptors;
pub mod listeners;
pub mod startup;
pub mod supervisor;
pub mod takeover;

use std::io;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::control_plane::{ControlPlane, RunningControlPlane};
use self::listeners::Listeners;
use self::takeover::{QUIET, Successor};
use crate::apps::locks::AppLocks;
use crate::data_dir::DataDir;
use crate::processes::Processes;

/// The time for the data directory to be free again when the process that was to take over has died.
const FREED: Duration = Duration::from_secs(10);

/// A node that serves.
pub struct NodeLifecycle {
    data: Arc<DataDir>,
    locks: Arc<AppLocks>,
    listeners: Listeners,
    control_plane: ControlPlane,
    /// `None` while another process owns the data directory.
    running: Option<RunningControlPlane>,
    successors: UnixListener,
}

/// The reason why a node ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeEnd {
    /// A signal has stopped it.
    Stopped,
    /// Another process serves in its place.
    Replaced,
}

/// A failure that ends the node.
#[derive(Debug, thiserror::Error)]
pub enum LifecycleError {
    /// A socket cannot be created or used.
    #[error("node: {0}")]
    Io(#[from] io::Error),
    /// The process that was to take over died, and another one owns the data directory.
    #[error("another process keeps the data directory")]
    DataDirLost,
}

impl NodeLifecycle {
    /// Starts the control plane.
    ///
    /// # Errors
    ///
    /// A socket in the data directory cannot be created.
    pub fn start(
        data: Arc<DataDir>,
        locks: Arc<AppLocks>,
        listeners: Listeners,
        control_plane: ControlPlane,
    ) -> Result<Self, LifecycleError> {
        let running = control_plane.start(&listeners)?;
        let successors = takeover::listen(data.path())?;
        Ok(Self {
            data,
            locks,
            listeners,
            control_plane,
            running: Some(running),
            successors,
        })
    }

    /// Waits for the node's end: a signal, or a process that has taken over.
    ///
    /// # Errors
    ///
    /// [`LifecycleError`].
    pub async fn until_end(&mut self, signals: &mut Signals) -> Result<NodeEnd, LifecycleError> {
        loop {
            let Signals {
                terminate,
                interrupt,
                hangup,
            } = signals;
            tokio::select! {
                _ = terminate.recv() => return Ok(NodeEnd::Stopped),
                _ = interrupt.recv() => return Ok(NodeEnd::Stopped),
                _ = hangup.recv() => start_successor(),
                successor = Successor::arrival(&self.successors) => {
                    // A second process that asks meanwhile waits in the socket's backlog.
                    if let Some(end) = self.hand_over(successor?, signals).await? {
                        return Ok(end);
                    }
                }
            }
        }
    }

    /// Hands the node over to another process. Returns the reason why this one ends, or `None` if it goes on.
    async fn hand_over(
        &mut self,
        successor: Successor,
        signals: &mut Signals,
    ) -> Result<Option<NodeEnd>, LifecycleError> {
        if let Some(running) = &self.running {
            running.stop_working();
        }
        let processes = self.control_plane.processes.clone();
        let released = tokio::select! {
            released = release_data(&self.data, &self.locks, &processes) => released,
            () = signals.stop() => {
                successor.refuse();
                return Ok(Some(NodeEnd::Stopped));
            }
        };
        self.running = None;
        if released {
            let listeners = self.listeners.try_clone()?;
            let disconnect = successor.disconnect()?;
            let given = tokio::task::spawn_blocking(move || successor.hand_over(&listeners));
            let given = tokio::select! {
                given = given => given,
                () = signals.stop() => {
                    // The other process learns that it was not meant to serve, and this one need not wait for it.
                    disconnect.now();
                    return Ok(Some(NodeEnd::Stopped));
                }
            };
            if matches!(given, Ok(Ok(true))) {
                return Ok(Some(NodeEnd::Replaced));
            }
            tracing::error!("takeover failed: the new process ended before it served");
            let reclaimed = async {
                while !self.data.lock_again() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            tokio::select! {
                reclaimed = tokio::time::timeout(FREED, reclaimed) => {
                    reclaimed.map_err(|_| LifecycleError::DataDirLost)?;
                }
                () = signals.stop() => return Ok(Some(NodeEnd::Stopped)),
            }
        } else {
            successor.refuse();
        }
        self.running = Some(self.control_plane.start(&self.listeners)?);
        self.successors = takeover::listen(self.data.path())?;
        Ok(None)
    }
}

/// Unlocks the data directory once no build and no push is in progress, and returns whether that was in time. From then on
/// this process changes nothing and serves the apps that it has.
///
/// No process beside web may run twice, so those of this node end before another one can start them.
async fn release_data(data: &DataDir, locks: &AppLocks, processes: &Processes) -> bool {
    data.begin_hand_over();
    let idle = async {
        while !locks.are_idle() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let idle = tokio::time::timeout(QUIET, idle).await.is_ok();
    if idle {
        processes.shut_down().await;
    }
    let released = idle && data.unlock();
    if !released {
        data.cancel_hand_over();
    }
    released
}

/// The signals that a node handles.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Installs the handlers.
    ///
    /// # Errors
    ///
    /// A handler cannot be installed.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for a signal that stops the node.
    pub async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Starts the program that is now at this process's path, with the same arguments, so that it takes over.
fn start_successor() {
    const TAKEOVER: &str = "--takeover";
    let start = || {
        let program = std::env::current_exe()?;
        // The kernel appends this to the path of a file that was replaced.
        let program = program.to_string_lossy();
        let program = program.strip_suffix(" (deleted)").unwrap_or(&program);
        let arguments = std::env::args_os().skip(1);
        let arguments = arguments.filter(|argument| argument != TAKEOVER);
        Command::new(program)
            .args(arguments)
            .arg(TAKEOVER)
            .stdin(Stdio::null())
            .spawn()
    };
    match start() {
        Ok(mut child) => {
            // A failed successor prints the reason itself, but this process must collect its exit status.
            std::thread::spawn(move || child.wait());
        }
        Err(error) => tracing::error!(%error, "could not start a successor"),
    }
}
