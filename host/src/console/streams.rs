//! A session as open files of its dyno.

use std::any::Any;
use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use wasi_common::file::{FdFlags, FileAccessMode, FileType, Filestat};
use wasi_common::snapshots::preview_1::types::Errno;
use wasi_common::snapshots::preview_1::wasi_snapshot_preview1 as preview1;
use wasi_common::{Error, WasiCtx, WasiFile};
use wiggle::GuestMemory;

use super::session::{RunSession, StandardOutput};

/// Number of the device that a terminal is, as `stat` shows it: `/dev/tty` of Linux.
const TERMINAL_DEVICE: u64 = 5 << 8;

/// Bytes of WASI's `filestat`, which begins with the number of the device.
const FILESTAT: usize = 64;

/// A descriptor of a session.
pub(crate) struct RunStream {
    session: Arc<RunSession>,
    /// Descriptor that its writes go to.
    output: StandardOutput,
    flags: FdFlags,
}

impl RunStream {
    /// Asks for the bytes that a read would get, or whether a write would be accepted; wakes the task when that may have
    /// changed. A write is always possible: it waits itself while its reader is behind.
    pub(crate) fn poll_ready(&self, reads: bool, task: &mut Context<'_>) -> Poll<u64> {
        if reads {
            self.session.poll_readable(task)
        } else {
            Poll::Ready(0)
        }
    }

    fn waits(&self) -> bool {
        !self.flags.contains(FdFlags::NONBLOCK)
    }
}

/// Makes a session the standard streams of a dyno.
pub(crate) fn install(session: &Arc<RunSession>, wasi: &WasiCtx) {
    for number in 0..3 {
        insert(session, wasi, number, number);
    }
}

/// Makes `fd` the standard stream `number` of a session.
pub(crate) fn insert(session: &Arc<RunSession>, wasi: &WasiCtx, fd: u32, number: u32) {
    let (output, mut access) = match number {
        0 => (StandardOutput::Stdout, FileAccessMode::READ),
        1 => (StandardOutput::Stdout, FileAccessMode::WRITE),
        _ => (StandardOutput::Stderr, FileAccessMode::WRITE),
    };
    if session.has_terminal() {
        // All three are the terminal, as in a shell.
        access = FileAccessMode::READ | FileAccessMode::WRITE;
    }
    let stream = RunStream {
        session: session.clone(),
        output,
        flags: FdFlags::empty(),
    };
    wasi.insert_file(fd, Box::new(stream), access);
}

/// Returns whether an open descriptor is the terminal of its dyno.
pub(crate) fn is_terminal(wasi: &mut WasiCtx, fd: u32) -> bool {
    let mut stat = [0; FILESTAT];
    let mut memory = GuestMemory::Unshared(&mut stat);
    let done = preview1::fd_filestat_get(wasi, &mut memory, fd.cast_signed(), 0).now_or_never();
    matches!(done, Some(Ok(0))) && stat.starts_with(&TERMINAL_DEVICE.to_le_bytes())
}

#[async_trait::async_trait]
impl WasiFile for RunStream {
    fn as_any(&self) -> &dyn Any {
        self
    }

    async fn get_filetype(&self) -> Result<FileType, Error> {
        Ok(match self.session.has_terminal() {
            true => FileType::CharacterDevice,
            false => FileType::Pipe,
        })
    }

    fn isatty(&self) -> bool {
        self.session.has_terminal()
    }

    async fn get_filestat(&self) -> Result<Filestat, Error> {
        let device_id = match self.session.has_terminal() {
            true => TERMINAL_DEVICE,
            false => 0,
        };
        Ok(Filestat {
            device_id,
            inode: 0,
            filetype: self.get_filetype().await?,
            nlink: 1,
            size: 0,
            atim: None,
            mtim: None,
            ctim: None,
        })
    }

    async fn get_fdflags(&self) -> Result<FdFlags, Error> {
        Ok(self.flags)
    }

    async fn set_fdflags(&mut self, flags: FdFlags) -> Result<(), Error> {
        self.flags = flags;
        Ok(())
    }

    async fn read_vectored<'a>(&self, buffers: &mut [IoSliceMut<'a>]) -> Result<u64, Error> {
        let Some(buffer) = buffers.iter_mut().find(|buffer| !buffer.is_empty()) else {
            return Ok(0);
        };
        let read = self.session.read(buffer, self.waits()).await?;
        Ok(read as u64)
    }

    async fn write_vectored<'a>(&self, buffers: &[IoSlice<'a>]) -> Result<u64, Error> {
        let Some(buffer) = buffers.iter().find(|buffer| !buffer.is_empty()) else {
            return Ok(0);
        };
        let written = self.session.write(self.output, buffer, self.waits());
        Ok(written.await? as u64)
    }

    async fn seek(&self, _position: std::io::SeekFrom) -> Result<u64, Error> {
        Err(Errno::Spipe.into())
    }

    fn num_ready_bytes(&self) -> Result<u64, Error> {
        Ok(self.session.ready_bytes() as u64)
    }

    async fn readable(&self) -> Result<(), Error> {
        self.session.readable().await;
        Ok(())
    }

    async fn writable(&self) -> Result<(), Error> {
        self.session.writable().await;
        Ok(())
    }
}
