//! An open file of a volume.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{FallocateFlags, FlockOperation, Mode, Stat, Timestamps};
use rustix::io::{Errno as KernelErrno, ReadWriteFlags};
use wasi_common::snapshots::preview_1::types::Errno;

use super::inode::SharedInode;
use super::{Volume, of_io, of_kernel};
use crate::net::DescriptorPermit;

/// Most bytes that one call reads from the cache of the kernel, so that it stays short.
const READ: usize = 16 << 20;
/// Most bytes that one call reads from the disk or writes on another thread, where they are copied once more.
const PIECE: usize = 1 << 20;
/// Bytes of a write above which it runs on another thread: the kernel makes a writer wait that is faster than the disk.
const SHORT_WRITE: usize = 64 << 10;

/// Waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SyncKind {
    /// The content, and what is needed to read it.
    Data,
    /// The content and all attributes.
    All,
}

/// An open file of a volume. It has a description of its own in the kernel, which holds its locks.
pub(crate) struct VolumeFile {
    file: Arc<OwnedFd>,
    shared: Arc<SharedInode>,
    /// Counts the descriptor against those of the app.
    _permit: DescriptorPermit,
}

impl VolumeFile {
    pub(super) fn new(
        file: OwnedFd,
        stat: &Stat,
        volume: &Arc<Volume>,
        permit: DescriptorPermit,
    ) -> Self {
        Self {
            file: Arc::new(file),
            shared: volume.shared_inode(stat),
            _permit: permit,
        }
    }

    /// Returns the inode of the host.
    pub(crate) fn inode(&self) -> u64 {
        self.shared.inode()
    }

    pub(crate) fn stat(&self) -> Result<Stat, Errno> {
        rustix::fs::fstat(&self.file).map_err(of_kernel)
    }

    /// Returns the length in bytes.
    pub(crate) fn length(&self) -> Result<u64, Errno> {
        Ok(self.stat()?.st_size.max(0).cast_unsigned())
    }

    /// Reads on this thread.
    pub(crate) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        let most = buffer.len().min(READ);
        rustix::io::pread(&*self.file, &mut buffer[..most], offset).map_err(of_kernel)
    }

    /// Reads what the kernel has in its cache on this thread, and the rest on another one.
    pub(crate) async fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        let most = buffer.len().min(READ);
        let buffer = &mut buffer[..most];
        let mut read = 0;
        let mut slices = [std::io::IoSliceMut::new(buffer)];
        match rustix::io::preadv2(&*self.file, &mut slices, offset, ReadWriteFlags::NOWAIT) {
            Ok(part) => read = part,
            Err(KernelErrno::AGAIN) => {}
            // The filesystem cannot tell.
            Err(KernelErrno::OPNOTSUPP) => return self.read_at(offset, buffer),
            Err(error) => return Err(of_kernel(error)),
        }
        let at = offset.saturating_add(read as u64);
        if read == buffer.len() || at >= self.length()? {
            return Ok(read);
        }
        let missing = (buffer.len() - read).min(PIECE);
        let file = self.file.clone();
        let rest = self.on_disk(move || {
            let mut rest = vec![0; missing];
            let length = rustix::io::pread(&*file, &mut rest[..], at)?;
            rest.truncate(length);
            Ok(rest)
        });
        let rest = rest.await?;
        buffer[read..read + rest.len()].copy_from_slice(&rest);
        Ok(read + rest.len())
    }

    /// Writes at `offset`, or at the end, on this thread. Returns the offset behind the written bytes and their number, which is
    /// smaller than that of `part` if the disk is full.
    pub(crate) fn write_at(&self, offset: Option<u64>, part: &[u8]) -> Result<(u64, usize), Errno> {
        write(&self.file, &self.shared, offset, part)
    }

    /// Writes as [`Self::write_at`]: a few bytes on this thread, a part of many on another one.
    pub(crate) async fn write(
        &self,
        offset: Option<u64>,
        part: &[u8],
    ) -> Result<(u64, usize), Errno> {
        if part.len() <= SHORT_WRITE {
            return self.write_at(offset, part);
        }
        let part = part[..part.len().min(PIECE)].to_vec();
        let (file, shared) = (self.file.clone(), self.shared.clone());
        self.blocking(move || write(&file, &shared, offset, &part))
            .await
    }

    pub(crate) fn set_length(&self, length: u64) -> Result<(), Errno> {
        let _change = self.shared.volume().change();
        self.shared.set_length(&self.file, length)
    }

    /// Makes sure that a range can be written, and that the file reaches to its end.
    pub(crate) fn allocate(&self, offset: u64, length: u64) -> Result<(), Errno> {
        let end = offset.checked_add(length).ok_or(Errno::Fbig)?;
        if length == 0 {
            return Err(Errno::Inval);
        }
        let _change = self.shared.volume().change();
        self.shared.grow(
            &self.file,
            |_| Some(end),
            || rustix::fs::fallocate(&self.file, FallocateFlags::empty(), offset, length),
        )
    }

    pub(crate) fn set_mode(&self, mode: u16) -> Result<(), Errno> {
        rustix::fs::fchmod(&self.file, Mode::from_raw_mode(u32::from(mode))).map_err(of_kernel)
    }

    pub(crate) fn set_times(&self, times: &Timestamps) -> Result<(), Errno> {
        rustix::fs::futimens(&self.file, times).map_err(of_kernel)
    }

    /// Locks the file as flock(2), without waiting.
    pub(crate) fn lock(&self, operation: FlockOperation) -> Result<(), Errno> {
        rustix::fs::flock(&self.file, operation).map_err(of_kernel)
    }

    /// Waits until the disk has the file.
    pub(crate) async fn sync(&self, kind: SyncKind) -> Result<(), Errno> {
        sync(self.shared.volume(), self.file.clone(), kind).await
    }

    async fn on_disk<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> rustix::io::Result<R> + Send + 'static,
    ) -> Result<R, Errno> {
        self.blocking(move || work().map_err(of_kernel)).await
    }

    async fn blocking<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<R, Errno> + Send + 'static,
    ) -> Result<R, Errno> {
        blocking(self.shared.volume(), work).await
    }
}

/// Waits until the disk has a file or the names of a directory.
pub(super) async fn sync(
    volume: &Arc<Volume>,
    file: Arc<OwnedFd>,
    kind: SyncKind,
) -> Result<(), Errno> {
    let work = move || match kind {
        SyncKind::Data => rustix::fs::fdatasync(&*file),
        SyncKind::All => rustix::fs::fsync(&*file),
    };
    blocking(volume, move || work().map_err(of_kernel)).await
}

/// Runs work that waits for the disk on a thread for that. The work goes on if this future is dropped.
async fn blocking<R: Send + 'static>(
    volume: &Arc<Volume>,
    work: impl FnOnce() -> Result<R, Errno> + Send + 'static,
) -> Result<R, Errno> {
    let permit = volume.disk.clone().acquire_owned().await;
    let permit = permit.map_err(|_| Errno::Io)?;
    let worked = tokio::task::spawn_blocking(move || {
        let result = work();
        drop(permit);
        result
    });
    worked.await.map_err(|_| Errno::Io)?
}

fn write(
    file: &OwnedFd,
    shared: &SharedInode,
    offset: Option<u64>,
    part: &[u8],
) -> Result<(u64, usize), Errno> {
    let size = part.len() as u64;
    let _change = shared.volume().change();
    let Some(offset) = offset else {
        return append(file, shared, part);
    };
    let end = offset.checked_add(size).ok_or(Errno::Fbig)?;
    if i64::try_from(end).is_err() {
        return Err(Errno::Fbig);
    }
    let change = || rustix::io::pwrite(file, part, offset);
    let written = match part.is_empty() || shared.covers(end) {
        true => change().map_err(of_kernel)?,
        false => shared.grow(file, |_| Some(end), change)?,
    };
    Ok((offset + written as u64, written))
}

fn append(file: &OwnedFd, shared: &SharedInode, part: &[u8]) -> Result<(u64, usize), Errno> {
    let slices = [std::io::IoSlice::new(part)];
    // The kernel appends at the position of the description, which nothing else uses, and moves it to the end.
    let change = || {
        let written = rustix::io::pwritev2(file, &slices, u64::MAX, ReadWriteFlags::APPEND)?;
        Ok((rustix::fs::tell(file)?, written))
    };
    shared.grow(file, |length| length.checked_add(part.len() as u64), change)
}

/// Locks of a dyno on the files of a volume, which it holds as one process (fcntl(2)).
///
/// All descriptions of a file that a dyno has open share them: the first that locks holds the locks of all, and closing any of
/// them ends the locks.
#[derive(Default)]
pub(super) struct ProcessLocks {
    holders: std::collections::HashMap<u64, Arc<OwnedFd>>,
}

impl ProcessLocks {
    /// Returns the description that holds the dyno's locks of a file.
    pub(super) fn holder(&mut self, file: &VolumeFile) -> Arc<OwnedFd> {
        let holder = self.holders.entry(file.inode());
        holder.or_insert_with(|| file.file.clone()).clone()
    }

    /// Ends the locks of a file that is being closed. Returns whether there may have been some.
    pub(super) fn close(&mut self, file: &VolumeFile) -> bool {
        let Some(holder) = self.holders.remove(&file.inode()) else {
            return false;
        };
        // The description may stay open elsewhere, as during a write on another thread.
        let unlocked = crate::native::set_record_lock(&*holder, crate::native::RecordLock::NONE);
        if let Err(error) = unlocked.map_err(|error| of_io(&error)) {
            tracing::warn!(?error, "a file could not be unlocked");
        }
        true
    }
}
