//! Processes of git: bounded, and configured by the node alone.
//!
//! Git works on bytes of the pusher. A repository's attributes, its replacement objects, the machine's configuration and
//! the user's home therefore have no effect, git finds no program beside its own, and the kernel limits memory, processor
//! time and files of each process.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use corundum_build::limits::BACKGROUND_NICENESS;
use rustix::process::{Pid, Signal, kill_process_group, setpriority_pgrp, test_kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Home, folder of temporary files and search path of git's processes. The path does not exist, so that a program that git
/// would start (gpg, a pager, an editor) is not found, and nothing is written outside of the repository. Git finds its own
/// programs in a folder that is compiled into it.
const NOWHERE: &str = "/nonexistent";

/// The empty tree, from which git takes attributes in place of the pushed one. Git knows this object without storing it.
const EMPTY_TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

/// Applies the limits to the shell, then becomes git.
///
/// In order: no core dump; 512 MiB of private memory, which bounds the objects that git holds at once; 2 GiB of address
/// space, since git also maps packs; 5 minutes of processor time; 16 GiB in a file; 256 open files. A limit that is already
/// lower stays. When the machine's memory runs out, the kernel ends git before the node.
const LIMITED: &str = r#"limit() { ulimit "$1" "$2" 2>/dev/null || [ "$(ulimit "$1")" != unlimited ] || exit 126; }
limit -c 0; limit -d 524288; limit -v 2097152; limit -t 300; limit -f 33554432; limit -n 256
echo 900 2>/dev/null >/proc/self/oom_score_adj
exec "$0" "$@""#;

/// Configuration of every command. It takes precedence over a repository's own.
const CONFIG: [(&str, &str); 23] = [
    ("core.attributesFile", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.hooksPath", NOWHERE),
    ("core.useReplaceRefs", "false"),
    ("protocol.allow", "never"),
    // The node's own paths name the repositories, so another owner, as after a restored backup, is no danger.
    ("safe.directory", "*"),
    // A release's commit must survive a loss of power as the store's record does.
    ("core.fsync", "objects,derived-metadata,reference"),
    ("core.filesRefLockTimeout", "5000"),
    ("core.packedRefsTimeout", "5000"),
    // Git streams larger blobs in place of holding them.
    ("core.bigFileThreshold", "32m"),
    ("core.packedGitWindowSize", "32m"),
    ("core.packedGitLimit", "256m"),
    ("core.deltaBaseCacheLimit", "32m"),
    ("pack.threads", "1"),
    ("pack.windowMemory", "64m"),
    ("pack.deltaCacheSize", "32m"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    // `gc --auto` would not collect, but its lock would stay when a client disconnects right after a push.
    ("receive.autogc", "false"),
    ("receive.shallowUpdate", "false"),
    ("transfer.fsckObjects", "true"),
    // `index-pack` streams a pack to disk; `unpack-objects` holds all of its objects.
    ("transfer.unpackLimit", "1"),
    ("http.getanyfile", "false"),
];

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
    let mut git = Command::new("/bin/sh");
    git.args(["-c", LIMITED])
        .arg(program())
        .env_clear()
        .env("HOME", NOWHERE)
        .env("TMPDIR", NOWHERE)
        .env("PATH", NOWHERE)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_ATTR_NOSYSTEM", "1")
        .env("GIT_ATTR_SOURCE", EMPTY_TREE)
        .env("GIT_NO_REPLACE_OBJECTS", "1")
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_TERMINAL_PROMPT", "0");
    let mut count = 0;
    for (key, value) in CONFIG.iter().chain(more) {
        git.env(format!("GIT_CONFIG_KEY_{count}"), key)
            .env(format!("GIT_CONFIG_VALUE_{count}"), value);
        count += 1;
    }
    git.env("GIT_CONFIG_COUNT", count.to_string());
    git
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

/// Returns the path of git: the first one in the node's own search path.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
        let found = std::env::split_paths(&path)
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join("git"))
            .find(|program| program.is_file());
        found.unwrap_or_else(|| PathBuf::from("/usr/bin/git"))
    })
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
