//! Volumes: persistent directories of the host, each of which the dynos of one app share.
//!
//! A [`Volume`] is the directory with its quota and its open files. [`mount::VolumeMount`] is the view of one dyno, which `os` mounts
//! at `/data`; [`file::VolumeFile`] is one of its open files. Guests name nodes by single names below an open directory of the
//! host, never by a path, and the host follows no link: `os` resolves paths and links in the guest's own tree.
//!
//! The kernel keeps the locks, so that two processes of the node agree while one takes over from the other. The quota is counted
//! in this process alone, and counted again from the directory when the volume is opened.

mod errno;
mod file;
mod inode;
mod mount;
pub mod snapshot;
mod usage;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak,
};

use rustix::fs::{AtFlags, Mode, OFlags, Stat};
use tokio::sync::{Notify, Semaphore};
use wasi_common::snapshots::preview_1::types::Errno;

pub(crate) use errno::{of_io, of_kernel};
pub(crate) use file::{SyncKind, VolumeFile};
use inode::SharedInode;
pub(crate) use mount::{HeldDirectory, VolumeMount, set_file_mode};
use usage::{UsageCounter, blocks, bytes_of};
pub use usage::{VolumeQuota, VolumeUsage};

/// Files of one volume that wait for the disk at once. Each takes a thread of the runtime's pool, which has 512, and the disk
/// serves them together anyway.
const DISK_WAITS: usize = 8;

/// The place of an app's volume, which the app may get while its release is loaded. Dynos look here when they start.
#[derive(Debug, Default)]
pub struct VolumeSlot(RwLock<Option<Arc<Volume>>>);

impl VolumeSlot {
    /// Returns the volume, if the app has one.
    pub fn get(&self) -> Option<Arc<Volume>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Gives the dynos that start from now on another volume, or none.
    pub fn set(&self, volume: Option<Arc<Volume>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = volume;
    }
}

/// A persistent directory of an app.
pub struct Volume {
    root: Arc<OwnedFd>,
    /// The root when the volume was opened.
    stat: Stat,
    usage: UsageCounter,
    /// Files that are open, by inode.
    inodes: Mutex<HashMap<u64, Weak<SharedInode>>>,
    /// Held while names change, so that each node is returned to the quota once.
    names: Mutex<()>,
    /// Read while something changes, and written while nothing may.
    changes: RwLock<()>,
    disk: Arc<Semaphore>,
    /// Wakes dynos that wait for a record lock.
    unlocked: Notify,
}

impl Volume {
    /// Opens a volume and counts what is in use. Blocks for the time that reading all directories takes.
    ///
    /// # Errors
    ///
    /// Fails if the directory cannot be opened or read.
    pub fn open(directory: &Path, quota: VolumeQuota) -> io::Result<Arc<Self>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = rustix::fs::open(directory, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&root)?;
        let usage = usage::count(&root)?;
        Ok(Arc::new(Self {
            root: Arc::new(root),
            stat,
            usage: UsageCounter::new(quota, usage),
            inodes: Mutex::default(),
            names: Mutex::default(),
            changes: RwLock::default(),
            disk: Arc::new(Semaphore::new(DISK_WAITS)),
            unlocked: Notify::new(),
        }))
    }

    /// Returns what is in use.
    pub fn usage(&self) -> VolumeUsage {
        self.usage.usage()
    }

    /// Changes the quota. A volume that has more in use keeps it, and grows no further.
    pub fn set_quota(&self, quota: VolumeQuota) {
        self.usage.set_quota(quota);
    }

    /// Counts again what is in use, as another process may have changed the directory. Blocks.
    ///
    /// # Errors
    ///
    /// Fails if a directory cannot be read; the count stays.
    pub fn recount(&self) -> io::Result<()> {
        let before = self.usage.usage();
        let counted = usage::count(&self.root)?;
        self.usage.correct(before, counted);
        Ok(())
    }

    /// Begins a change, which ends with the guard. Waits while changes are held.
    fn change(&self) -> RwLockReadGuard<'_, ()> {
        self.changes.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds the changes of all dynos until the guard ends.
    fn hold_changes(&self) -> RwLockWriteGuard<'_, ()> {
        self.changes.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn names(&self) -> MutexGuard<'_, ()> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn inodes(&self) -> MutexGuard<'_, HashMap<u64, Weak<SharedInode>>> {
        self.inodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what all open files of an inode share.
    fn shared_inode(self: &Arc<Self>, stat: &Stat) -> Arc<SharedInode> {
        let mut inodes = self.inodes();
        let known = inodes.get(&stat.st_ino).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let length = stat.st_size.max(0).cast_unsigned();
            let shared = Arc::new(SharedInode::new(self.clone(), stat.st_ino, length));
            inodes.insert(stat.st_ino, Arc::downgrade(&shared));
            shared
        })
    }

    fn forget_inode(&self, inode: u64) {
        let mut inodes = self.inodes();
        if inodes
            .get(&inode)
            .is_some_and(|known| known.strong_count() == 0)
        {
            inodes.remove(&inode);
        }
    }

    /// Returns a node to the quota whose last name has gone; an open file is returned when it is closed.
    fn unlinked(&self, stat: &Stat) {
        let open = self.inodes().get(&stat.st_ino).and_then(Weak::upgrade);
        match open {
            Some(open) => open.set_unlinked(),
            None => self.usage.return_node(bytes_of(stat)),
        }
    }

    /// Makes a node that counts `bytes` by `make`.
    fn add_node(
        &self,
        bytes: u64,
        make: impl FnOnce() -> rustix::io::Result<()>,
    ) -> Result<(), Errno> {
        if !self.usage.take_node(bytes) {
            return Err(Errno::Nospc);
        }
        make().map_err(|error| {
            self.usage.return_node(bytes);
            of_kernel(error)
        })
    }
}

impl fmt::Debug for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Volume")
            .field("inode", &self.stat.st_ino)
            .field("usage", &self.usage)
            .finish_non_exhaustive()
    }
}

/// Returns what a directory of the host has under a name, without following a link.
fn stat_of(directory: &OwnedFd, name: &[u8]) -> rustix::io::Result<Stat> {
    rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
}
