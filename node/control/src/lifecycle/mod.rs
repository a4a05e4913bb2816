//! A node that runs, until it is told to stop or another process has taken over.

pub(crate) mod control_plane;
pub(crate) mod listeners;
pub(crate) mod startup;
pub(crate) mod supervisor;
pub(crate) mod takeover;

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::acme::Proofs;
use crate::lifecycle::control_plane::Doors;
use crate::lifecycle::listeners::Listeners;
use crate::lifecycle::takeover::{QUIET, Successor};
use crate::platform::Platform;

/// For the data directory to be free again, when the process that was to take over has died.
const FREED: Duration = Duration::from_secs(10);

/// A node that runs.
pub(crate) struct Running {
    platform: Arc<Platform>,
    listeners: Listeners,
    proofs: Proofs,
    control: Handle,
    /// None while another process has the data directory.
    doors: Option<Doors>,
    successors: UnixListener,
}

/// Why a node ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It was told to.
    Stopped,
    /// Another process serves in its place.
    Replaced,
}

impl Running {
    /// Opens a node's doors.
    ///
    /// # Errors
    ///
    /// A socket in the data directory cannot be made.
    pub(crate) fn new(
        platform: Arc<Platform>,
        listeners: Listeners,
        proofs: Proofs,
        control: Handle,
    ) -> anyhow::Result<Self> {
        let doors = Doors::open(&control, &platform, &listeners, &proofs)?;
        let successors = takeover::listen(&platform.settings().data)?;
        Ok(Self {
            platform,
            listeners,
            proofs,
            control,
            doors: Some(doors),
            successors,
        })
    }

    /// Waits for the node's end.
    pub(crate) async fn until_end(&mut self, signals: &mut Signals) -> anyhow::Result<End> {
        loop {
            let Signals {
                terminate,
                interrupt,
                hangup,
            } = signals;
            tokio::select! {
                _ = terminate.recv() => return Ok(End::Stopped),
                _ = interrupt.recv() => return Ok(End::Stopped),
                _ = hangup.recv() => succeed(),
                successor = Successor::arrival(&self.successors) => {
                    // A second process that asks meanwhile waits.
                    if self.hand_over(successor?).await? {
                        return Ok(End::Replaced);
                    }
                }
            }
        }
    }

    fn open(&self) -> anyhow::Result<Doors> {
        Doors::open(&self.control, &self.platform, &self.listeners, &self.proofs)
    }

    /// Gives the node to another process; whether that serves now.
    async fn hand_over(&mut self, successor: Successor) -> anyhow::Result<bool> {
        self.doors = None;
        if self.platform.give_up_data(QUIET).await {
            let listeners = self.listeners.again()?;
            let given = tokio::task::spawn_blocking(move || successor.hand_over(&listeners));
            if matches!(given.await?, Ok(true)) {
                return Ok(true);
            }
            tracing::error!(
                "the process that was to take over has ended before it served: this one goes on"
            );
            let back = async {
                while !self.platform.take_data_back() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            let back = tokio::time::timeout(FREED, back).await;
            anyhow::ensure!(back.is_ok(), "another process keeps the data directory");
        } else {
            successor.refuse();
        }
        self.doors = Some(self.open()?);
        self.successors = takeover::listen(&self.platform.settings().data)?;
        Ok(false)
    }
}

/// The signals that a node listens to.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for one that ends the node.
    pub(crate) async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Starts the program that is now where this one was started from, with the same arguments, to take over.
fn succeed() {
    const TAKEOVER: &str = "--takeover";
    let start = || {
        let program = std::env::current_exe()?;
        // That is what the kernel calls a file that was replaced.
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
            // If it fails, it says why by itself; somebody must take its status all the same.
            std::thread::spawn(move || child.wait());
        }
        Err(error) => tracing::error!(%error, "no successor can be started: this process goes on"),
    }
}
