//! The output of a command as lines of a log.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::session::RunOutput;
use crate::log::{LineSplitter, LogSink};

/// Passes the output of a command to `log`, line by line, until the command has ended.
pub async fn log_output(mut output: mpsc::Receiver<RunOutput>, log: Arc<dyn LogSink>) {
    let mut stdout = LineSplitter::new(log.clone());
    let mut stderr = LineSplitter::new(log);
    while let Some(piece) = output.recv().await {
        match piece {
            RunOutput::Stdout(bytes) => stdout.write(&bytes),
            RunOutput::Stderr(bytes) => stderr.write(&bytes),
        }
    }
}
