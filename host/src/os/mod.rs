//! The virtual operating system: everything a dyno sees, in memory.
//!
//! [`Filesystem`] is one dyno's file tree: the pack's root filesystem with `/app` (the slug), `/tmp`, `/proc/self` and
//! `/dev` mounted in it, behind the directory and file traits of `wasi-common`. No host path is ever opened for a
//! guest, so a guest cannot escape through the host's filesystem, and no operation blocks a worker thread. The standard
//! streams are not files of this tree but in [`crate::stdio`]. Sockets are descriptors too, but not files of this tree:
//! they are in `net`.

mod clocks;
mod directory;
mod file;
mod process;
mod random;
mod schedule;
pub(crate) mod script;
mod tmp;
mod tree;

use std::sync::Arc;

use wasi_common::file::{FileAccessMode, FileType};
use wasi_common::{Table, WasiCtx, WasiFile};

pub(crate) use clocks::monotonic_now;
pub use process::GuestProcess;
pub use tmp::TmpLimits;
pub use tree::Filesystem;
pub(crate) use tree::Handle;

/// Descriptor of the first preopened directory, the root.
const FIRST_DIRECTORY: u32 = 3;

/// Creates the WASI context of one dyno over its file tree.
///
/// # Errors
///
/// Fails if an argument or a variable contains a NUL byte.
pub(crate) fn context(
    filesystem: &Arc<Filesystem>,
) -> Result<WasiCtx, wasi_common::StringArrayError> {
    let mut context = WasiCtx::new(
        Box::new(random::SystemRandom),
        clocks::clocks(),
        Box::new(schedule::TimerScheduler),
        Table::new(),
    );
    for argument in filesystem.process().arguments() {
        context.push_arg(argument)?;
    }
    for (name, value) in filesystem.process().environ() {
        context.push_env(name, value)?;
    }
    context.insert_file(0, Box::new(StandardStream), FileAccessMode::READ);
    context.insert_file(1, Box::new(StandardStream), FileAccessMode::WRITE);
    context.insert_file(2, Box::new(StandardStream), FileAccessMode::WRITE);
    // The root and the pack's upper directories are preopened. A guest may contain an embedded tree of its own (the npm
    // builds of MRI contain an empty `/usr`), which only a preopened directory with a longer name overrides. The
    // descriptors are the same in every dyno of a pack.
    let root = directory::OpenDirectory::preopen(filesystem.clone(), vec![tree::Vnode::Root]);
    context.insert_dir(FIRST_DIRECTORY, Box::new(root), "/".into());
    for (fd, (path, trail)) in (FIRST_DIRECTORY + 1..).zip(filesystem.pack_directories()) {
        let directory = directory::OpenDirectory::preopen(filesystem.clone(), trail);
        context.insert_dir(fd, Box::new(directory), path.into());
    }
    Ok(context)
}

/// Entry of a standard stream in the descriptor table. Its reads and writes go to [`crate::stdio`].
struct StandardStream;

#[async_trait::async_trait]
impl WasiFile for StandardStream {
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
