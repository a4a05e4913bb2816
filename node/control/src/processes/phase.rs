//! Commands of a deployment: the release phase, which runs before a release goes live, and the script that runs after the first.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use corundum_abi::names::{DynoName, ProcessType};
use corundum_compiler::command_line::ProcessCommandLine;
use corundum_host::grid::{DynoGrid, GridRelease};
use corundum_host::log::LogSink;
use corundum_host::memory::MemoryLimits;
use tokio::sync::mpsc;

use super::command::{CommandRunError, LoggedCommand};

/// A command of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// `release` of the Procfile.
    Release,
    /// `scripts.postdeploy` of `app.json`.
    Postdeploy,
}

impl Phase {
    /// Returns the name, which is also the process type of the dyno.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Postdeploy => "postdeploy",
        }
    }
}

/// Time for a command, as on Heroku.
const LIMIT: Duration = Duration::from_secs(60 * 60);

/// Quota of memory, which migrations of large apps need.
const MEMORY: usize = 1 << 30;

/// Bytes of output that the pusher sees. The log has all of it.
const MAX_SHOWN: usize = 256 << 10;

/// Lines between the dyno and the pusher.
const BUFFERED_LINES: usize = 256;

/// A command of a deployment that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PhaseError {
    /// The command has another status than 0.
    #[error("{command} exited with status {status}: corundum logs has its output")]
    Status {
        /// The command.
        command: String,
        /// Its exit status.
        status: i32,
    },
    /// The command did not run to its end.
    #[error(transparent)]
    Run(#[from] CommandRunError),
    /// The command did not end in time.
    #[error("it did not end within an hour")]
    Time,
}

/// Runs the command `text` with a release's files and config vars, whether it is live or not. `report` gets lines for the pusher.
///
/// # Errors
///
/// [`PhaseError`].
pub(crate) async fn run(
    grid: &DynoGrid,
    phase: Phase,
    release: Arc<GridRelease>,
    text: &str,
    report: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), PhaseError> {
    report(&format!("-----> Running {} command...", phase.as_str()));
    let number = u32::try_from(release.version.0).unwrap_or(u32::MAX);
    let process = phase
        .as_str()
        .parse()
        .unwrap_or_else(|_| ProcessType::web());
    let name = DynoName { process, number };
    let log = grid.dyno_log(&release.app, &name);
    let (lines, mut shown) = mpsc::channel(BUFFERED_LINES);
    let command = LoggedCommand {
        line: ProcessCommandLine::parse(text).map_err(CommandRunError::from)?,
        release,
        dyno: name,
        environ: Vec::new(),
        memory: MemoryLimits::of_process(MEMORY),
        log: Arc::new(ShownLog { log, lines }),
    };
    let is_stopped = AtomicBool::new(false);
    let run = tokio::time::timeout(LIMIT, command.run(grid, &is_stopped));
    let show = async {
        let mut bytes = 0;
        while let Some(line) = shown.recv().await {
            let line: String = line;
            bytes += line.len();
            if bytes <= MAX_SHOWN {
                report(&format!("       {line}"));
            }
        }
        if bytes > MAX_SHOWN {
            report("       (the rest of the output is in corundum logs)");
        }
    };
    let (result, ()) = tokio::join!(run, show);
    match result {
        Ok(Ok(0)) => Ok(()),
        Ok(Ok(status)) => Err(PhaseError::Status {
            command: text.to_owned(),
            status,
        }),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(PhaseError::Time),
    }
}

/// A log whose lines the pusher sees too.
struct ShownLog {
    log: Arc<dyn LogSink>,
    lines: mpsc::Sender<String>,
}

impl LogSink for ShownLog {
    fn line(&self, line: &[u8]) {
        self.log.line(line);
        // The sink must not block. The log has the lines for which there is no room.
        let _ = self
            .lines
            .try_send(String::from_utf8_lossy(line).into_owned());
    }

    fn platform_line(&self, line: &str) {
        self.log.platform_line(line);
    }
}
