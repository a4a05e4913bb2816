//! A socket in WASI's table of descriptors.

use std::any::Any;
use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;
use std::task::Context;

use wasi_common::file::{FdFlags, FileType, SdFlags};
use wasi_common::{Error, WasiFile};

use super::datagrams::MAX_DATAGRAM;
use super::socket::{Interest, ReceiveMode, Socket, SocketPoll};

/// A descriptor of a socket, a pipe's end, or a lookup.
pub(crate) struct SocketDescriptor(Arc<Socket>);

impl SocketDescriptor {
    pub(super) fn new(socket: Arc<Socket>) -> Self {
        Self(socket)
    }

    /// Returns whether the socket is ready, or has the task woken when that may have changed.
    pub(crate) fn poll_ready(&self, interest: Interest, task: &mut Context<'_>) -> SocketPoll {
        self.0.poll_ready(interest, task)
    }
}

#[async_trait::async_trait]
impl WasiFile for SocketDescriptor {
    fn as_any(&self) -> &dyn Any {
        self
    }

    async fn get_filetype(&self) -> Result<FileType, Error> {
        Ok(self.0.file_type())
    }

    async fn get_fdflags(&self) -> Result<FdFlags, Error> {
        Ok(self.0.flags())
    }

    async fn set_fdflags(&mut self, flags: FdFlags) -> Result<(), Error> {
        self.0.set_flags(flags);
        Ok(())
    }

    async fn read_vectored<'a>(&self, buffers: &mut [IoSliceMut<'a>]) -> Result<u64, Error> {
        let Some(buffer) = buffers.iter_mut().find(|buffer| !buffer.is_empty()) else {
            return Ok(0);
        };
        let (read, _) = self.0.read(buffer, ReceiveMode::default()).await?;
        Ok(read as u64)
    }

    async fn write_vectored<'a>(&self, buffers: &[IoSlice<'a>]) -> Result<u64, Error> {
        let mut parts = buffers.iter().filter(|buffer| !buffer.is_empty());
        let Some(first) = parts.next() else {
            return Ok(0);
        };
        // A stream takes a part of a large write; a datagram is sent whole.
        let written = match parts.next() {
            Some(_) if self.0.is_datagram() => {
                let whole: Vec<u8> = buffers
                    .iter()
                    .flat_map(|part| part.iter().copied())
                    .take(MAX_DATAGRAM + 1)
                    .collect();
                self.0.write(&whole, None, false).await?
            }
            _ => self.0.write(first, None, false).await?,
        };
        Ok(written as u64)
    }

    async fn sock_shutdown(&self, how: SdFlags) -> Result<(), Error> {
        let (read, write) = (how.contains(SdFlags::RD), how.contains(SdFlags::WR));
        Ok(self.0.shutdown(read, write)?)
    }

    fn num_ready_bytes(&self) -> Result<u64, Error> {
        Ok(0)
    }

    async fn readable(&self) -> Result<(), Error> {
        Ok(self.0.wait(Interest::Read).await?)
    }

    async fn writable(&self) -> Result<(), Error> {
        Ok(self.0.wait(Interest::Write).await?)
    }
}
