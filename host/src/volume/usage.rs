//! Bytes and nodes that a volume has in use, against its quota.

use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};

/// Bytes by which a file is counted: filesystems allocate whole blocks.
const BLOCK: u64 = 4096;
/// Directories deeper than this are not counted: each level takes two descriptors, and a dyno's paths lead no deeper.
const MAX_DEPTH: usize = 512;

/// Limits of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VolumeQuota {
    /// Bytes of all files, in blocks of 4 KiB. A hole counts as if it were written.
    pub bytes: u64,
    /// Number of files, directories and links.
    pub nodes: u64,
}

/// Bytes and nodes that a volume has in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VolumeUsage {
    /// Bytes of all files, in blocks of 4 KiB.
    pub bytes: u64,
    /// Number of files, directories and links.
    pub nodes: u64,
}

/// Returns the bytes that a file of `length` bytes counts.
pub(super) fn blocks(length: u64) -> u64 {
    length.div_ceil(BLOCK).saturating_mul(BLOCK)
}

/// Returns the bytes that a node counts.
pub(super) fn bytes_of(stat: &Stat) -> u64 {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => BLOCK,
        _ => blocks(stat.st_size.max(0).cast_unsigned()),
    }
}

/// Counts what is in use. Reservations beyond the quota fail; what is returned twice never makes it negative.
#[derive(Debug)]
pub(super) struct UsageCounter {
    bytes: AtomicU64,
    nodes: AtomicU64,
    max_bytes: AtomicU64,
    max_nodes: AtomicU64,
}

impl UsageCounter {
    pub(super) fn new(quota: VolumeQuota, usage: VolumeUsage) -> Self {
        Self {
            bytes: AtomicU64::new(usage.bytes),
            nodes: AtomicU64::new(usage.nodes),
            max_bytes: AtomicU64::new(quota.bytes),
            max_nodes: AtomicU64::new(quota.nodes),
        }
    }

    pub(super) fn set_quota(&self, quota: VolumeQuota) {
        self.max_bytes.store(quota.bytes, Ordering::Relaxed);
        self.max_nodes.store(quota.nodes, Ordering::Relaxed);
    }

    pub(super) fn usage(&self) -> VolumeUsage {
        VolumeUsage {
            bytes: self.bytes.load(Ordering::Relaxed),
            nodes: self.nodes.load(Ordering::Relaxed),
        }
    }

    /// Counts `bytes` more, if the quota allows that.
    pub(super) fn take_bytes(&self, bytes: u64) -> bool {
        take(&self.bytes, bytes, self.max_bytes.load(Ordering::Relaxed))
    }

    pub(super) fn return_bytes(&self, bytes: u64) {
        give_back(&self.bytes, bytes);
    }

    /// Counts a node with `bytes`, if the quota allows that.
    pub(super) fn take_node(&self, bytes: u64) -> bool {
        if !take(&self.nodes, 1, self.max_nodes.load(Ordering::Relaxed)) {
            return false;
        }
        let taken = self.take_bytes(bytes);
        if !taken {
            give_back(&self.nodes, 1);
        }
        taken
    }

    pub(super) fn return_node(&self, bytes: u64) {
        give_back(&self.nodes, 1);
        give_back(&self.bytes, bytes);
    }

    /// Replaces the count by `counted`, which was begun when the usage was `before`. Changes since then remain.
    pub(super) fn correct(&self, before: VolumeUsage, counted: VolumeUsage) {
        for (counter, before, counted) in [
            (&self.bytes, before.bytes, counted.bytes),
            (&self.nodes, before.nodes, counted.nodes),
        ] {
            let order = Ordering::Relaxed;
            let _ = counter.fetch_update(order, order, |now| {
                let changed = i128::from(now) - i128::from(before);
                Some(u64::try_from(i128::from(counted) + changed).unwrap_or(0))
            });
        }
    }
}

fn take(counter: &AtomicU64, units: u64, most: u64) -> bool {
    let more = |used: u64| {
        used.checked_add(units)
            .filter(|used| *used <= most || units == 0)
    };
    counter
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
        .is_ok()
}

fn give_back(counter: &AtomicU64, units: u64) {
    let less = |used: u64| Some(used.saturating_sub(units));
    let _ = counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
}

/// Counts what is below a directory of the host, without following links. What vanishes meanwhile is not counted.
///
/// # Errors
///
/// Fails if a directory cannot be read.
pub(super) fn count(root: &OwnedFd) -> rustix::io::Result<VolumeUsage> {
    let mut counting = Counting::default();
    counting.add(&open_directory(root, c".")?, 0)?;
    Ok(counting.usage)
}

#[derive(Default)]
struct Counting {
    usage: VolumeUsage,
    /// Files with several names, which count once.
    linked: HashSet<u64>,
}

impl Counting {
    fn add(&mut self, directory: &OwnedFd, depth: usize) -> rustix::io::Result<()> {
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if [c".", c".."].contains(&name) {
                continue;
            }
            let Ok(stat) = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            if !is_directory && stat.st_nlink > 1 && !self.linked.insert(stat.st_ino) {
                continue;
            }
            self.usage.nodes += 1;
            self.usage.bytes += bytes_of(&stat);
            if is_directory
                && depth < MAX_DEPTH
                && let Ok(inner) = open_directory(directory, name)
            {
                self.add(&inner, depth + 1)?;
            }
        }
        Ok(())
    }
}

fn open_directory(from: impl AsFd, name: &std::ffi::CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(from, name, flags, Mode::empty())
}
