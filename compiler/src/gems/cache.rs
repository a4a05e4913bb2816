//! The node's gem cache: verified `.gem` files, named by their SHA-256, which all builds share.
//!
//! A file gets its name when it is complete and on disk, and each read verifies it again. A build that is killed at any
//! moment therefore leaves no damaged file that another build uses. Builds run concurrently without a lock: two that
//! add a gem write the same bytes, and a build whose file was just removed to make room fetches the gem again.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::checksum::Checksum;

/// Bytes of the cache: enough for some thousands of gems, many times what a few large apps need.
const MAX_BYTES: u64 = 2 << 30;

/// The node's gem cache.
#[derive(Debug, Clone)]
pub struct GemCache {
    directory: PathBuf,
    scratch: PathBuf,
    limit: u64,
}

impl GemCache {
    /// Opens the cache in `directory`.
    ///
    /// It writes new files in `scratch` first, a directory on the same file system that is removed with the build.
    pub fn new(directory: &Path, scratch: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            scratch: scratch.to_owned(),
            limit: MAX_BYTES,
        }
    }

    /// Replaces the limit of bytes.
    #[must_use]
    pub fn with_limit(self, limit: u64) -> Self {
        Self { limit, ..self }
    }

    fn path(&self, checksum: &Checksum) -> PathBuf {
        self.directory.join(format!("{checksum}.gem"))
    }

    /// Reads the gem with this checksum, if the cache has it undamaged.
    pub(super) fn get(&self, checksum: &Checksum) -> io::Result<Option<Vec<u8>>> {
        let path = self.path(checksum);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.with_path(error)),
        };
        let mut bytes = Vec::new();
        // A file that cannot be read counts as damaged too: the build fetches the gem again.
        let read = (&mut file).take(self.limit).read_to_end(&mut bytes);
        if read.is_err() || Checksum::of(&bytes) != *checksum {
            let _ = fs::remove_file(&path);
            return Ok(None);
        }
        // `trim` removes the least recently used files. If this fails, the file counts as used when it was added.
        let _ = file.set_modified(SystemTime::now());
        Ok(Some(bytes))
    }

    /// Adds a verified gem, and removes the least recently used gems if the cache exceeds its limit.
    pub(super) fn put(&self, checksum: &Checksum, bytes: &[u8]) -> io::Result<()> {
        let add = || {
            fs::create_dir_all(&self.directory)?;
            let mut file = tempfile::NamedTempFile::new_in(&self.scratch)?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            file.persist(self.path(checksum))?;
            self.trim()
        };
        add().map_err(|error| self.with_path(error))
    }

    fn trim(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            // Another build may have removed the file since.
            if let Ok(metadata) = entry.metadata()
                && metadata.is_file()
            {
                files.push((metadata.modified()?, entry.path(), metadata.len()));
            }
        }
        let mut total: u64 = files.iter().map(|(_, _, length)| length).sum();
        files.sort();
        for (_, path, length) in files {
            if total <= self.limit {
                break;
            }
            match fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => total -= length,
            }
        }
        Ok(())
    }

    fn with_path(&self, error: io::Error) -> io::Error {
        let text = format!("gem cache {}: {error}", self.directory.display());
        io::Error::new(error.kind(), text)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    struct TestCache {
        directory: tempfile::TempDir,
        cache: GemCache,
    }

    fn test_cache() -> TestCache {
        let directory = tempfile::tempdir().unwrap();
        let scratch = directory.path().join("scratch");
        fs::create_dir(&scratch).unwrap();
        let cache = GemCache::new(&directory.path().join("gems"), &scratch);
        TestCache { directory, cache }
    }

    fn used_before(cache: &GemCache, checksum: &Checksum, seconds: u64) {
        let file = File::open(cache.path(checksum)).unwrap();
        let then = SystemTime::now() - Duration::from_secs(seconds);
        file.set_modified(then).unwrap();
    }

    #[test]
    fn gem_is_stored_under_its_checksum() {
        let TestCache { directory, cache } = test_cache();
        let checksum = Checksum::of(b"gem");
        assert_eq!(cache.get(&checksum).unwrap(), None);
        cache.put(&checksum, b"gem").unwrap();
        cache.put(&checksum, b"gem").unwrap();
        assert_eq!(cache.get(&checksum).unwrap().as_deref(), Some(&b"gem"[..]));
        let scratch = fs::read_dir(directory.path().join("scratch")).unwrap();
        assert_eq!(scratch.count(), 0);
    }

    #[test]
    fn damaged_file_is_removed() {
        let TestCache {
            directory: _directory,
            cache,
        } = test_cache();
        let checksum = Checksum::of(b"gem");
        for damaged in [&b""[..], b"ge", b"gems", b"mug"] {
            cache.put(&checksum, b"gem").unwrap();
            fs::write(cache.path(&checksum), damaged).unwrap();
            assert_eq!(cache.get(&checksum).unwrap(), None);
            assert!(!cache.path(&checksum).exists());
        }
    }

    #[test]
    fn least_recently_used_gem_is_evicted() {
        let TestCache {
            directory: _directory,
            cache,
        } = test_cache();
        let cache = cache.with_limit(10);
        let [a, b, c] = [b"aaaa", b"bbbb", b"cccc"].map(|bytes| Checksum::of(bytes));
        cache.put(&a, b"aaaa").unwrap();
        cache.put(&b, b"bbbb").unwrap();
        used_before(&cache, &a, 200);
        used_before(&cache, &b, 100);
        assert!(cache.get(&a).unwrap().is_some());
        cache.put(&c, b"cccc").unwrap();
        assert!(cache.get(&a).unwrap().is_some());
        assert!(cache.get(&b).unwrap().is_none());
        assert!(cache.get(&c).unwrap().is_some());
    }
}
