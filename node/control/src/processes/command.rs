//! Command lines in dynos whose output goes to the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use corundum_abi::names::DynoName;
use corundum_compiler::command_line::{CommandLineError, ProcessCommandLine};
use corundum_host::console::{RunSession, log_output};
use corundum_host::grid::{DynoGrid, GridRelease, RunCommand, RunError};
use corundum_host::log::LogSink;
use corundum_host::memory::MemoryLimits;
use tokio::sync::mpsc;

/// Pieces of output between a dyno and the log.
const BUFFERED_PIECES: usize = 4;

/// The status of a process that SIGTERM has ended.
const TERMINATED: i32 = 128 + 15;

/// A command line that did not run to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommandRunError {
    /// The line cannot be carried out.
    #[error(transparent)]
    Line(#[from] CommandLineError),
    /// A dyno failed.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// A command line of a release.
pub(crate) struct LoggedCommand {
    pub(crate) line: ProcessCommandLine,
    pub(crate) release: Arc<GridRelease>,
    pub(crate) dyno: DynoName,
    /// Variables in addition to the app's.
    pub(crate) environ: Vec<(String, String)>,
    pub(crate) memory: MemoryLimits,
    pub(crate) log: Arc<dyn LogSink>,
}

impl LoggedCommand {
    /// Runs the commands of the line one after another, and returns the status of the last one. No further command starts once
    /// `is_stopped`. Dropping the future ends the dyno.
    ///
    /// # Errors
    ///
    /// [`CommandRunError`].
    pub(crate) async fn run(
        self,
        grid: &DynoGrid,
        is_stopped: &AtomicBool,
    ) -> Result<i32, CommandRunError> {
        let mut status = 0;
        let is_own = |name: &str| self.environ.iter().any(|(own, _)| own == name);
        let inherited = self
            .release
            .environ
            .iter()
            .filter(|(name, _)| !is_own(name));
        let variables: Vec<_> = inherited.chain(&self.environ).cloned().collect();
        for (after, command) in self.line.commands() {
            if !after.permits(status) {
                continue;
            }
            if is_stopped.load(Ordering::SeqCst) {
                return Ok(TERMINATED);
            }
            let command = command.expand(&variables)?;
            let (output, received) = mpsc::channel(BUFFERED_PIECES);
            let session = Arc::new(RunSession::new(None, output));
            session.end_input();
            let command = RunCommand {
                arguments: command.arguments.into(),
                environ: [self.environ.clone(), command.environ].concat(),
                session,
                dyno: self.dyno.clone(),
                memory: self.memory,
                release: Some(self.release.clone()),
            };
            let run = grid.run(&self.release.app, command);
            let (result, ()) = tokio::join!(run, log_output(received, self.log.clone()));
            status = result?;
        }
        Ok(status)
    }
}
