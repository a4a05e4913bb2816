//! Slugs on disk. They are mapped, so that their files occupy the kernel's page cache instead of the node's memory.
//!
//! At rest, a slug is compressed. Opening it expands it into a file without a name, which the kernel removes when the last
//! user is gone or the process ends. [`OpenSlugs`] makes the users of one slug share that file.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use corundum_abi::names::SlugDigest;
use corundum_pack::archive::{self, Archive, ArchiveError};
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
/// Returns an [`OpenSlugError`] if the file is missing, damaged or not an archive, or if the disk has no room for it.
pub fn open(path: &Path, digest: Option<&SlugDigest>) -> Result<Archive, OpenSlugError> {
    let archive = map(path)?;
    check(&archive, path, digest)?;
    Ok(archive)
}

fn map(path: &Path) -> Result<Archive, OpenSlugError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mapped = archive::expand(path, directory).and_then(|file| native::map_file(&file));
    let bytes = mapped.map_err(|source| match source.kind() {
        io::ErrorKind::InvalidData => OpenSlugError::Damaged(path.to_owned()),
        _ => OpenSlugError::Io {
            path: path.to_owned(),
            source,
        },
    })?;
    Archive::new(bytes).map_err(|source| OpenSlugError::Archive {
        path: path.to_owned(),
        source,
    })
}

fn check(slug: &Archive, path: &Path, digest: Option<&SlugDigest>) -> Result<(), OpenSlugError> {
    match digest {
        Some(digest) if format!("{:x}", Sha256::digest(slug.as_ref())) != digest.as_str() => {
            Err(OpenSlugError::Damaged(path.to_owned()))
        }
        _ => Ok(()),
    }
}

/// The slugs that a process has open, each once.
#[derive(Debug, Default)]
pub struct OpenSlugs {
    by_digest: Mutex<HashMap<SlugDigest, OpenSlug>>,
}

#[derive(Debug, Clone, Default)]
struct OpenSlug {
    archive: Weak<Archive>,
    is_checked: bool,
}

impl OpenSlugs {
    /// Opens the slug `digest` at `path`, or returns the one that is open. Its digest is computed once if a caller wants
    /// it `checked`.
    ///
    /// # Errors
    ///
    /// As [`open`].
    pub fn open(
        &self,
        path: &Path,
        digest: &SlugDigest,
        checked: bool,
    ) -> Result<Arc<Archive>, OpenSlugError> {
        let known = self.slugs().get(digest).cloned().unwrap_or_default();
        let mut is_checked = known.is_checked;
        let slug = match known.archive.upgrade() {
            Some(slug) => slug,
            None => {
                is_checked = false;
                Arc::new(map(path)?)
            }
        };
        if checked && !is_checked {
            check(&slug, path, Some(digest))?;
            is_checked = true;
        }
        let mut slugs = self.slugs();
        slugs.retain(|_, open| open.archive.strong_count() > 0);
        let open = OpenSlug {
            archive: Arc::downgrade(&slug),
            is_checked,
        };
        slugs.insert(digest.clone(), open);
        Ok(slug)
    }

    fn slugs(&self) -> std::sync::MutexGuard<'_, HashMap<SlugDigest, OpenSlug>> {
        self.by_digest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
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
        let whole = directory.path().join("whole");
        std::fs::write(&whole, &damaged).unwrap();
        let slugs = OpenSlugs::default();
        let unchecked = slugs.open(&whole, &finished.digest, false).unwrap();
        let error = slugs.open(&whole, &finished.digest, true);
        assert!(matches!(error, Err(OpenSlugError::Damaged(_))));
        drop(unchecked);
        let missing = open(&directory.path().join("none"), None);
        assert!(matches!(missing, Err(OpenSlugError::Io { .. })));
    }

    #[test]
    fn users_of_a_compressed_slug_share_one_file() {
        let mut writer = ArchiveWriter::new(Vec::new());
        let text = b"puts 1\n".repeat(10_000);
        let length = text.len() as u64;
        writer
            .add_file("a", &text[..], length, FileMode::Plain)
            .unwrap();
        let finished = writer.finish().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let plain = directory.path().join("plain");
        std::fs::write(&plain, &finished.output).unwrap();
        let path = directory.path().join("slug.tar");
        let (mut from, mut to) = (
            std::fs::File::open(&plain).unwrap(),
            std::fs::File::create(&path).unwrap(),
        );
        assert!(archive::compress(&mut from, finished.length, &mut to).unwrap());
        std::fs::remove_file(&plain).unwrap();

        let slugs = OpenSlugs::default();
        let first = slugs.open(&path, &finished.digest, false).unwrap();
        let second = slugs.open(&path, &finished.digest, true).unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(first.content(first.lookup("a").unwrap()), text);
        drop((first, second));
        // The file of the archive had no name.
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        std::fs::remove_file(&path).unwrap();
        let gone = slugs.open(&path, &finished.digest, true);
        assert!(matches!(gone, Err(OpenSlugError::Io { .. })));
    }
}
