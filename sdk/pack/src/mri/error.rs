//! Failures of the build of MRI.

use std::io;
use std::path::{Path, PathBuf};

use super::profile::ProfileError;
use crate::archive::ArchiveError;
use crate::download::DownloadError;
use crate::process::ProgramError;

/// Failure of a build of MRI.
#[derive(Debug, thiserror::Error)]
pub enum MriError {
    /// Programs are missing. Holds their names, and the Debian packages that contain them.
    #[error("programs for building Ruby are missing: {}\nOn Debian: apt-get install {}", .0.join(", "), .1.join(" "))]
    Tools(Vec<String>, Vec<String>),
    /// A program cannot be run.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// A source cannot be downloaded.
    #[error(transparent)]
    Download(#[from] DownloadError),
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
