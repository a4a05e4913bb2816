//! The move of a branch in two steps, so that nothing can fail between a release and its branch.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout};

use super::command::{self, GitError};
use super::updates::RefUpdate;

/// The time that git has for a step.
const STEP: Duration = Duration::from_secs(30);
/// Bytes of a line that git answers with.
const MAX_LINE: u64 = 256;
/// Bytes of git's reason for a refusal.
const MAX_REASON: u64 = 4096;

/// A branch that git has locked, after checking that it still points to the old commit.
///
/// When this is dropped, git unlocks the branch and leaves it as it was: it reads the end of its input. It is not killed,
/// because its lock would stay.
pub(crate) struct RefTransaction {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl RefTransaction {
    /// Locks the branch of `update` in a repository.
    ///
    /// # Errors
    ///
    /// [`GitError`]: another process holds the lock, or the branch has moved.
    pub(crate) async fn prepare(repository: &Path, update: &RefUpdate) -> Result<Self, GitError> {
        let mut git = command::command();
        let mut child = git
            .args(["update-ref", "--no-deref", "--stdin"])
            .current_dir(repository)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let no_pipe = || io::Error::other("git has no pipe");
        let input = child.stdin.take().ok_or_else(no_pipe)?;
        let output = child.stdout.take().ok_or_else(no_pipe)?;
        let mut transaction = Self {
            child,
            input,
            output: BufReader::new(output),
        };
        let RefUpdate {
            old,
            new,
            reference,
        } = update;
        transaction.send("start\n", "start: ok").await?;
        let steps = format!("update {reference} {new} {old}\nprepare\n");
        transaction.send(&steps, "prepare: ok").await?;
        Ok(transaction)
    }

    /// Moves the branch.
    ///
    /// # Errors
    ///
    /// [`GitError`]: the disk fails.
    pub(crate) async fn commit(mut self) -> Result<(), GitError> {
        self.send("commit\n", "commit: ok").await
    }

    /// Sends commands and waits for the answer to the last one.
    async fn send(&mut self, commands: &str, answer: &str) -> Result<(), GitError> {
        let exchange = async {
            // A git that has refused an earlier command reads no more; its answer tells.
            let _ = self.input.write_all(commands.as_bytes()).await;
            let mut line = String::new();
            (&mut self.output)
                .take(MAX_LINE)
                .read_line(&mut line)
                .await?;
            if line.trim_end() == answer {
                return Ok(());
            }
            let mut reason = Vec::new();
            if let Some(errors) = self.child.stderr.take() {
                errors.take(MAX_REASON).read_to_end(&mut reason).await?;
            }
            Err(GitError::Failed {
                command: "update-ref",
                output: String::from_utf8_lossy(&reason).trim().to_owned(),
            })
        };
        let timeout = GitError::Timeout {
            command: "update-ref",
        };
        tokio::time::timeout(STEP, exchange)
            .await
            .map_err(|_| timeout)?
    }
}
