//! The supervisor of one dyno: starts its command, ends it on demand, and starts it again when it has ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use corundum_abi::dyno_size::DynoSize;
use corundum_abi::names::{AppName, DynoName, ReleaseVersion};
use corundum_compiler::command_line::ProcessCommandLine;
use corundum_host::grid::RunError;
use corundum_host::memory::MemoryLimits;
use tokio::sync::watch;

use super::backoff::Backoff;
use super::command::{CommandRunError, LoggedCommand};
use super::{EXIT_TIMEOUT, ProcessState, Processes, SIGTERM, process_error};

/// Time between two attempts to start a dyno on a full node.
const NO_PLACE: Duration = Duration::from_secs(5);

/// Time for a killed dyno to be gone.
const KILLED: Duration = Duration::from_secs(5);

/// The run that a supervisor is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ProcessTarget {
    size: DynoSize,
    release: Option<ReleaseVersion>,
    /// Number of restarts that were asked for.
    restarts: u64,
    is_stopped: bool,
}

impl ProcessTarget {
    pub(super) fn new(size: DynoSize, release: Option<ReleaseVersion>) -> Self {
        Self {
            size,
            release,
            restarts: 0,
            is_stopped: false,
        }
    }

    pub(super) fn stop(&mut self) {
        self.is_stopped = true;
    }

    pub(super) fn restart(&mut self) {
        self.restarts += 1;
    }

    /// Asks for a dyno of this size and release. Returns whether that is another one than before.
    pub(super) fn want(&mut self, size: DynoSize, release: Option<ReleaseVersion>) -> bool {
        let before = *self;
        (self.size, self.release, self.is_stopped) = (size, release, false);
        *self != before
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped
    }
}

/// The end of a run.
enum RunEnd {
    /// The command has ended by itself; the text says how.
    Exited(String),
    /// The node had no place for the dyno.
    NoPlace,
    /// The command was asked to end, and has.
    Stopped,
}

pub(super) struct Supervisor {
    pub(super) processes: Arc<Processes>,
    pub(super) app: AppName,
    pub(super) name: DynoName,
    pub(super) target: watch::Receiver<ProcessTarget>,
    pub(super) state: watch::Sender<ProcessState>,
}

impl Supervisor {
    /// Runs the dyno until it is not wanted any more.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::default();
        loop {
            let target = *self.target.borrow_and_update();
            if target.is_stopped() {
                if self
                    .processes
                    .remove_stopped(&self.app, &self.name, &self.target)
                {
                    return;
                }
                continue;
            }
            self.set_state(ProcessState::Starting);
            let started = Instant::now();
            let pause = match self.run_once(target).await {
                RunEnd::Stopped => {
                    backoff = Backoff::default();
                    continue;
                }
                RunEnd::NoPlace => NO_PLACE,
                RunEnd::Exited(reason) => {
                    let pause = backoff.pause_after(started.elapsed());
                    self.log(&reason);
                    self.change_state(ProcessState::Crashed);
                    self.log(&format!("Starting again in {} s", pause.as_secs()));
                    pause
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // A restart or a new release does not wait for the end of the pause.
                changed = self.target.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    backoff = Backoff::default();
                }
            }
        }
    }

    async fn run_once(&mut self, target: ProcessTarget) -> RunEnd {
        let command = match self.command(target).await {
            Ok(command) => command,
            Err(reason) => return RunEnd::Exited(reason),
        };
        let is_stopped = Arc::new(AtomicBool::new(false));
        let grid = self.processes.parts.grid.clone();
        let run = {
            let is_stopped = is_stopped.clone();
            let grid = grid.clone();
            async move { command.run(&grid, &is_stopped).await }
        };
        let mut run = std::pin::pin!(run);
        let up = Duration::from_millis(200);
        let mut is_up = false;
        loop {
            tokio::select! {
                result = &mut run => return self.end_of(result),
                () = tokio::time::sleep(up), if !is_up => {
                    is_up = true;
                    self.change_state(ProcessState::Up);
                }
                changed = self.target.changed() => {
                    if changed.is_ok() && *self.target.borrow() == target {
                        continue;
                    }
                    break;
                }
            }
        }
        self.set_state(ProcessState::Stopping);
        self.log("Stopping all processes with SIGTERM");
        is_stopped.store(true, Ordering::SeqCst);
        grid.send_signal(&self.app, &self.name, SIGTERM);
        let status = match tokio::time::timeout(EXIT_TIMEOUT, &mut run).await {
            Ok(Ok(status)) => status,
            Ok(Err(error)) => {
                self.log(&format!("Error: {error}"));
                return RunEnd::Stopped;
            }
            Err(_) => {
                self.log("Error R12 (Exit timeout) -> At least one process failed to exit within 30 seconds of SIGTERM");
                self.log("Stopping remaining processes with SIGKILL");
                grid.kill(&self.app, &self.name);
                let _ = tokio::time::timeout(KILLED, &mut run).await;
                137
            }
        };
        self.log(&format!("Process exited with status {status}"));
        RunEnd::Stopped
    }

    /// Returns the dyno's command in the current release, or the reason why there is none.
    async fn command(&self, target: ProcessTarget) -> Result<LoggedCommand, String> {
        let parts = &self.processes.parts;
        let release = parts.grid.loaded_release(&self.app).await;
        let release = release.ok_or("Error: the release cannot be loaded")?;
        let record = parts.store.release(&self.app, release.version);
        let record = record.map_err(|error| format!("Error: {error}"))?;
        let commands = record
            .map(|record| record.about.processes)
            .unwrap_or_default();
        let text = commands.get(&self.name.process);
        let text = text.ok_or_else(|| {
            format!(
                "Error: the release has no process type {}",
                self.name.process
            )
        })?;
        let line = ProcessCommandLine::parse(text).map_err(|error| format!("Error: {error}"))?;
        self.log(&format!("Starting process with command `{text}`"));
        Ok(LoggedCommand {
            line,
            release,
            dyno: self.name.clone(),
            environ: Vec::new(),
            memory: MemoryLimits::of_process(target.size.memory()),
            log: parts.grid.dyno_log(&self.app, &self.name),
        })
    }

    fn end_of(&self, result: Result<i32, CommandRunError>) -> RunEnd {
        match result {
            Ok(status) => RunEnd::Exited(format!("Process exited with status {status}")),
            Err(CommandRunError::Run(RunError::Full)) => {
                self.log("Error: the node has no place for this dyno: waiting for one");
                RunEnd::NoPlace
            }
            Err(error) => RunEnd::Exited(process_error(&error)),
        }
    }

    fn log(&self, line: &str) {
        let log = self.processes.parts.grid.dyno_log(&self.app, &self.name);
        log.platform_line(line);
    }

    fn set_state(&self, state: ProcessState) {
        self.state.send_replace(state);
    }

    fn change_state(&self, state: ProcessState) {
        let before = self.state.send_replace(state);
        if before != state {
            let (from, to) = (before.as_str(), state.as_str());
            self.log(&format!("State changed from {from} to {to}"));
        }
    }
}
