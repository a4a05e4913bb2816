//! Reproducible archives of file trees, used for slugs and for the root filesystem of a pack.
//!
//! The format is `tar` (POSIX ustar with GNU long names), so that any tool can open an archive. Equal trees give equal
//! bytes: entries are sorted by path, have no times or owners, and one of two modes. [`ArchiveWriter`] writes an
//! archive; [`Archive`] indexes one in place, so that the content of a memory-mapped archive is served without a copy.

mod compressed;
mod reader;
mod writer;

pub use compressed::{compress, expand};
pub use reader::{Archive, ArchiveNode, NodeId};
pub use writer::{ArchiveWriter, FileMode, FinishedArchive};

/// Failure to write or read an archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The disk, or the source of a file's content, fails.
    #[error("archive: {0}")]
    Io(#[from] std::io::Error),
    /// A path is absolute or empty, or has an empty, `.` or `..` component or a NUL byte.
    #[error("archive: \"{0}\" is not a path inside the archive")]
    Path(String),
    /// A path does not sort after the previous one.
    #[error("archive: \"{0}\" is out of order or a duplicate")]
    Order(String),
    /// A parent of the path is not a directory.
    #[error("archive: \"{0}\" is below a file")]
    NotADirectory(String),
    /// An entry is not a file, directory or symbolic link.
    #[error("archive: \"{0}\" is neither a file, a directory nor a symbolic link")]
    Kind(String),
    /// The archive, or a file's content, ends within an entry.
    #[error("archive: \"{0}\" is truncated")]
    CutOff(String),
}

/// Follows the components of `target` from a folder, whose components are `folder`. Returns the components of the result,
/// or `None` if the target leaves the root. A leading `/` of the target counts for nothing.
pub fn resolve_from<'a>(mut folder: Vec<&'a str>, target: &'a str) -> Option<Vec<&'a str>> {
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(folder.pop()?),
            part => folder.push(part),
        }
    }
    Some(folder)
}

/// Checks that `path` is a valid path of an entry.
///
/// It must be relative; its components are separated by `/`, and none of them is empty, `.` or `..` or holds a NUL
/// byte.
///
/// # Errors
///
/// Returns [`ArchiveError::Path`] for an invalid path.
pub fn check_path(path: &str) -> Result<(), ArchiveError> {
    let good = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
    if path.split('/').all(good) {
        Ok(())
    } else {
        Err(ArchiveError::Path(path.to_owned()))
    }
}
