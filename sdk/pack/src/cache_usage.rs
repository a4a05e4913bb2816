//! Marks and locks by which processes show that they use an entry of the cache.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The file of a pack that processes lock while they use the pack.
pub(crate) const LOCK: &str = ".used";
/// A mark that is younger is not renewed.
const FRESH: Duration = Duration::from_secs(3600);

/// Marks an entry of the cache as used, by the time of its last change. A cache that cannot be written stays as it is.
pub fn mark_used(path: &Path) {
    let now = SystemTime::now();
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    let is_fresh = |time: SystemTime| now.duration_since(time).is_ok_and(|age| age < FRESH);
    if modified.is_ok_and(|time| !is_fresh(time)) {
        let _ = File::open(path).and_then(|file| file.set_modified(now));
    }
}

/// Locks a pack's directory against its removal, after the end of one that is under way. A directory that cannot be written is nobody's to remove.
pub(crate) fn lock_used(path: &Path) -> Option<Arc<File>> {
    let mut options = File::options();
    let file = options.create(true).append(true);
    let file = file.open(path.join(LOCK)).ok()?;
    // A removal that is under way ends within seconds; the pack is then gone.
    file.lock_shared().ok()?;
    Some(Arc::new(file))
}
