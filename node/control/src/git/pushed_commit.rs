//! A pushed commit, whose objects git keeps in quarantine until the hook accepts the push.

use std::collections::BTreeMap;
use std::path::PathBuf;

use corundum_abi::names::AppName;
use corundum_compiler::ruby_version::{self, VersionFiles};
use corundum_compiler::text;
use corundum_pack::language::{KnownLanguage, VersionFile};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use super::command::{self, GitError};
use super::pushed_tree::{PushedTree, PushedTreeError};
use super::updates::{RefUpdate, branch_of, is_none};

/// The variables that give git's commands access to quarantined objects.
pub(crate) const QUARANTINE: [&str; 4] = [
    "GIT_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_QUARANTINE_PATH",
];

/// Bytes of a file that is read before the build.
const MAX_TEXT: u64 = 1 << 20;

/// An update of a branch that deploys, as the hook describes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Push {
    pub(crate) app: AppName,
    /// The number of the push on this node.
    pub(crate) number: u64,
    pub(crate) update: RefUpdate,
    pub(crate) repository: PathBuf,
    /// The variables of [`QUARANTINE`].
    pub(crate) environ: BTreeMap<String, String>,
}

/// The files of a commit that the node reads before the build.
pub(crate) struct CommitTexts {
    pub(crate) versions: VersionFiles,
    /// Files that may name versions of other languages, by their paths.
    pub(crate) others: BTreeMap<String, String>,
    pub(crate) app_json: Option<String>,
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
    /// The pushed history ends early, which git refuses after the hook.
    #[error(
        "Push rejected, source repository is a shallow clone. Unshallow it with `git fetch --all --unshallow` and try pushing again."
    )]
    Shallow,
    /// The tree cannot be read or exceeds a bound.
    #[error(transparent)]
    Tree(#[from] PushedTreeError),
    /// A git command failed.
    #[error(transparent)]
    Git(#[from] GitError),
}

impl Push {
    /// Returns the pushed commit.
    pub(crate) fn commit(&self) -> &str {
        &self.update.new
    }

    /// Checks what git or the move of the branch would refuse after the build.
    ///
    /// # Errors
    ///
    /// [`CommitError`].
    pub(crate) async fn validate(&self) -> Result<(), CommitError> {
        let RefUpdate {
            old,
            new,
            reference,
        } = &self.update;
        let kind = self.output("cat-file", &["-t", new]).await?;
        if kind != "commit" {
            let branch = branch_of(reference).to_owned();
            return Err(CommitError::NotACommit { kind, branch });
        }
        let format = "--format=%(objectname)";
        let now = self.output("for-each-ref", &[format, reference]).await?;
        if now != *old && !(now.is_empty() && is_none(old)) {
            return Err(CommitError::Moved);
        }
        // The walk fails at a parent that neither the push nor the repository has.
        let walk = ["--quiet", new, "--not", "--all"];
        match self.output("rev-list", &walk).await {
            Ok(_) => Ok(()),
            Err(GitError::Failed { output, .. }) => {
                tracing::info!(app = %self.app, output, "the pushed history is incomplete");
                Err(CommitError::Shallow)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Lists the tree, and reads the files that choose how it is built. `languages` are those of apps that can be built.
    ///
    /// # Errors
    ///
    /// [`CommitError`].
    pub(crate) async fn read(
        &self,
        languages: &[KnownLanguage],
    ) -> Result<(PushedTree, CommitTexts), CommitError> {
        let tree = PushedTree::list(|| self.git(), self.commit()).await?;
        let decoded = |bytes: Option<Vec<u8>>| bytes.map(|bytes| text::decode_lossy(&bytes));
        let paths = [
            "Gemfile.lock",
            "Gemfile",
            ".ruby-version",
            ".tool-versions",
            "app.json",
        ];
        let texts = tree.texts(|| self.git(), paths, MAX_TEXT).await?;
        let [lockfile, gemfile, ruby_version, tool_versions, app_json] = texts.map(decoded);
        let other = match gemfile.as_deref().and_then(ruby_version::other_file) {
            Some(path) => {
                let [text] = tree.texts(|| self.git(), [&*path], MAX_TEXT).await?;
                decoded(text)
            }
            None => None,
        };
        let versions = VersionFiles {
            lockfile,
            gemfile,
            ruby_version,
            tool_versions,
            other,
        };
        let files = languages
            .iter()
            .flat_map(|known| &known.profile.detect.version);
        let mut others = BTreeMap::new();
        for VersionFile { file, .. } in files {
            let [text] = tree.texts(|| self.git(), [&**file], MAX_TEXT).await?;
            if let Some(text) = decoded(text) {
                others.insert(file.clone(), text);
            }
        }
        let texts = CommitTexts {
            versions,
            others,
            app_json,
        };
        Ok((tree, texts))
    }

    /// Returns a git command in the pushed repository that sees quarantined objects.
    pub(crate) fn git(&self) -> Command {
        let mut command = command::command();
        let quarantine = self
            .environ
            .iter()
            .filter(|(name, _)| QUARANTINE.contains(&name.as_str()));
        command.current_dir(&self.repository).envs(quarantine);
        command
    }

    async fn output(&self, name: &'static str, arguments: &[&str]) -> Result<String, GitError> {
        let mut git = self.git();
        git.arg(name).args(arguments);
        command::run(name, git).await
    }
}
