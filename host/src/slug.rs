//! Slugs on disk. They are mapped, so that their files occupy the kernel's page cache instead of the node's memory.

use std::io;
use std::path::{Path, PathBuf};

use corundum_abi::names::SlugDigest;
use corundum_pack::archive::{Archive, ArchiveError};
use sha2::{Digest, Sha256};

use crate::native;

/// Failure to open a slug.
#[derive(Debug, thiserror::Error)]
pub enum OpenSlugError {
    /// The file is missing or unreadable.
    #[error("cannot read the slug {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The digest of the file differs from its name.
    #[error("the slug {} is damaged: push the app again", .0.display())]
    Damaged(PathBuf),
    /// The file is not an archive.
    #[error("the slug {} is not an archive: {source}", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// The problem.
        source: ArchiveError,
    },
}

/// Opens the slug at `path`, after checking that its SHA-256 digest is `digest` if one is given.
///
/// # Errors
///
/// Returns an [`OpenSlugError`] if the file is missing, damaged or not an archive.
pub fn open(path: &Path, digest: Option<&SlugDigest>) -> Result<Archive, OpenSlugError> {
    let bytes = native::map(path).map_err(|source| OpenSlugError::Io {
        path: path.to_owned(),
        source,
    })?;
    if digest.is_some_and(|digest| format!("{:x}", Sha256::digest(&bytes)) != digest.as_str()) {
        return Err(OpenSlugError::Damaged(path.to_owned()));
    }
    Archive::new(bytes).map_err(|source| OpenSlugError::Archive {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use corundum_pack::archive::{ArchiveWriter, FileMode};

    use super::*;

    #[test]
    fn slug_with_another_digest_is_rejected() {
        let mut writer = ArchiveWriter::new(Vec::new());
        writer.add_file("a", &b"1"[..], 1, FileMode::Plain).unwrap();
        let finished = writer.finish().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("slug.tar");
        std::fs::write(&path, &finished.output).unwrap();
        let slug = open(&path, Some(&finished.digest)).unwrap();
        assert!(slug.lookup("a").is_some());
        let mut damaged = finished.output;
        damaged[600] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        let error = open(&path, Some(&finished.digest)).unwrap_err();
        assert!(matches!(error, OpenSlugError::Damaged(_)), "{error}");
        let missing = open(&directory.path().join("none"), None);
        assert!(matches!(missing, Err(OpenSlugError::Io { .. })));
    }
}
