//! The virtual operating system: everything a dyno sees, in memory.
//!
//! [`Filesystem`] is one dyno's file tree: the pack's root filesystem with `/app` (the slug), `/tmp`, `/proc/self` and
//! `/dev` in it, behind `wasi-common`'s directory and file traits. No host path is ever opened for a guest, so no
//! escape through the host's filesystem exists; nothing blocks a worker thread. The standard streams are not files
//! here: [`crate::exchange`] has them. Capabilities to come (`/dyno/net`) are further entries of the same tree.

mod clocks;
mod directory;
mod file;
mod process;
mod random;
mod schedule;
mod tmp;
mod tree;

use std::sync::Arc;

use wasi_common::file::{FileAccessMode, FileType};
use wasi_common::{Table, WasiCtx, WasiFile};

pub(crate) use clocks::monotonic_now;
pub use process::Process;
pub use tmp::TmpLimits;
pub use tree::Filesystem;

/// The descriptor of the first preopened directory, the root.
const FIRST_DIRECTORY: u32 = 3;

/// Makes the WASI context of one dyno over its file tree.
///
/// # Errors
///
/// An argument or variable with a NUL byte.
pub(crate) fn context(
    filesystem: &Arc<Filesystem>,
) -> Result<WasiCtx, wasi_common::StringArrayError> {
    let mut context = WasiCtx::new(
        Box::new(random::System),
        clocks::clocks(),
        Box::new(schedule::Timers),
        Table::new(),
    );
    for argument in filesystem.process().arguments() {
        context.push_arg(argument)?;
    }
    for (name, value) in filesystem.process().environ() {
        context.push_env(name, value)?;
    }
    context.insert_file(0, Box::new(Stream), FileAccessMode::READ);
    context.insert_file(1, Box::new(Stream), FileAccessMode::WRITE);
    context.insert_file(2, Box::new(Stream), FileAccessMode::WRITE);
    // The root, and the pack's upper directories: a guest may carry an embedded tree of its own (the npm builds of MRI
    // have an empty `/usr` in them), over which only a preopened directory with a longer name prevails. The numbers
    // are the same in every dyno of a pack.
    let root = directory::Directory::open(filesystem.clone(), vec![tree::Vnode::Root]);
    context.insert_dir(FIRST_DIRECTORY, Box::new(root), "/".into());
    for (fd, (path, way)) in (FIRST_DIRECTORY + 1..).zip(filesystem.pack_directories()) {
        let directory = directory::Directory::open(filesystem.clone(), way);
        context.insert_dir(fd, Box::new(directory), path.into());
    }
    Ok(context)
}

/// What the descriptor table knows of a standard stream; its reads and writes go to [`crate::exchange`].
struct Stream;

#[async_trait::async_trait]
impl WasiFile for Stream {
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    async fn get_filetype(&self) -> Result<FileType, wasi_common::Error> {
        Ok(FileType::Pipe)
    }

    async fn readable(&self) -> Result<(), wasi_common::Error> {
        Ok(())
    }

    async fn writable(&self) -> Result<(), wasi_common::Error> {
        Ok(())
    }
}
