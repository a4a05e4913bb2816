//! Errors of an installation.

use std::io;

use super::fetch_error::FetchError;
use super::repository::RepositoryError;
use crate::lockfile::LockfileError;
use crate::tree::TreeError;

/// A gem that cannot be installed. The app's author corrects it, unless a variant names another fault.
#[derive(Debug, thiserror::Error)]
pub enum GemError {
    /// `Gemfile.lock` is invalid.
    #[error(transparent)]
    Lockfile(#[from] LockfileError),
    /// The Gemfile raised an exception.
    #[error("Gemfile: evaluation failed:\n{0}")]
    Gemfile(String),
    /// The Gemfile names gems, and the app has no lockfile.
    #[error("Gemfile.lock: missing beside the Gemfile; run bundle lock, and commit Gemfile.lock")]
    NoLockfile,
    /// The lockfile does not list a gem of the Gemfile.
    #[error(
        "Gemfile.lock: does not list {0}, which the Gemfile names; run bundle lock, and commit Gemfile.lock"
    )]
    NotLocked(String),
    /// The Gemfile asks for another version than the locked one.
    #[error(
        "Gemfile.lock disagrees with the Gemfile: the Gemfile asks for {name} {asked}, and Gemfile.lock has {locked}; run bundle lock, and commit Gemfile.lock"
    )]
    Versions {
        /// Name of the gem.
        name: String,
        /// Requirement of the Gemfile.
        asked: String,
        /// Locked version.
        locked: String,
    },
    /// The lockfile has no version of a gem that the app needs.
    #[error(
        "Gemfile.lock: has no version of {0}, which the app needs; run bundle lock, and commit Gemfile.lock"
    )]
    Unresolved(String),
    /// The requirement of the Gemfile or the locked version cannot be parsed.
    #[error("Gemfile: invalid version of {name}: {reason}")]
    Requirement {
        /// Name of the gem.
        name: String,
        /// Reason.
        reason: String,
    },
    /// No source has the gem. The operator can add a gem directory.
    #[error(
        "gem {name} {version}: not found, and Gemfile.lock names no server for it; put {name}-{version}.gem into vendor/cache ({how} does so), or ask the node's operator to add a gem directory that has it"
    )]
    Missing {
        /// Name of the gem.
        name: String,
        /// Version of the gem.
        version: String,
        /// Command that gets the gem's file.
        how: &'static str,
    },
    /// A gem has a native extension.
    #[error("gem {name}: has a native extension, which a dyno cannot load; {advice}")]
    Native {
        /// Name of the gem.
        name: String,
        /// Alternative to the gem.
        advice: String,
    },
    /// A gem needs another version of Ruby.
    #[error(
        "gem {name} {version}: needs Ruby {asked}, and the app runs on {ruby}; choose another Ruby (ruby \"…\" in the Gemfile) or another version of the gem, run bundle lock, and commit the result"
    )]
    Ruby {
        /// Name of the gem.
        name: String,
        /// Version of the gem.
        version: String,
        /// Requirement of the gem.
        asked: String,
        /// Version of the pack's Ruby.
        ruby: String,
    },
    /// A gem's git repository cannot be fetched; its host may be at fault.
    #[error("gem {name}: {error}")]
    Repository {
        /// Name of the gem.
        name: String,
        /// Reason.
        error: RepositoryError,
    },
    /// A gem's git repository has no specification of it.
    #[error(
        "gem {name}: the repository {uri} has no {name}.gemspec at revision {revision}; check the options of git: in the Gemfile, run bundle lock, and commit Gemfile.lock"
    )]
    RepositoryGem {
        /// Name of the gem.
        name: String,
        /// URI of the repository, without credentials.
        uri: String,
        /// Digest of the commit.
        revision: String,
    },
    /// A gem comes from a source that a Bundler plugin implements.
    #[error(
        "gem {name}: comes from a source of a Bundler plugin ({uri}), which a build does not run; put {name}'s .gem file into vendor/cache, and take it from a gem server in the Gemfile"
    )]
    Plugin {
        /// Name of the gem.
        name: String,
        /// URI of the source, without credentials.
        uri: String,
    },
    /// A gem comes from a folder outside the app.
    #[error(
        "gem {name}: comes from {path:?}, which is outside the app; copy it into the app, and name the copy by path: in the Gemfile"
    )]
    PathOutside {
        /// Name of the gem.
        name: String,
        /// Path of the folder.
        path: String,
    },
    /// A gem comes from a folder that was not pushed.
    #[error(
        "gem {name}: comes from the folder {path:?}, which is not in the repository; add it, and commit it"
    )]
    PathMissing {
        /// Name of the gem.
        name: String,
        /// Path of the folder.
        path: String,
    },
    /// A `.gem` file of the app is damaged or differs from the locked one.
    #[error("gem file {file}: damaged: {reason}; run bundle cache again, and commit the result")]
    Damaged {
        /// Path in the tree.
        file: String,
        /// Reason.
        reason: String,
    },
    /// A `.gem` file of a server is as published, but invalid: the fault of the gem's authors.
    #[error(
        "gem {name} {version} from {server}: unusable: {reason}; choose another version, or report it to the gem's authors"
    )]
    Unusable {
        /// Name of the gem.
        name: String,
        /// Version of the gem.
        version: String,
        /// Server or cache that delivered it.
        server: String,
        /// Reason.
        reason: String,
    },
    /// A gem cannot be fetched; the operator or the gem server may be at fault.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// Gems that the app cannot have, all at once.
    #[error("{}", describe(.0))]
    Refused(Vec<RefusedGem>),
    /// The specifications that the sandbox made of the gems' metadata are unusable: the fault of a gem's authors.
    #[error(
        "gem {name}: unusable specification: {reason}; choose another version, or report it to the gem's authors"
    )]
    Specification {
        /// Name and version of the gem.
        name: String,
        /// Reason.
        reason: String,
    },
    /// The app is too large with its gems, or one of its files is invalid.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The disk or a gem directory cannot be read: the platform's fault.
    #[error("gems: cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// A gem that the app cannot have.
#[derive(Debug)]
pub struct RefusedGem {
    /// Reason.
    pub error: GemError,
    /// Chain of dependencies that leads to the gem, from the gem to the Gemfile.
    pub path: String,
}

impl GemError {
    /// Returns whether the error concerns one gem alone, so that others can still be checked.
    pub(super) fn concerns_one_gem(&self) -> bool {
        match self {
            Self::Fetch(error) => error.is_absence(),
            Self::Missing { .. }
            | Self::Native { .. }
            | Self::Ruby { .. }
            | Self::Repository { .. }
            | Self::RepositoryGem { .. }
            | Self::Plugin { .. }
            | Self::PathOutside { .. }
            | Self::PathMissing { .. }
            | Self::Damaged { .. }
            | Self::Unusable { .. } => true,
            _ => false,
        }
    }
}

fn describe(refused: &[RefusedGem]) -> String {
    let texts = refused
        .iter()
        .map(|gem| format!("{}\n    {}", gem.error, gem.path));
    texts.collect::<Vec<_>>().join("\n")
}
