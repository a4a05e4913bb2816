//! Execution of programs with a time limit.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Number of bytes kept from the end of a program's output.
const OUTPUT: usize = 1 << 16;

/// Failure to run a program.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {source}")]
pub struct ProgramError {
    /// The program.
    pub name: String,
    /// Cause of the failure.
    pub source: io::Error,
}

/// Result of a program, and the end of its output.
pub(crate) struct CommandOutcome {
    pub(crate) success: bool,
    pub(crate) output: String,
}

/// Runs a command to completion, and returns its output on both streams.
pub(crate) fn run(command: Command, timeout: Duration) -> Result<CommandOutcome, ProgramError> {
    let name = command.get_program().to_string_lossy().into_owned();
    let failed = |source| ProgramError {
        name: name.clone(),
        source,
    };
    let mut log = tempfile::tempfile().map_err(failed)?;
    let status = log
        .try_clone()
        .and_then(|file| run_into(command, file, timeout))
        .map_err(failed)?;
    let mut output = Vec::new();
    log.rewind()
        .and_then(|()| log.read_to_end(&mut output))
        .map_err(failed)?;
    let output = &output[output.len().saturating_sub(OUTPUT)..];
    Ok(CommandOutcome {
        success: status.success(),
        output: String::from_utf8_lossy(output).into_owned(),
    })
}

/// Runs a command to completion with its output redirected to a file.
///
/// The command runs in a process group of its own, which is killed as a whole on a timeout.
pub(crate) fn run_into(
    mut command: Command,
    log: File,
    timeout: Duration,
) -> io::Result<ExitStatus> {
    let child = command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()?;
    let mut group = ProcessGroup(Some(child));
    let started = Instant::now();
    loop {
        if let Some(child) = &mut group.0
            && let Some(status) = child.try_wait()?
        {
            group.0 = None;
            return Ok(status);
        }
        if started.elapsed() > timeout {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("timed out after {} s", timeout.as_secs()),
            ));
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Guard that kills a process group when it is dropped.
struct ProcessGroup(Option<Child>);

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            // The group's id is that of its first process, and cannot be reused before that process is waited for.
            let group = format!("-{}", child.id());
            let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
            let _ = child.wait();
        }
    }
}
