//! An open file.

use std::any::Any;
use std::io::{IoSlice, IoSliceMut, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use corundum_pack::archive::{Archive, NodeId};
use wasi_common::file::{Advice, FdFlags, FileType, Filestat};
use wasi_common::snapshots::preview_1::types::Errno;
use wasi_common::{Error, SystemTimeSpec, WasiFile};

use super::random;
use super::tmp::TmpFile;
use super::tree::Filesystem;

/// Bytes that one read of a random or zero device fills, so that a guest's single call stays short.
const DEVICE_READ: usize = 64 << 10;

/// Bytes that one read of any other file copies: nothing interrupts the copy, and half a gigabyte takes the thread for
/// a tenth of a second.
const FILE_READ: usize = 16 << 20;

/// Where an open file's bytes are.
pub(super) enum Content {
    Static(Arc<Archive>, NodeId),
    Bytes(Vec<u8>),
    Tmp(Arc<TmpFile>),
    Null,
    Zero,
    Random,
}

/// An open file: its content, the position, and what it counts against.
pub(super) struct OpenFile {
    content: Content,
    position: AtomicU64,
    flags: AtomicU32,
    inode: u64,
    filesystem: Arc<Filesystem>,
}

impl OpenFile {
    /// Opens a file; counts against the open files of `filesystem` until dropped.
    pub(super) fn new(
        content: Content,
        flags: FdFlags,
        inode: u64,
        filesystem: Arc<Filesystem>,
    ) -> Result<Self, Error> {
        filesystem.opened()?;
        let flags = AtomicU32::new(flags.bits());
        Ok(Self {
            content,
            position: AtomicU64::new(0),
            flags,
            inode,
            filesystem,
        })
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> usize {
        let copy = |bytes: &[u8], buffer: &mut [u8]| {
            let start = usize::try_from(offset)
                .unwrap_or(usize::MAX)
                .min(bytes.len());
            let length = buffer.len().min(bytes.len() - start).min(FILE_READ);
            buffer[..length].copy_from_slice(&bytes[start..start + length]);
            length
        };
        match &self.content {
            Content::Static(archive, id) => copy(archive.content(*id), buffer),
            Content::Bytes(bytes) => copy(bytes, buffer),
            Content::Tmp(file) => copy(&file.bytes(), buffer),
            Content::Null => 0,
            Content::Zero => {
                let length = buffer.len().min(DEVICE_READ);
                buffer[..length].fill(0);
                length
            }
            Content::Random => {
                let length = buffer.len().min(DEVICE_READ);
                random::fill(&mut buffer[..length]);
                length
            }
        }
    }

    fn write_at(&self, offset: u64, buffer: &[u8]) -> Result<(), Error> {
        match &self.content {
            Content::Tmp(file) => file.write_at(offset, buffer),
            Content::Null | Content::Zero | Content::Random => Ok(()),
            Content::Static(..) | Content::Bytes(_) => Err(Errno::Rofs.into()),
        }
    }

    fn length(&self) -> u64 {
        match &self.content {
            Content::Static(archive, id) => archive.content(*id).len() as u64,
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Tmp(file) => file.bytes().len() as u64,
            Content::Null | Content::Zero | Content::Random => 0,
        }
    }

    fn is_device(&self) -> bool {
        matches!(
            self.content,
            Content::Null | Content::Zero | Content::Random
        )
    }

    fn kind(&self) -> FileType {
        if self.is_device() {
            FileType::CharacterDevice
        } else {
            FileType::RegularFile
        }
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.filesystem.closed();
    }
}

#[async_trait::async_trait]
impl WasiFile for OpenFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    async fn get_filetype(&self) -> Result<FileType, Error> {
        Ok(self.kind())
    }

    async fn get_fdflags(&self) -> Result<FdFlags, Error> {
        Ok(FdFlags::from_bits_truncate(
            self.flags.load(Ordering::Relaxed),
        ))
    }

    async fn set_fdflags(&mut self, flags: FdFlags) -> Result<(), Error> {
        self.flags.store(flags.bits(), Ordering::Relaxed);
        Ok(())
    }

    async fn get_filestat(&self) -> Result<Filestat, Error> {
        let born = Some(self.filesystem.process().born());
        Ok(Filestat {
            device_id: 1,
            inode: self.inode,
            filetype: self.kind(),
            nlink: 1,
            size: self.length(),
            atim: born,
            mtim: born,
            ctim: born,
        })
    }

    async fn set_filestat_size(&self, size: u64) -> Result<(), Error> {
        match &self.content {
            Content::Tmp(file) => file.set_length(size),
            _ => Err(Errno::Rofs.into()),
        }
    }

    async fn advise(&self, _offset: u64, _length: u64, _advice: Advice) -> Result<(), Error> {
        Ok(())
    }

    async fn set_times(
        &self,
        _accessed: Option<SystemTimeSpec>,
        _modified: Option<SystemTimeSpec>,
    ) -> Result<(), Error> {
        match &self.content {
            Content::Tmp(_) => Ok(()),
            _ => Err(Errno::Rofs.into()),
        }
    }

    async fn read_vectored<'a>(&self, buffers: &mut [IoSliceMut<'a>]) -> Result<u64, Error> {
        let position = self.position.load(Ordering::Relaxed);
        let read = self.read_vectored_at(buffers, position).await?;
        self.position.store(position + read, Ordering::Relaxed);
        Ok(read)
    }

    async fn read_vectored_at<'a>(
        &self,
        buffers: &mut [IoSliceMut<'a>],
        offset: u64,
    ) -> Result<u64, Error> {
        let mut read = 0;
        for buffer in buffers {
            let part = self.read_at(offset.saturating_add(read), buffer);
            read += part as u64;
            if part < buffer.len() {
                break;
            }
        }
        Ok(read)
    }

    async fn write_vectored<'a>(&self, buffers: &[IoSlice<'a>]) -> Result<u64, Error> {
        let append = self.flags.load(Ordering::Relaxed) & FdFlags::APPEND.bits() != 0;
        let position = if append {
            self.length()
        } else {
            self.position.load(Ordering::Relaxed)
        };
        let written = self.write_vectored_at(buffers, position).await?;
        self.position.store(position + written, Ordering::Relaxed);
        Ok(written)
    }

    async fn write_vectored_at<'a>(
        &self,
        buffers: &[IoSlice<'a>],
        offset: u64,
    ) -> Result<u64, Error> {
        let mut written = 0;
        for buffer in buffers {
            self.write_at(offset.saturating_add(written), buffer)?;
            written += buffer.len() as u64;
        }
        Ok(written)
    }

    async fn seek(&self, to: SeekFrom) -> Result<u64, Error> {
        if self.is_device() {
            return Ok(0);
        }
        let base = match to {
            SeekFrom::Start(_) => 0,
            SeekFrom::Current(_) => self.position.load(Ordering::Relaxed),
            SeekFrom::End(_) => self.length(),
        };
        let position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::Current(offset) | SeekFrom::End(offset) => base.checked_add_signed(offset),
        };
        // WASI's offsets are signed.
        let position = position.filter(|position| *position <= i64::MAX as u64);
        let position = position.ok_or(Errno::Inval)?;
        self.position.store(position, Ordering::Relaxed);
        Ok(position)
    }

    async fn peek(&self, buffer: &mut [u8]) -> Result<u64, Error> {
        Ok(self.read_at(self.position.load(Ordering::Relaxed), buffer) as u64)
    }

    fn num_ready_bytes(&self) -> Result<u64, Error> {
        Ok(self
            .length()
            .saturating_sub(self.position.load(Ordering::Relaxed)))
    }

    async fn readable(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn writable(&self) -> Result<(), Error> {
        Ok(())
    }
}
