//! Failures of the build of MRI.

use std::io;
use std::path::{Path, PathBuf};

use super::profile::ProfileError;
use crate::archive::ArchiveError;

/// Failure of a build of MRI.
#[derive(Debug, thiserror::Error)]
pub enum MriError {
    /// Programs are missing. Holds their names, and the Debian packages that contain them.
    #[error("programs for building Ruby are missing: {}\nOn Debian: apt-get install {}", .0.join(", "), .1.join(" "))]
    Tools(Vec<String>, Vec<String>),
    /// The compiler does not exist for this machine's processor.
    #[error(
        "no compiler for {0} processors: build on another machine, and transfer the pack with `corundum pack export` and `corundum pack import`"
    )]
    Machine(&'static str),
    /// The URL of Debian's archive is unknown.
    #[error(
        "no mirror of Debian found in apt's configuration: run `apt-get update`, or set CORUNDUM_DEBIAN_MIRROR to a mirror's URL"
    )]
    NoMirror,
    /// A program cannot be run.
    #[error("{name}: {source}")]
    Start {
        /// The program.
        name: String,
        /// Cause of the failure.
        source: io::Error,
    },
    /// A source cannot be downloaded.
    #[error(
        "cannot download {name}:\n{reason}\nFinished downloads are kept: try again when the registry responds"
    )]
    Fetch {
        /// The file or package.
        name: String,
        /// Last lines of the client's output.
        reason: String,
    },
    /// A source's digest differs from the one in the recipe.
    #[error(
        "{0}: digest mismatch: the file differs from the one that the recipe was written for, and was discarded. Check the mirror, the index and any proxy in between"
    )]
    Digest(String),
    /// A step fails.
    #[error("step {step} failed ({reason}). Last lines of its output:\n{output}\nFull output: {}. The next attempt resumes with this step", log.display())]
    Step {
        /// The step.
        step: String,
        /// Exit status, or reason for aborting the step.
        reason: String,
        /// Last lines of the step's output.
        output: String,
        /// File with the full output.
        log: PathBuf,
    },
    /// A file of the source archive takes the place of a generated one, so that the build lacks changes of the patches. The
    /// recipe is at fault.
    #[error(
        "source/{0}: hides the file that the build generates from the patched source: remove it in the step `sources`"
    )]
    Hidden(String),
    /// The disk fails.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Cause of the failure.
        source: io::Error,
    },
    /// The archive of the standard library cannot be written.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The committed profile is damaged.
    #[error(transparent)]
    Profile(#[from] ProfileError),
}

impl MriError {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}
