//! Failures of building the sysroot.

use std::io;
use std::path::{Path, PathBuf};

use crate::download::DownloadError;
use crate::process::ProgramError;
use crate::toolchain::ToolchainError;

/// Failure to build libraries of the sysroot.
#[derive(Debug, thiserror::Error)]
pub enum SysrootError {
    /// The sysroot has no library of this name. The caller is at fault.
    #[error("{0}: the sysroot has no such library")]
    Unknown(String),
    /// Programs are missing. Holds their names, and the Debian packages that contain them.
    #[error("programs for building libraries are missing: {}\nOn Debian: apt-get install {}", .0.join(", "), .1.join(" "))]
    Tools(Vec<String>, Vec<String>),
    /// The toolchain cannot be installed.
    #[error(transparent)]
    Toolchain(#[from] ToolchainError),
    /// A source cannot be downloaded.
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// A program cannot be run.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// A recipe fails.
    #[error("building {library} failed ({reason}). Last lines of the output:\n{output}\nFull output: {}. Other libraries are kept; the next attempt builds this one again", log.display())]
    Recipe {
        /// The library.
        library: &'static str,
        /// Exit status, or reason for aborting the recipe.
        reason: String,
        /// Last lines of the recipe's output.
        output: String,
        /// File with the full output.
        log: PathBuf,
    },
    /// The disk fails.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Cause of the failure.
        source: io::Error,
    },
}

impl SysrootError {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}
