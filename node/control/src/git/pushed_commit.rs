//! Reads a pushed commit, whose objects git keeps in quarantine until the hook accepts the push.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;

use corundum_abi::names::AppName;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

use super::repository;

/// The variables that give git's commands access to quarantined objects.
pub(crate) const QUARANTINE: [&str; 4] = [
    "GIT_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_QUARANTINE_PATH",
];

/// Bytes of a file that is read before the build.
const MAX_BLOB: u64 = 1 << 20;

/// An update of a branch, as the hook describes it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Push {
    pub(crate) app: AppName,
    pub(crate) commit: String,
    /// The branch that is to point to the commit.
    pub(crate) reference: String,
    /// The commit to which the branch points, according to the pusher; zeros if the branch is new.
    pub(crate) old: String,
    pub(crate) repository: PathBuf,
    /// The variables of [`QUARANTINE`].
    pub(crate) environ: BTreeMap<String, String>,
}

/// A commit that cannot be read or may not be deployed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommitError {
    /// The pushed object is not a commit.
    #[error(
        "a branch must point to a commit, not a {kind}. To push the commit of a tag: git push corundum TAG^{{}}:{branch}"
    )]
    NotACommit {
        /// The kind of the object.
        kind: String,
        /// The branch without `refs/heads/`.
        branch: String,
    },
    /// Another push has moved the branch.
    #[error("another push has moved the branch meanwhile: push again")]
    Moved,
    /// A file is too large.
    #[error("{path} is larger than {} MB", MAX_BLOB >> 20)]
    LargeFile {
        /// Its path in the commit.
        path: &'static str,
    },
    /// A git command failed.
    #[error("git: {0}")]
    Git(String),
    /// Git cannot be run.
    #[error("git cannot be run: {0}")]
    Run(#[from] io::Error),
}

impl Push {
    /// Checks what git checks only after the hook, when the release would be live already.
    pub(crate) async fn validate(&self) -> Result<(), CommitError> {
        let kind = self.output(&["cat-file", "-t", &self.commit]).await?;
        if kind != "commit" {
            let branch = self.reference.trim_start_matches("refs/heads/").to_owned();
            return Err(CommitError::NotACommit { kind, branch });
        }
        let now = self.branch(&self.reference).await?;
        let none = self.old.bytes().all(|byte| byte == b'0');
        if now != self.old && !(now.is_empty() && none) {
            return Err(CommitError::Moved);
        }
        Ok(())
    }

    /// Returns the commit of a branch, or an empty text if there is no such branch.
    pub(crate) async fn branch(&self, reference: &str) -> Result<String, CommitError> {
        self.output(&["for-each-ref", "--format=%(objectname)", reference])
            .await
    }

    /// Starts a process that writes the commit's tree to its standard output, as a tar stream.
    pub(crate) fn tree(&self) -> io::Result<Child> {
        self.git()
            .args(["archive", "--format=tar", &self.commit])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
    }

    /// Returns a small file of the commit, if the commit has it.
    pub(crate) async fn file(&self, path: &'static str) -> Result<Option<String>, CommitError> {
        let mut child = self
            .git()
            .args(["cat-file", "blob", &format!("{}:{path}", self.commit)])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let mut text = Vec::new();
        if let Some(output) = child.stdout.take() {
            output.take(MAX_BLOB + 1).read_to_end(&mut text).await?;
        }
        if text.len() as u64 > MAX_BLOB {
            return Err(CommitError::LargeFile { path });
        }
        let found = child.wait().await?.success();
        Ok(found.then(|| String::from_utf8_lossy(&text).into_owned()))
    }

    /// Returns the output of a git command.
    async fn output(&self, arguments: &[&str]) -> Result<String, CommitError> {
        let output = self
            .git()
            .args(arguments)
            .kill_on_drop(true)
            .output()
            .await?;
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(CommitError::Git(error));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Returns a git command in the pushed repository that sees quarantined objects.
    fn git(&self) -> Command {
        let mut command = repository::command();
        let quarantine = self
            .environ
            .iter()
            .filter(|(name, _)| QUARANTINE.contains(&name.as_str()));
        command
            .current_dir(&self.repository)
            .envs(quarantine)
            .stdin(Stdio::null());
        command
    }
}
