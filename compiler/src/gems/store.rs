//! The node's cache of gems: verified `.gem` files, each named by its SHA-256, shared by all builds.
//!
//! A file gets its name when it is whole and on disk, and is verified again whenever it is read, so a build that is
//! killed at any moment leaves nothing that another believes. Builds run beside each other without a lock: two that
//! add a gem write the same bytes, and one whose file was just removed to make room fetches it again.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::checksum::Checksum;

/// Bytes that the cache may hold: some thousands of gems, a few large apps' worth many times over.
const LIMIT: u64 = 2 << 30;

/// The node's cache of gems.
#[derive(Debug, Clone)]
pub struct GemCache {
    directory: PathBuf,
    scratch: PathBuf,
    limit: u64,
}

impl GemCache {
    /// The cache in `directory`. Files are written in `scratch` first, which is on the same file system and is removed
    /// with the build.
    pub fn new(directory: &Path, scratch: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            scratch: scratch.to_owned(),
            limit: LIMIT,
        }
    }

    /// The same cache with room for `limit` bytes.
    #[must_use]
    pub fn with_limit(self, limit: u64) -> Self {
        Self { limit, ..self }
    }

    fn path(&self, checksum: &Checksum) -> PathBuf {
        self.directory.join(format!("{checksum}.gem"))
    }

    /// The gem with this checksum, if it is here and undamaged.
    pub(super) fn get(&self, checksum: &Checksum) -> io::Result<Option<Vec<u8>>> {
        let path = self.path(checksum);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.named(error)),
        };
        let mut bytes = Vec::new();
        // A file that cannot be read is as damaged as one with other bytes: it is fetched again.
        let read = (&mut file).take(self.limit).read_to_end(&mut bytes);
        if read.is_err() || Checksum::of(&bytes) != *checksum {
            let _ = fs::remove_file(&path);
            return Ok(None);
        }
        // The time of its last use decides what is removed first; without it, that is the time it came.
        let _ = file.set_modified(SystemTime::now());
        Ok(Some(bytes))
    }

    /// Keeps a verified gem, and removes those that have not been used for the longest time if there is no room left.
    pub(super) fn put(&self, checksum: &Checksum, bytes: &[u8]) -> io::Result<()> {
        let keep = || {
            fs::create_dir_all(&self.directory)?;
            let mut file = tempfile::NamedTempFile::new_in(&self.scratch)?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            file.persist(self.path(checksum))?;
            self.trim()
        };
        keep().map_err(|error| self.named(error))
    }

    fn trim(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            // Another build may have removed it meanwhile.
            if let Ok(about) = entry.metadata()
                && about.is_file()
            {
                files.push((about.modified()?, entry.path(), about.len()));
            }
        }
        let mut held: u64 = files.iter().map(|(_, _, length)| length).sum();
        files.sort();
        for (_, path, length) in files {
            if held <= self.limit {
                break;
            }
            match fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => held -= length,
            }
        }
        Ok(())
    }

    fn named(&self, error: io::Error) -> io::Error {
        let text = format!("the gem cache {}: {error}", self.directory.display());
        io::Error::new(error.kind(), text)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    struct Cache {
        directory: tempfile::TempDir,
        store: GemCache,
    }

    fn cache() -> Cache {
        let directory = tempfile::tempdir().unwrap();
        let scratch = directory.path().join("scratch");
        fs::create_dir(&scratch).unwrap();
        let store = GemCache::new(&directory.path().join("gems"), &scratch);
        Cache { directory, store }
    }

    fn used_before(store: &GemCache, checksum: &Checksum, seconds: u64) {
        let file = File::open(store.path(checksum)).unwrap();
        let then = SystemTime::now() - Duration::from_secs(seconds);
        file.set_modified(then).unwrap();
    }

    #[test]
    fn a_gem_is_kept_under_its_checksum() {
        let Cache { directory, store } = cache();
        let checksum = Checksum::of(b"gem");
        assert_eq!(store.get(&checksum).unwrap(), None);
        store.put(&checksum, b"gem").unwrap();
        store.put(&checksum, b"gem").unwrap();
        assert_eq!(store.get(&checksum).unwrap().as_deref(), Some(&b"gem"[..]));
        let scratch = fs::read_dir(directory.path().join("scratch")).unwrap();
        assert_eq!(scratch.count(), 0);
    }

    #[test]
    fn a_damaged_file_is_not_believed() {
        let Cache {
            directory: _directory,
            store,
        } = cache();
        let checksum = Checksum::of(b"gem");
        for damaged in [&b""[..], b"ge", b"gems", b"mug"] {
            store.put(&checksum, b"gem").unwrap();
            fs::write(store.path(&checksum), damaged).unwrap();
            assert_eq!(store.get(&checksum).unwrap(), None);
            assert!(!store.path(&checksum).exists());
        }
    }

    #[test]
    fn what_was_not_used_for_the_longest_time_makes_room() {
        let Cache {
            directory: _directory,
            store,
        } = cache();
        let store = store.with_limit(10);
        let [a, b, c] = [b"aaaa", b"bbbb", b"cccc"].map(|bytes| Checksum::of(bytes));
        store.put(&a, b"aaaa").unwrap();
        store.put(&b, b"bbbb").unwrap();
        used_before(&store, &a, 200);
        used_before(&store, &b, 100);
        assert!(store.get(&a).unwrap().is_some());
        store.put(&c, b"cccc").unwrap();
        assert!(store.get(&a).unwrap().is_some());
        assert!(store.get(&b).unwrap().is_none());
        assert!(store.get(&c).unwrap().is_some());
    }
}
