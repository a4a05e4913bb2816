//! The full files of images: made at their first use, kept while there is room.
//!
//! A full file can always be made again of the image's patch and the pack's base, so that the directory is a cache: it
//! may be emptied at any time. Its size is bounded. When the bound is exceeded, the files go that were used longest
//! ago, except those that are mapped.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;

use super::patch::ImagePatch;
use super::{Image, ImageError, full};
use crate::engine::Engine;
use crate::pack::Pack;

/// Bytes of full files that a node keeps unless it is told otherwise: those of some 300 small apps.
pub const DEFAULT_IMAGE_CACHE: u64 = 4 << 30;

/// The start of the names of unfinished files.
const UNFINISHED: &str = ".making-";
/// The age at which an unfinished file has no maker any more. During an upgrade, two processes share the directory.
const ABANDONED: Duration = Duration::from_secs(600);

/// The full files of a node.
pub struct ImageCache {
    engine: Engine,
    /// Key of the engine.
    key: String,
    directory: PathBuf,
    /// Most bytes of all files.
    limit: u64,
    entries: Mutex<CacheEntries>,
    /// Makes files, as many at once as there are processors.
    makers: Semaphore,
}

#[derive(Default)]
struct CacheEntries {
    by_name: HashMap<String, CacheEntry>,
    bytes: u64,
    /// Counts uses; the entry with the lowest number was used longest ago.
    uses: u64,
}

#[derive(Default)]
struct CacheEntry {
    /// Bytes on disk; 0 while the file is being made.
    bytes: u64,
    used: u64,
    image: Weak<Image>,
    /// Held while the file is opened or made, so that this happens once.
    opening: Arc<tokio::sync::Mutex<()>>,
}

impl CacheEntry {
    fn is_in_use(&self) -> bool {
        self.image.strong_count() > 0 || Arc::strong_count(&self.opening) > 1
    }
}

/// The size of an [`ImageCache`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageCacheUsage {
    /// Full files.
    pub files: usize,
    /// Their bytes on disk.
    pub bytes: u64,
    /// Bytes of the files that are mapped.
    pub mapped: u64,
    /// Most bytes of all files.
    pub limit: u64,
}

impl ImageCache {
    /// Opens the cache in `directory`, which must exist, with at most `limit` bytes.
    pub fn new(engine: Engine, directory: PathBuf, limit: u64) -> Self {
        let makers = std::thread::available_parallelism().map_or(2, usize::from);
        let cache = Self {
            key: engine.compatibility_key(),
            engine,
            directory,
            limit,
            entries: Mutex::default(),
            makers: Semaphore::new(makers),
        };
        cache.find_files();
        cache
    }

    /// Counts the files that an earlier process has left, and removes its unfinished ones.
    fn find_files(&self) {
        let mut found: Vec<(SystemTime, String, u64)> = Vec::new();
        for entry in fs::read_dir(&self.directory)
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            let age = modified.elapsed().unwrap_or_default();
            if !name.starts_with(UNFINISHED) {
                found.push((modified, name, metadata.blocks() * 512));
            } else if age > ABANDONED {
                let _ = fs::remove_file(entry.path());
            }
        }
        found.sort();
        let mut entries = self.entries();
        for (_, name, bytes) in found {
            entries.uses += 1;
            entries.bytes += bytes;
            let used = entries.uses;
            let entry = CacheEntry {
                bytes,
                used,
                ..CacheEntry::default()
            };
            entries.by_name.insert(name, entry);
        }
        self.evict(&mut entries);
    }

    /// Returns the image `name` of the patch at `patch`, whose full file is made if it is missing or damaged. Concurrent
    /// calls for one image make it once.
    ///
    /// # Errors
    ///
    /// Returns [`ImageError::Stale`] if the patch is missing, damaged, or based on another memory than the pack has. The
    /// release must be booted again then.
    pub async fn open(
        self: &Arc<Self>,
        name: &str,
        patch: &Path,
        pack: &Arc<Pack>,
    ) -> Result<Arc<Image>, ImageError> {
        let file = self.file_name(name, &pack.manifest().digest);
        let (image, opening) = self.touch(&file);
        if let Some(image) = image {
            return Ok(image);
        }
        let held = opening.lock_owned().await;
        if let (Some(image), _) = self.touch(&file) {
            return Ok(image);
        }
        let interrupted = || ImageError::Interrupted;
        let permit = self.makers.acquire().await.map_err(|_| interrupted())?;
        let work = {
            let (cache, file) = (self.clone(), file.clone());
            let (patch, pack) = (patch.to_owned(), pack.clone());
            move || cache.load(&cache.directory.join(&file), &patch, &pack)
        };
        let loaded = tokio::task::spawn_blocking(work).await;
        drop(permit);
        let loaded = loaded.map_err(|_| interrupted()).flatten();
        let mut entries = self.entries();
        let image = loaded.map(Arc::new);
        self.record(&mut entries, &file, image.as_ref().ok());
        drop(held);
        self.evict(&mut entries);
        image
    }

    /// Takes the full file that a build has made for a pack, so that the first use does not make it again. `image` is its
    /// mapping, if there is one.
    pub fn adopt(&self, name: &str, pack: &str, full: &Path, image: Option<&Arc<Image>>) {
        let file = self.file_name(name, pack);
        if let Err(error) = fs::rename(full, self.directory.join(&file)) {
            tracing::debug!(%error, "could not keep the full file of a new image");
            let _ = fs::remove_file(full);
            return;
        }
        let mut entries = self.entries();
        self.record(&mut entries, &file, image);
        self.evict(&mut entries);
    }

    /// Removes the full files of an image that no release names any more. Running dynos keep their mapping.
    pub fn forget(&self, name: &str) {
        let mut entries = self.entries();
        let prefix = format!("{name}-");
        let files = entries.by_name.keys();
        let files: Vec<String> = files
            .filter(|file| file.starts_with(&prefix))
            .cloned()
            .collect();
        for file in files {
            self.remove(&mut entries, &file);
        }
    }

    /// Removes the files that were used longest ago and are not mapped, down to the limit. Returns whether the rest is
    /// within it.
    pub fn trim(&self) -> bool {
        let mut entries = self.entries();
        self.evict(&mut entries);
        entries.bytes <= self.limit
    }

    /// Returns the number and the size of the files.
    pub fn usage(&self) -> ImageCacheUsage {
        let entries = self.entries();
        let all = entries.by_name.values();
        let mapped = all.filter(|entry| entry.image.strong_count() > 0);
        ImageCacheUsage {
            files: entries.by_name.len(),
            bytes: entries.bytes,
            mapped: mapped.map(|entry| entry.bytes).sum(),
            limit: self.limit,
        }
    }

    /// Notes a use of a file and returns its image, if it is mapped.
    fn touch(&self, file: &str) -> (Option<Arc<Image>>, Arc<tokio::sync::Mutex<()>>) {
        let mut entries = self.entries();
        entries.uses += 1;
        let used = entries.uses;
        let entry = entries.by_name.entry(file.to_owned()).or_default();
        entry.used = used;
        (entry.image.upgrade(), entry.opening.clone())
    }

    /// Notes the size of a file, and the image that maps it.
    fn record(&self, entries: &mut CacheEntries, file: &str, image: Option<&Arc<Image>>) {
        let metadata = fs::metadata(self.directory.join(file));
        let bytes = metadata.map_or(0, |metadata| metadata.blocks() * 512);
        entries.uses += 1;
        let used = entries.uses;
        let entry = entries.by_name.entry(file.to_owned()).or_default();
        let before = std::mem::replace(&mut entry.bytes, bytes);
        entry.used = used;
        if let Some(image) = image {
            entry.image = Arc::downgrade(image);
        }
        entries.bytes = entries.bytes.saturating_sub(before).saturating_add(bytes);
    }

    /// Removes files until the rest is within the limit or in use.
    fn evict(&self, entries: &mut CacheEntries) {
        entries
            .by_name
            .retain(|_, entry| entry.bytes > 0 || entry.is_in_use());
        while entries.bytes > self.limit {
            let unused = entries
                .by_name
                .iter()
                .filter(|(_, entry)| !entry.is_in_use());
            let Some((file, _)) = unused.min_by_key(|(_, entry)| entry.used) else {
                return;
            };
            let file = file.clone();
            tracing::debug!(file, "full file of an image removed");
            self.remove(entries, &file);
        }
    }

    fn remove(&self, entries: &mut CacheEntries, file: &str) {
        let _ = fs::remove_file(self.directory.join(file));
        if let Some(entry) = entries.by_name.remove(file) {
            entries.bytes = entries.bytes.saturating_sub(entry.bytes);
        }
    }

    /// Maps the full file at `full`, after making it if it is not the one that the patch describes.
    fn load(&self, full: &Path, patch: &Path, pack: &Pack) -> Result<Image, ImageError> {
        let (engine, path) = (&self.engine, patch);
        let mut patch = ImagePatch::read(path)?;
        if patch.description().pack != pack.manifest().digest {
            return Err(ImageError::stale(path, "it belongs to another pack"));
        }
        let frame = patch.frame(&self.key);
        if frame.is_some_and(|frame| frame.verify(full)) {
            // The time of the file is the one of its last use, for the next process.
            let _ = File::options()
                .write(true)
                .open(full)
                .and_then(|file| file.set_modified(SystemTime::now()));
        } else {
            let base = pack.base_memory();
            let changed = patch.changed_pages(base);
            let changed = changed.ok_or_else(|| ImageError::stale(path, "its base is gone"))?;
            let pages = patch.all_pages(base, &changed);
            let failed = |error: io::Error| ImageError::Write {
                path: full.to_owned(),
                reason: error.to_string(),
            };
            let made = tempfile::Builder::new()
                .prefix(UNFINISHED)
                .tempfile_in(&self.directory)
                .map_err(failed)?;
            match frame {
                Some(frame) => frame.write(made.as_file(), &pages).map_err(failed)?,
                None => {
                    let frame = full::compile(engine, patch.shape(), &pages, made.as_file());
                    if let Some(frame) = frame.map_err(failed)? {
                        patch.set_frame(frame);
                        patch.write(path)?;
                    }
                }
            }
            made.persist(full).map_err(|error| failed(error.error))?;
        }
        Image::map(
            engine,
            pack,
            full,
            patch.description().clone(),
            patch.files().to_vec(),
        )
    }

    /// Returns the name of a full file: image, pack and engine.
    fn file_name(&self, name: &str, pack: &str) -> String {
        let pack = pack.get(..16).unwrap_or(pack);
        format!("{name}-{pack}-{}.cwasm", self.key)
    }

    fn entries(&self) -> MutexGuard<'_, CacheEntries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
