//! A file of a volume that at least one dyno has open.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasi_common::snapshots::preview_1::types::Errno;

use super::{Volume, blocks, of_kernel};

/// State that all open files of one inode share.
pub(super) struct SharedInode {
    volume: Arc<Volume>,
    inode: u64,
    /// Length as this process knows it. Writes up to here do not grow the file.
    length: AtomicU64,
    /// Bytes that the file counts in the quota. Held while the length changes.
    counted: Mutex<u64>,
    is_unlinked: AtomicBool,
}

impl SharedInode {
    pub(super) fn new(volume: Arc<Volume>, inode: u64, length: u64) -> Self {
        Self {
            volume,
            inode,
            length: AtomicU64::new(length),
            counted: Mutex::new(blocks(length)),
            is_unlinked: AtomicBool::new(false),
        }
    }

    pub(super) fn inode(&self) -> u64 {
        self.inode
    }

    pub(super) fn volume(&self) -> &Arc<Volume> {
        &self.volume
    }

    /// Tells whether a write that ends at `end` does not grow the file.
    pub(super) fn covers(&self, end: u64) -> bool {
        end <= self.length.load(Ordering::Acquire)
    }

    /// Notes that the last name has gone: the file is returned to the quota when it is closed.
    pub(super) fn set_unlinked(&self) {
        self.is_unlinked.store(true, Ordering::Release);
    }

    fn counted(&self) -> MutexGuard<'_, u64> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a change after which the file is at most `end(length)` bytes long, and counts what it has become.
    ///
    /// # Errors
    ///
    /// `ENOSPC` if the quota does not allow that length, and those of the change.
    pub(super) fn grow<R>(
        &self,
        file: &OwnedFd,
        end: impl FnOnce(u64) -> Option<u64>,
        change: impl FnOnce() -> rustix::io::Result<R>,
    ) -> Result<R, Errno> {
        let mut counted = self.counted();
        // Another process of the node may have changed the length.
        let before = length_of(file)?;
        let end = end(before).ok_or(Errno::Fbig)?.max(before);
        self.count(&mut counted, blocks(end))?;
        let changed = change().map_err(of_kernel);
        let after = length_of(file).unwrap_or(end);
        self.length.store(after, Ordering::Release);
        // A file that has grown less returns the difference.
        let _ = self.count(&mut counted, blocks(after));
        changed
    }

    /// Sets the length of the file.
    ///
    /// # Errors
    ///
    /// `ENOSPC` if the quota does not allow that length, and those of ftruncate(2).
    pub(super) fn set_length(&self, file: &OwnedFd, length: u64) -> Result<(), Errno> {
        if i64::try_from(length).is_err() {
            return Err(Errno::Fbig);
        }
        let mut counted = self.counted();
        if blocks(length) > *counted {
            self.count(&mut counted, blocks(length))?;
        }
        let changed = rustix::fs::ftruncate(file, length).map_err(of_kernel);
        let after = length_of(file)?;
        self.length.store(after, Ordering::Release);
        let _ = self.count(&mut counted, blocks(after));
        changed
    }

    fn count(&self, counted: &mut u64, bytes: u64) -> Result<(), Errno> {
        let usage = &self.volume.usage;
        match bytes.checked_sub(*counted) {
            None => usage.return_bytes(*counted - bytes),
            Some(0) => {}
            Some(more) if usage.take_bytes(more) => {}
            Some(_) => return Err(Errno::Nospc),
        }
        *counted = bytes;
        Ok(())
    }
}

impl Drop for SharedInode {
    fn drop(&mut self) {
        self.volume.forget_inode(self.inode);
        if *self.is_unlinked.get_mut() {
            let counted = *self.counted();
            self.volume.usage.return_node(counted);
        }
    }
}

fn length_of(file: &OwnedFd) -> Result<u64, Errno> {
    let stat = rustix::fs::fstat(file).map_err(of_kernel)?;
    Ok(stat.st_size.max(0).cast_unsigned())
}
