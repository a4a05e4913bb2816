//! Locks of files between the descriptors of one dyno (`flock`).

use std::collections::HashMap;
use std::sync::Weak;

use wasi_common::snapshots::preview_1::types::Errno;

use super::file::OpenFile;

/// A kind of lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LockKind {
    Shared,
    Exclusive,
}

/// The locks of a dyno's open files, by inode. A lock ends with the open file that holds it.
#[derive(Default)]
pub(super) struct FileLocks {
    held: HashMap<u64, Vec<(Weak<OpenFile>, LockKind)>>,
}

impl FileLocks {
    /// Locks the file `inode` for `holder`, which gives up its earlier lock of it.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if another open file holds a lock that excludes this one. The call never waits: the guest's threads
    /// could not run meanwhile.
    pub(super) fn lock(
        &mut self,
        inode: u64,
        holder: &Weak<OpenFile>,
        kind: LockKind,
    ) -> Result<(), Errno> {
        self.unlock(inode, holder);
        let holders = self.held.entry(inode).or_default();
        let excludes = |(_, other): &(_, LockKind)| {
            kind == LockKind::Exclusive || *other == LockKind::Exclusive
        };
        if holders.iter().any(excludes) {
            return Err(Errno::Again);
        }
        holders.push((holder.clone(), kind));
        Ok(())
    }

    /// Ends the lock of `holder`, and those of open files that are gone.
    pub(super) fn unlock(&mut self, inode: u64, holder: &Weak<OpenFile>) {
        if let Some(holders) = self.held.get_mut(&inode) {
            holders.retain(|(other, _)| other.strong_count() > 0 && !other.ptr_eq(holder));
            if holders.is_empty() {
                self.held.remove(&inode);
            }
        }
    }

    /// Ends the lock of an open file that is being closed.
    pub(super) fn forget(&mut self, inode: u64) {
        if let Some(holders) = self.held.get_mut(&inode) {
            holders.retain(|(other, _)| other.strong_count() > 0);
            if holders.is_empty() {
                self.held.remove(&inode);
            }
        }
    }
}
