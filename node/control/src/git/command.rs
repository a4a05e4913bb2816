//! Processes of git, with the limits and the configuration of [`git_command`].

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use corundum_build::limits::BACKGROUND_NICENESS;
use corundum_compiler::git_command;
use rustix::process::{Pid, Signal, kill_process_group, setpriority_pgrp, test_kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// The time that a short command may take.
const SHORT: Duration = Duration::from_secs(60);
/// Bytes that the node reads of a short command's output or errors.
const MAX_OUTPUT: u64 = 64 << 10;
/// The number of checks, 10 ms apart, for the end of killed processes.
const KILL_CHECKS: u32 = 500;

/// A git command that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GitError {
    /// Git cannot be started, or its pipes fail: the node is at fault.
    #[error("git cannot be run: is it installed? ({0})")]
    Run(#[from] io::Error),
    /// The command rejected its input or exceeded a limit.
    #[error("git {command}: {output}")]
    Failed {
        /// The subcommand.
        command: &'static str,
        /// Its error output.
        output: String,
    },
    /// The command exceeded its time.
    #[error("git {command}: took longer than {} s and was stopped", SHORT.as_secs())]
    Timeout {
        /// The subcommand.
        command: &'static str,
    },
}

/// Returns a git command with the limits and the configuration of the node.
pub(crate) fn command() -> Command {
    configured(&[])
}

/// Returns a git command with further configuration.
pub(crate) fn configured(more: &[(&str, &str)]) -> Command {
    git_command::configured(more).into()
}

/// Runs a short command to its end and returns its output without the last newline.
///
/// # Errors
///
/// [`GitError`].
pub(crate) async fn run(name: &'static str, mut git: Command) -> Result<String, GitError> {
    git.stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut process = GitProcess::spawn(git)?;
    let (output, errors) = (process.child.stdout.take(), process.child.stderr.take());
    let read = async |pipe: Option<_>| match pipe {
        Some(pipe) => read_text(pipe).await,
        None => Ok(String::new()),
    };
    let read_errors = async |pipe: Option<_>| match pipe {
        Some(pipe) => read_text(pipe).await,
        None => Ok(String::new()),
    };
    let work = async {
        let (output, errors) = tokio::try_join!(read(output), read_errors(errors))?;
        Ok::<_, io::Error>((output, errors, process.wait().await?))
    };
    let done = tokio::time::timeout(SHORT, work).await;
    let (output, errors, status) = done.map_err(|_| GitError::Timeout { command: name })??;
    if status.success() {
        return Ok(output);
    }
    Err(GitError::Failed {
        command: name,
        output: if errors.is_empty() {
            format!("ended with {status}")
        } else {
            errors
        },
    })
}

/// Reads a pipe to its end and returns the start of it as text.
async fn read_text(mut pipe: impl tokio::io::AsyncRead + Unpin) -> io::Result<String> {
    let mut bytes = Vec::new();
    (&mut pipe).take(MAX_OUTPUT).read_to_end(&mut bytes).await?;
    // Without a reader the process would end by SIGPIPE, although it succeeds.
    tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await?;
    Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}

/// A process of git and those that it has started. Dropping this kills them all.
#[derive(Debug)]
pub(crate) struct GitProcess {
    child: Child,
    /// The process group; `None` when the process has ended.
    group: Option<Pid>,
}

impl GitProcess {
    /// Starts a command in a process group of its own, with a low priority.
    ///
    /// # Errors
    ///
    /// The process cannot be started.
    pub(crate) fn spawn(mut command: Command) -> io::Result<Self> {
        let child = command.process_group(0).spawn()?;
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        if let Some(group) = group {
            // At the node's own priority git is only a worse neighbour.
            let _ = setpriority_pgrp(Some(group), BACKGROUND_NICENESS);
        }
        Ok(Self { child, group })
    }

    /// Takes the process's piped standard output.
    ///
    /// # Errors
    ///
    /// The process was started without the pipe.
    pub(crate) fn take_output(&mut self) -> io::Result<ChildStdout> {
        self.child.stdout.take().ok_or_else(no_pipe)
    }

    /// Takes the process's piped standard input.
    ///
    /// # Errors
    ///
    /// The process was started without the pipe.
    pub(crate) fn take_input(&mut self) -> io::Result<ChildStdin> {
        self.child.stdin.take().ok_or_else(no_pipe)
    }

    /// Waits for the end of the process.
    ///
    /// # Errors
    ///
    /// The operating system fails.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await?;
        self.group = None;
        Ok(status)
    }

    /// Kills the processes, and returns once they have ended.
    pub(crate) async fn kill(mut self) {
        let Some(group) = self.group.take() else {
            return;
        };
        let _ = kill_process_group(group, Signal::KILL);
        reap(&mut self.child, group).await;
    }
}

impl Drop for GitProcess {
    fn drop(&mut self) {
        // The runtime collects the status of a dropped child.
        if let Some(group) = self.group.take() {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

async fn reap(child: &mut Child, group: Pid) {
    let _ = child.wait().await;
    for _ in 0..KILL_CHECKS {
        if test_kill_process_group(group).is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn no_pipe() -> io::Error {
    io::Error::other("git has no pipe")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the output of a shell that an alias of git runs, as a program that git starts would see it.
    async fn seen_by_a_child(script: &str) -> String {
        let mut git = configured(&[("alias.seen", &format!("!{script}"))]);
        git.arg("seen").current_dir("/");
        run("seen", git).await.unwrap()
    }

    #[tokio::test]
    async fn children_of_git_have_limits() {
        let limits = seen_by_a_child("ulimit -d; ulimit -v; ulimit -t; ulimit -n; ulimit -c").await;
        let numbers: Vec<u64> = limits.lines().map(|line| line.parse().unwrap()).collect();
        let most = [524_288, 2_097_152, 300, 256, 0];
        assert_eq!(numbers.len(), most.len(), "{limits}");
        for (number, most) in numbers.iter().zip(most) {
            assert!(*number <= most, "{limits}");
        }
    }

    #[tokio::test]
    async fn children_of_git_have_no_home_and_find_no_program() {
        let seen = seen_by_a_child("echo $HOME $TMPDIR; command -v gpg; command -v ls; true").await;
        assert_eq!(seen, "/nonexistent /nonexistent");
    }

    #[tokio::test]
    async fn process_that_needs_more_memory_fails() {
        let directory = tempfile::tempdir().unwrap();
        let mut git = command();
        git.args(["init", "--quiet", "--bare"])
            .arg(directory.path());
        run("init", git).await.unwrap();
        let mut git = command();
        git.arg("-C")
            .arg(directory.path())
            .args(["hash-object", "--no-filters", "/dev/zero"]);
        let error = run("hash-object", git).await.unwrap_err();
        assert!(matches!(error, GitError::Failed { .. }), "{error}");
    }

    #[tokio::test]
    async fn error_output_is_read_in_part() {
        let mut git = command();
        git.args(["rev-parse", "--verify", &"x".repeat(100_000)]);
        match run("rev-parse", git).await.unwrap_err() {
            GitError::Failed { output, .. } => {
                assert!(output.len() as u64 <= MAX_OUTPUT && !output.is_empty());
            }
            error => panic!("{error}"),
        }
    }
}
