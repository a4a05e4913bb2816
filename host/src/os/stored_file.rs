//! The bytes of one file that a dyno may write to. They are shared with the slug or the image until the first write.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use corundum_exchange::{BoundedCounter, Reservation};
use corundum_pack::archive::{Archive, NodeId};
use wasi_common::snapshots::preview_1::types::Errno;

use super::clocks::wall_now;
use super::layer::BootLayer;
use crate::account::{Account, Charge, Holding};

/// Bytes of capacity that a file may have beyond its content.
const SLACK: usize = 4096;
/// Most bytes by which a file grows beyond what a write needs, so that many small writes do not copy it each time.
const GROWTH: usize = 4 << 20;

/// Bytes that several dynos share.
#[derive(Clone)]
pub(super) enum SharedBytes {
    /// A file of the slug.
    Slug(Arc<Archive>, NodeId),
    /// A file that the boot has written.
    Layer(Arc<BootLayer>, Range<usize>),
}

impl SharedBytes {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Slug(archive, id) => archive.content(*id),
            Self::Layer(layer, range) => layer.bytes(range),
        }
    }
}

/// A file's bytes. Those of its own count against the dyno's quota while the file is linked or open.
pub(super) struct StoredFile {
    content: Mutex<StoredContent>,
}

struct StoredContent {
    /// The bytes until the first write, which copies them.
    shared: Option<SharedBytes>,
    own: Vec<u8>,
    /// Holds one unit per byte of `own`.
    quota: Reservation,
    /// Charges the capacity of `own`.
    charge: Charge,
    /// Time of the last write in nanoseconds since 1970; `None` if the node's own times hold.
    written: Option<i64>,
}

impl StoredFile {
    /// Creates a file with the bytes of `shared`, or an empty one.
    ///
    /// # Errors
    ///
    /// `ENOSPC` if the quota cannot be reserved.
    pub(super) fn new(
        shared: Option<SharedBytes>,
        quota: &Arc<BoundedCounter>,
        account: &Arc<Account>,
    ) -> Result<Arc<Self>, Errno> {
        let quota = quota.try_reserve(0).ok_or(Errno::Nospc)?;
        Ok(Arc::new(Self {
            content: Mutex::new(StoredContent {
                shared,
                own: Vec::new(),
                quota,
                charge: account.charge(Holding::Files),
                written: None,
            }),
        }))
    }

    fn content(&self) -> MutexGuard<'_, StoredContent> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the file's length in bytes.
    pub(super) fn length(&self) -> usize {
        self.with_bytes(<[u8]>::len)
    }

    /// Passes the file's bytes to `read` while the file is locked.
    pub(super) fn with_bytes<R>(&self, read: impl FnOnce(&[u8]) -> R) -> R {
        let content = self.content();
        match &content.shared {
            Some(shared) => read(shared.bytes()),
            None => read(&content.own),
        }
    }

    /// Returns the time of the last write, if one came after [`Self::forget_written`].
    pub(super) fn written(&self) -> Option<i64> {
        self.content().written
    }

    /// Returns the time of the last write and forgets it.
    pub(super) fn forget_written(&self) -> Option<i64> {
        self.content().written.take()
    }

    /// Writes at `offset`, or at the end, and grows the file if necessary. Returns the offset behind the written bytes.
    pub(super) fn write(&self, offset: Option<u64>, part: &[u8]) -> Result<u64, Errno> {
        let mut content = self.content();
        content.take_over(usize::MAX)?;
        let start = match offset {
            Some(offset) => usize::try_from(offset).map_err(|_| Errno::Fbig)?,
            None => content.own.len(),
        };
        if part.is_empty() {
            return Ok(start as u64);
        }
        let end = start.checked_add(part.len()).ok_or(Errno::Fbig)?;
        if end > content.own.len() {
            content.resize(end)?;
        }
        content.own[start..end].copy_from_slice(part);
        content.written = Some(wall_now());
        Ok(end as u64)
    }

    /// Truncates the file, or extends it with zeros.
    pub(super) fn set_length(&self, length: u64) -> Result<(), Errno> {
        let length = usize::try_from(length).map_err(|_| Errno::Fbig)?;
        let mut content = self.content();
        content.take_over(length)?;
        content.resize(length)?;
        content.written = Some(wall_now());
        Ok(())
    }
}

impl StoredContent {
    /// Copies the shared bytes, of which the caller keeps `most` at most.
    fn take_over(&mut self, most: usize) -> Result<(), Errno> {
        let Some(shared) = self.shared.clone() else {
            return Ok(());
        };
        let bytes = shared.bytes();
        let kept = &bytes[..bytes.len().min(most)];
        self.resize(kept.len())?;
        self.own.copy_from_slice(kept);
        self.shared = None;
        Ok(())
    }

    fn resize(&mut self, length: usize) -> Result<(), Errno> {
        let before = self.own.len();
        if !self.quota.try_resize(length) {
            return Err(Errno::Nospc);
        }
        if length > self.own.capacity()
            && let Err(error) = self.reserve(length)
        {
            let _ = self.quota.try_resize(before);
            return Err(error);
        }
        self.own.resize(length, 0);
        // The capacity stays close to the length, so that a truncated file returns its memory.
        if self.own.capacity() > 2 * self.own.len() + SLACK {
            self.own.shrink_to_fit();
            let _ = self.charge.try_resize(self.own.capacity());
        }
        Ok(())
    }

    /// Makes room for `length` bytes, charged before they are allocated.
    fn reserve(&mut self, length: usize) -> Result<(), Errno> {
        let spare = (length / 4).min(GROWTH);
        // Without room for more, the file gets the bytes that it needs.
        for capacity in [length.saturating_add(spare), length] {
            if self.charge.try_resize(capacity).is_err() {
                continue;
            }
            let more = capacity - self.own.len();
            let reserved = self.own.try_reserve_exact(more);
            let _ = self.charge.try_resize(self.own.capacity());
            if reserved.is_ok() {
                return Ok(());
            }
        }
        Err(Errno::Nospc)
    }
}

impl fmt::Debug for StoredFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredFile")
            .field("length", &self.length())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::TmpLimits;
    use super::*;
    use crate::reserve::{AppShare, NodeReserve};

    struct Files {
        quota: Arc<BoundedCounter>,
        account: Arc<Account>,
    }

    fn files(reserve: &Arc<NodeReserve>, bytes: usize) -> Files {
        Files {
            quota: BoundedCounter::new(bytes),
            account: Account::new(AppShare::new(reserve.clone()), TmpLimits::default()),
        }
    }

    impl Files {
        fn file(&self) -> Arc<StoredFile> {
            StoredFile::new(None, &self.quota, &self.account).unwrap()
        }
    }

    #[test]
    fn truncated_file_returns_its_memory() {
        let all = files(&NodeReserve::new(usize::MAX), 1 << 20);
        let files: Vec<_> = (0..20).map(|_| all.file()).collect();
        for file in &files {
            file.write(Some(0), &vec![b'x'; 1 << 20]).unwrap();
            file.set_length(0).unwrap();
        }
        let held: usize = files.iter().map(|file| file.content().own.capacity()).sum();
        assert!(held <= files.len() * SLACK, "{held}");
    }

    #[test]
    fn files_stay_within_the_quota() {
        let all = files(&NodeReserve::new(usize::MAX), 1 << 20);
        let (one, two) = (all.file(), all.file());
        one.write(Some(0), &vec![b'x'; 1 << 20]).unwrap();
        assert!(two.write(Some(0), b"x").is_err());
        one.set_length(10).unwrap();
        two.write(Some((1 << 20) - 11), b"x").unwrap();
        assert!(two.write(Some(1 << 20), b"x").is_err());
        drop(one);
        two.set_length(1 << 20).unwrap();
    }

    #[test]
    fn files_are_drawn_from_the_reserve() {
        let reserve = NodeReserve::new(64 << 20);
        let all = files(&reserve, 64 << 20);
        let big = all.file();
        let written = (0..64).filter(|mb| big.write(Some(mb << 20), &[b'x'; 1 << 20]).is_ok());
        let written = written.count();
        assert!((40..=44).contains(&written), "two thirds: {written}");
        assert!(reserve.bytes().in_use() >= (written - 1) << 20);
        assert_eq!(
            big.length(),
            written << 20,
            "the length is what was written"
        );
        drop(big);
        assert!(reserve.bytes().in_use() <= 1 << 20);
    }

    #[test]
    fn many_small_writes_and_sparse_files_stay_within_the_charge() {
        let reserve = NodeReserve::new(64 << 20);
        let all = files(&reserve, 64 << 20);
        let file = all.file();
        for position in 0..20_000 {
            file.write(Some(position * 100), &[b'x'; 100]).unwrap();
        }
        let capacity = file.content().own.capacity();
        assert!(capacity <= 2_000_000 * 5 / 4 + SLACK, "{capacity}");
        assert_eq!(file.content().charge.bytes(), capacity);
        assert!(
            file.write(Some(60 << 20), b"x").is_err(),
            "a hole takes memory"
        );
        assert!(file.set_length(u64::MAX).is_err());
        assert_eq!(file.length(), 2_000_000);
    }
}
