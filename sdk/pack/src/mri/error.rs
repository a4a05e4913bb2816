//! Failures of building MRI.

use std::io;
use std::path::{Path, PathBuf};

use crate::archive::ArchiveError;

/// A build that did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum MriError {
    /// Programs are missing.
    #[error("building Ruby takes programs that are not installed: {}\nOn Debian: apt-get install {}", .0.join(", "), .1.join(" "))]
    Tools(Vec<String>, Vec<String>),
    /// No compiler for this machine.
    #[error(
        "the compiler is not to be had for {0} processors: build on another machine, and bring the pack here with `corundum pack export` and `pack import`"
    )]
    Machine(&'static str),
    /// Where Debian's archive is.
    #[error(
        "apt knows no mirror of Debian: run `apt-get update`, or set CORUNDUM_DEBIAN_MIRROR to the URL of one"
    )]
    NoMirror,
    /// A program could not be run.
    #[error("{name}: {source}")]
    Start {
        /// Which.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// A source could not be fetched.
    #[error(
        "{name} could not be fetched:\n{reason}\nWhat was fetched before is kept: try again when the registry answers"
    )]
    Fetch {
        /// What.
        name: String,
        /// What the client said.
        reason: String,
    },
    /// A source is not what the recipe was made for.
    #[error(
        "{0} has another digest than the recipe expects: it was not used. Its registry, or something on the way there, gave other bytes"
    )]
    Digest(String),
    /// A step failed.
    #[error("step {step} failed ({reason}). It said last:\n{said}\nAll that it said is in {}; the next attempt goes on with this step", log.display())]
    Step {
        /// Which.
        step: String,
        /// How it ended.
        reason: String,
        /// Its last lines.
        said: String,
        /// Its log.
        log: PathBuf,
    },
    /// The disk.
    #[error("{}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// The library.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

impl MriError {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}
