//! The virtual operating system: everything a dyno sees, in memory.
//!
//! [`Filesystem`] is one dyno's file tree: the pack's root filesystem with `/app` (the slug, and what the dyno has changed
//! in it), `/tmp`, `/proc`, `/dev` and the app's volume (`/data`) mounted in it. [`calls`] binds its operations to the guest's calls; reads and
//! writes go through the file traits of `wasi-common`. No host path is ever opened for a guest, only single names below
//! the directory of its volume ([`crate::volume`]), so a guest cannot escape through the host's filesystem. No operation waits for a
//! disk on a worker thread. Requests and responses are no files of this
//! tree but in [`crate::stdio`]; sockets are in `net`.

pub(crate) mod calls;
mod clocks;
mod descriptors;
mod directory;
mod duplicate;
mod file;
mod layer;
mod limits;
#[cfg(test)]
mod linux_comparison;
mod locks;
mod node;
mod operations;
mod proc_files;
mod process;
mod random;
mod record_locks;
mod schedule;
pub(crate) mod script;
mod standard_stream;
mod stored_file;
mod tree;
mod volume_times;
mod writable;

use std::sync::Arc;

use wasi_common::{Table, WasiCtx};

pub(crate) use clocks::monotonic_now;
pub(crate) use descriptors::Descriptors;
pub(crate) use duplicate::restore_standard_stream;
pub use layer::{BootLayer, MAX_LAYER};
pub use limits::TmpLimits;
pub use process::GuestProcess;
pub use tree::Filesystem;
pub(crate) use tree::Handle;

/// Descriptor of the first preopened directory, the root.
const FIRST_DIRECTORY: u32 = 3;

/// Creates the WASI context of one dyno over its file tree, and its descriptors.
///
/// # Errors
///
/// Fails if an argument or a variable contains a NUL byte.
pub(crate) fn context(
    filesystem: &Arc<Filesystem>,
) -> Result<(WasiCtx, Descriptors), wasi_common::StringArrayError> {
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
    for fd in 0..3 {
        standard_stream::insert(&context, fd, fd);
    }
    standard_stream::insert_exchange(&context);
    let descriptors = Descriptors::new(filesystem, &context);
    Ok((context, descriptors))
}
