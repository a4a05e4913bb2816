//! The trash: files that nothing names any more, kept for a grace period before they are deleted.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::data_dir::FileKind;

/// The default grace period: time for an operator to notice that something is missing.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(24 * 60 * 60);

/// The files and bytes that an operation has freed, or moved to the trash.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Freed {
    /// Slugs, images and repositories.
    pub files: u64,
    /// Bytes on disk.
    pub bytes: u64,
}

impl Freed {
    /// Adds another result.
    pub(crate) fn add(&mut self, other: Self) {
        self.files += other.files;
        self.bytes += other.bytes;
    }
}

/// The folder `trash` of a data directory. An entry's name is `SECONDS.NUMBER.KIND.NAME`: the time since 1970 at which it came,
/// a number that makes it unique, its kind and the name that it had.
#[derive(Debug)]
pub struct Trash {
    folder: PathBuf,
    grace: Duration,
    number: AtomicU64,
}

impl Trash {
    /// Uses `folder`, which exists, and keeps files for `grace`.
    pub(crate) fn new(folder: PathBuf, grace: Duration) -> Self {
        Self {
            folder,
            grace,
            number: AtomicU64::new(0),
        }
    }

    /// Moves a file or directory into the trash. Does nothing if it does not exist. Open files and mappings stay valid.
    ///
    /// # Errors
    ///
    /// It cannot be moved; it then stays in its place.
    pub(crate) fn put(&self, kind: FileKind, path: &Path) -> io::Result<()> {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let seconds = seconds_of(SystemTime::now());
        let folder = kind.folder();
        loop {
            let number = self.number.fetch_add(1, Ordering::Relaxed);
            let to = self
                .folder
                .join(format!("{seconds}.{number}.{folder}.{name}"));
            // Renaming would replace an entry of an earlier process with the same number.
            if to.exists() {
                continue;
            }
            return match fs::rename(path, to) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                result => result,
            };
        }
    }

    /// Moves the entry that was put last under this name to `path` and returns whether there was one.
    ///
    /// # Errors
    ///
    /// The trash cannot be read, or the entry cannot be moved.
    pub(crate) fn take_back(&self, kind: FileKind, path: &Path) -> io::Result<bool> {
        let name = path.file_name().and_then(|name| name.to_str());
        match Self::find(&self.folder, kind, name.unwrap_or_default())? {
            Some(entry) => fs::rename(entry, path).map(|()| true),
            None => Ok(false),
        }
    }

    /// Returns the path of the entry in `folder` that was put last under a name.
    ///
    /// # Errors
    ///
    /// The trash cannot be read.
    pub(super) fn find(folder: &Path, kind: FileKind, name: &str) -> io::Result<Option<PathBuf>> {
        let entries = entries(folder)?.into_iter();
        let found = entries.filter(|entry| entry.kind == kind && entry.name == name);
        Ok(found
            .max_by_key(|entry| entry.since)
            .map(|entry| entry.path))
    }

    /// Deletes the entries whose grace period has passed.
    ///
    /// # Errors
    ///
    /// The trash cannot be read, or an entry cannot be deleted; the others are deleted nevertheless.
    pub fn delete_expired(&self) -> io::Result<Freed> {
        self.delete_older_than(self.grace)
    }

    /// Deletes all entries.
    ///
    /// # Errors
    ///
    /// As [`delete_expired`](Self::delete_expired).
    pub fn delete_all(&self) -> io::Result<Freed> {
        self.delete_older_than(Duration::ZERO)
    }

    /// Returns what the trash holds.
    ///
    /// # Errors
    ///
    /// The trash cannot be read.
    pub fn content(&self) -> io::Result<Freed> {
        let mut content = Freed::default();
        for entry in entries(&self.folder)? {
            content.files += 1;
            content.bytes += disk_bytes(&entry.path)?;
        }
        Ok(content)
    }

    fn delete_older_than(&self, age: Duration) -> io::Result<Freed> {
        let now = seconds_of(SystemTime::now());
        let mut freed = Freed::default();
        let mut failed = None;
        for entry in entries(&self.folder)? {
            if now.saturating_sub(entry.since) < age.as_secs() {
                continue;
            }
            match disk_bytes(&entry.path).and_then(|bytes| remove(&entry.path).map(|()| bytes)) {
                Ok(bytes) => freed.add(Freed { files: 1, bytes }),
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(freed), Err)
    }
}

/// Returns the entries of a trash. Other files in the folder, which the node has not put there, are left alone.
fn entries(folder: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        entries.extend(Entry::parse(
            entry.path(),
            &entry.file_name().to_string_lossy(),
        ));
    }
    Ok(entries)
}

/// An entry of the trash.
struct Entry {
    path: PathBuf,
    since: u64,
    kind: FileKind,
    name: String,
}

impl Entry {
    fn parse(path: PathBuf, file: &str) -> Option<Self> {
        let (since, rest) = file.split_once('.')?;
        let (_, rest) = rest.split_once('.')?;
        let (folder, name) = rest.split_once('.')?;
        let kind = FileKind::ALL
            .into_iter()
            .find(|kind| kind.folder() == folder)?;
        Some(Self {
            path,
            since: since.parse().ok()?,
            kind,
            name: name.to_owned(),
        })
    }
}

/// Removes a file, or a directory with its content.
fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path)?.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    }
}

/// Returns the bytes that a file, or a directory with its content, takes on disk. What disappears meanwhile counts nothing.
pub(crate) fn disk_bytes(path: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let gone = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Ok(0),
        _ => Err(error),
    };
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return gone(error),
    };
    let mut bytes = metadata.blocks() * 512;
    if metadata.is_dir() {
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) => return gone(error).map(|_| bytes),
        };
        for entry in entries {
            bytes += disk_bytes(&entry?.path())?;
        }
    }
    Ok(bytes)
}

fn seconds_of(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_is_kept_for_its_grace_period_and_can_be_taken_back() {
        let directory = tempfile::tempdir().unwrap();
        let (folder, slug) = (
            directory.path().join("trash"),
            directory.path().join("a.tar"),
        );
        fs::create_dir(&folder).unwrap();
        fs::write(&slug, "slug").unwrap();
        let trash = Trash::new(folder.clone(), Duration::from_secs(3600));
        trash.put(FileKind::Slug, &slug).unwrap();
        trash.put(FileKind::Slug, &slug).unwrap();
        assert!(!slug.exists());
        assert_eq!(trash.delete_expired().unwrap(), Freed::default());
        assert_eq!(trash.content().unwrap().files, 1);
        assert!(!trash.take_back(FileKind::Image, &slug).unwrap());
        assert!(trash.take_back(FileKind::Slug, &slug).unwrap());
        assert_eq!(fs::read_to_string(&slug).unwrap(), "slug");
        assert!(!trash.take_back(FileKind::Slug, &slug).unwrap());
    }

    #[test]
    fn expired_entries_are_deleted_and_foreign_files_stay() {
        let directory = tempfile::tempdir().unwrap();
        let foreign = directory.path().join("notes.txt");
        fs::write(&foreign, "").unwrap();
        let old = directory.path().join("1.0.images.x");
        fs::create_dir(&old).unwrap();
        fs::write(old.join("image.json"), "x").unwrap();
        let trash = Trash::new(directory.path().to_owned(), Duration::from_secs(3600));
        let new = directory.path().join("new");
        fs::write(&new, "").unwrap();
        trash.put(FileKind::Slug, &new).unwrap();
        assert_eq!(trash.delete_expired().unwrap().files, 1);
        assert!(foreign.exists() && !old.exists());
        assert_eq!(trash.delete_all().unwrap().files, 1);
        assert!(foreign.exists());
    }
}
