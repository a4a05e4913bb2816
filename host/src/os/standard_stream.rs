//! Entries of the standard streams, and of requests and responses, in the table of descriptors.

use corundum_abi::EXCHANGE_DESCRIPTOR;
use wasi_common::file::{FileAccessMode, FileType, Filestat};
use wasi_common::{WasiCtx, WasiFile};

/// Makes `fd` the standard stream `number` of a dyno without a session.
pub(super) fn insert(wasi: &WasiCtx, fd: u32, number: u32) {
    let access = match number {
        0 => FileAccessMode::READ,
        _ => FileAccessMode::WRITE,
    };
    wasi.insert_file(fd, Box::new(StandardStream { number }), access);
}

/// Opens the descriptor of requests and responses.
pub(super) fn insert_exchange(wasi: &WasiCtx) {
    let access = FileAccessMode::READ | FileAccessMode::WRITE;
    let number = EXCHANGE_DESCRIPTOR;
    wasi.insert_file(number, Box::new(StandardStream { number }), access);
}

/// A stream whose reads and writes [`crate::wasi`] passes on: to the log, or to [`crate::stdio`].
struct StandardStream {
    /// Descriptor that it has or is a copy of.
    number: u32,
}

#[async_trait::async_trait]
impl WasiFile for StandardStream {
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    async fn get_filetype(&self) -> Result<FileType, wasi_common::Error> {
        Ok(FileType::Pipe)
    }

    /// The streams have numbers of nodes, unlike the connections of a dyno, so that a guest can tell them apart.
    async fn get_filestat(&self) -> Result<Filestat, wasi_common::Error> {
        Ok(Filestat {
            device_id: 0,
            inode: u64::from(self.number) + 1,
            filetype: FileType::Pipe,
            nlink: 1,
            size: 0,
            atim: None,
            mtim: None,
            ctim: None,
        })
    }

    async fn readable(&self) -> Result<(), wasi_common::Error> {
        Ok(())
    }

    async fn writable(&self) -> Result<(), wasi_common::Error> {
        Ok(())
    }
}
