//! The archive: a file tree in one file, for slugs and for a pack's root filesystem.
//!
//! The form is a plain `tar` (POSIX ustar, with GNU long names), so that any tool opens it; what makes it an archive
//! of ours is that equal trees give equal bytes: entries sorted by path, no times, no owners, two modes. [`ArchiveWriter`]
//! makes one; [`Archive`] indexes one in place, so that a mapped file serves its content without a copy.

mod reader;
mod writer;

pub use reader::{Archive, ArchiveNode, NodeId};
pub use writer::{ArchiveWriter, FileMode, FinishedArchive};

/// An archive that cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The disk, or the source of a file's content.
    #[error("archive: {0}")]
    Io(#[from] std::io::Error),
    /// A path that is absolute, empty, or has an empty, `.` or `..` part or a NUL.
    #[error("archive: \"{0}\" is not a path inside the archive")]
    Path(String),
    /// The writer was given a path that does not sort after the last one.
    #[error("archive: \"{0}\" comes out of order or twice")]
    Order(String),
    /// A path goes through something that is not a directory.
    #[error("archive: \"{0}\" lies under a file")]
    NotADirectory(String),
    /// An entry that is no file, directory or symbolic link.
    #[error("archive: \"{0}\" is neither a file, a directory nor a symbolic link")]
    Kind(String),
    /// The archive ends inside an entry.
    #[error("archive: \"{0}\" is cut off")]
    CutOff(String),
}

/// Checks that `path` names an entry: relative, in `/`-separated parts, none of them empty, `.` or `..`.
///
/// # Errors
///
/// [`ArchiveError::Path`].
pub fn check_path(path: &str) -> Result<(), ArchiveError> {
    let good = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
    if path.split('/').all(good) {
        Ok(())
    } else {
        Err(ArchiveError::Path(path.to_owned()))
    }
}
