//! Commands that end by themselves: detached and scheduled ones. Their output goes to the log.

use std::collections::HashSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use corundum_abi::names::{AppName, DynoName};
use corundum_compiler::command_line::ProcessCommandLine;
use corundum_host::grid::{DynoGrid, RunError};
use corundum_host::memory::MemoryLimits;

use super::command::{CommandRunError, LoggedCommand};
use super::{EXIT_TIMEOUT, SIGTERM, process_error};

/// Time for a command, as on Heroku.
const LIMIT: Duration = Duration::from_secs(24 * 60 * 60);
/// Time between two attempts to start a dyno on a full node.
const NO_PLACE: Duration = Duration::from_secs(5);
/// Attempts to start a dyno on a full node.
const ATTEMPTS: u32 = 60;

/// A command that ends by itself.
pub(crate) struct Job {
    pub(crate) app: AppName,
    pub(crate) dyno: DynoName,
    pub(crate) line: ProcessCommandLine,
    /// Variables in addition to the app's.
    pub(crate) environ: Vec<(String, String)>,
    pub(crate) memory: MemoryLimits,
}

/// The commands that run, so that a shutdown can end them.
pub(crate) struct Jobs {
    grid: DynoGrid,
    running: Mutex<HashSet<(AppName, DynoName)>>,
}

impl Jobs {
    pub(crate) fn new(grid: DynoGrid) -> Arc<Self> {
        Arc::new(Self {
            grid,
            running: Mutex::default(),
        })
    }

    fn running(&self) -> MutexGuard<'_, HashSet<(AppName, DynoName)>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a command to its end, for a day at most. While the node is full, it waits up to five minutes for a place.
    pub(crate) async fn run(&self, job: Job) {
        let key = (job.app.clone(), job.dyno.clone());
        self.running().insert(key.clone());
        let log = self.grid.dyno_log(&job.app, &job.dyno);
        let run = tokio::time::timeout(LIMIT, self.run_with_attempts(job));
        let line = match run.await {
            Ok(Ok(status)) => format!("Process exited with status {status}"),
            Ok(Err(error)) => process_error(&error),
            Err(_) => "Error: the command did not end within a day".to_owned(),
        };
        log.platform_line(&line);
        self.running().remove(&key);
    }

    async fn run_with_attempts(&self, job: Job) -> Result<i32, CommandRunError> {
        let mut attempts = 1;
        loop {
            let release = self.grid.loaded_release(&job.app).await;
            let command = LoggedCommand {
                line: job.line.clone(),
                release: release.ok_or(RunError::Blank)?,
                dyno: job.dyno.clone(),
                environ: job.environ.clone(),
                memory: job.memory,
                log: self.grid.dyno_log(&job.app, &job.dyno),
            };
            let is_stopped = AtomicBool::new(false);
            match command.run(&self.grid, &is_stopped).await {
                Err(CommandRunError::Run(RunError::Full)) if attempts < ATTEMPTS => attempts += 1,
                ended => return ended,
            }
            tokio::time::sleep(NO_PLACE).await;
        }
    }

    /// Ends all commands: SIGTERM, and their end after [`EXIT_TIMEOUT`].
    pub(crate) async fn shut_down(&self) {
        for (app, dyno) in self.running().iter() {
            self.grid.send_signal(app, dyno, SIGTERM);
        }
        let ended = async {
            while !self.running().is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(EXIT_TIMEOUT, ended).await.is_err() {
            for (app, dyno) in self.running().iter() {
                self.grid.kill(app, dyno);
            }
        }
    }
}
