//! The only module with `unsafe` code: it maps files, loads native code, registers descriptors, looks at and fills page
//! tables, locks records of files, and sets the time slices of threads.

#![allow(unsafe_code)]

mod pages;
mod populate;
mod record_lock;
mod time_slice;

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};

use memmap2::Mmap;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

pub(crate) use pages::{page_end, private_bytes, stack_use};
pub(crate) use populate::populate;
pub(crate) use record_lock::{RecordLock, RecordLockKind, find_record_lock, set_record_lock};
pub use time_slice::set_time_slice;

/// Type of tmpfs in `statfs` (statfs(2)).
const TMPFS: u64 = 0x0102_1994;

/// A descriptor that is registered with the event queue of the runtime.
pub(crate) struct RegisteredDescriptor(AsyncFd<Arc<OwnedFd>>);

impl RegisteredDescriptor {
    /// Registers a descriptor with the current runtime.
    ///
    /// # Errors
    ///
    /// Fails if the kernel has no memory for the registration.
    pub(crate) fn new(descriptor: Arc<OwnedFd>) -> io::Result<Self> {
        // SAFETY: The descriptor is open, stays open until the `AsyncFd` drops its share of it, and is never replaced,
        // because this type gives out no reference that could replace it.
        let registered = unsafe { AsyncFd::register(descriptor) };
        Ok(Self(registered.map_err(io::Error::from)?))
    }

    /// Returns the flag that the descriptor can be read, once it is set.
    pub(crate) fn poll_read_ready(
        &self,
        task: &mut Context<'_>,
    ) -> Poll<io::Result<AsyncFdReadyGuard<'_, Arc<OwnedFd>>>> {
        self.0.poll_read_ready(task)
    }

    /// Returns the flag that the descriptor can be written to, once it is set.
    pub(crate) fn poll_write_ready(
        &self,
        task: &mut Context<'_>,
    ) -> Poll<io::Result<AsyncFdReadyGuard<'_, Arc<OwnedFd>>>> {
        self.0.poll_write_ready(task)
    }
}

/// Allocates the holes of a file on tmpfs.
///
/// There, a hole takes memory when a mapping of it is read, and on a full tmpfs the kernel ends the process with SIGBUS.
/// An allocation fails with an error instead. Other filesystems read holes without allocating anything.
///
/// # Errors
///
/// `ENOSPC` if the filesystem is full.
pub(crate) fn allocate_holes(file: &File) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate, fstatfs};
    if fstatfs(file)?.f_type.cast_unsigned() == TMPFS {
        let length = file.metadata()?.len();
        if length > 0 {
            fallocate(file, FallocateFlags::empty(), 0, length)?;
        }
    }
    Ok(())
}

/// Opens a file to be mapped, without holes whose use could end the process.
fn open_for_mapping(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.blocks() * 512 < metadata.len() {
        // Allocating needs a descriptor for writing, which a file on a read-only filesystem has not.
        match File::options().write(true).open(path) {
            Ok(writable) => allocate_holes(&writable)?,
            Err(_) => {
                let is_tmpfs = rustix::fs::fstatfs(&file)?.f_type.cast_unsigned() == TMPFS;
                if is_tmpfs {
                    return Err(io::ErrorKind::StorageFull.into());
                }
            }
        }
    }
    Ok(file)
}

/// Maps a file that never changes in place. Archives, images and compiled code are written under another name and
/// renamed.
///
/// # Errors
///
/// Fails if the file cannot be opened or mapped.
pub(crate) fn map(path: &Path) -> io::Result<Mmap> {
    map_file(&open_for_mapping(path)?)
}

/// Maps an open file without holes that never changes.
///
/// # Errors
///
/// Fails if the file cannot be mapped.
pub(crate) fn map_file(file: &File) -> io::Result<Mmap> {
    // SAFETY: the node's files are private to its user (directories 0700) and immutable once they have their name,
    // and those without a name are open nowhere else, so the mapping does not change under us.
    unsafe { Mmap::map(file) }
}

/// Loads a compiled module by mapping its file.
///
/// The caller must have checked that this program wrote the file: the file's BLAKE3 digest is in a second file, in a
/// directory that only the node's user can write to.
///
/// # Errors
///
/// Fails if the file is unreadable or was compiled by another engine.
pub(crate) fn load_module(
    engine: &wasmtime::Engine,
    path: &Path,
) -> wasmtime::Result<wasmtime::Module> {
    // The engine maps the file once more. A file that was just made may have holes.
    drop(open_for_mapping(path)?);
    // SAFETY: the bytes come from `Engine::precompile_module` of this program, unchanged (see above).
    unsafe { wasmtime::Module::deserialize_file(engine, path) }
}

/// Returns the first four bytes of a shared memory as one atomic number.
pub(crate) fn first_word(memory: &wasmtime::SharedMemory) -> &std::sync::atomic::AtomicU32 {
    let data: &[std::cell::UnsafeCell<u8>] = memory.data();
    assert!(data.len() >= 4, "a shared memory has whole pages");
    // SAFETY: the four bytes exist, at the start of a page and thus aligned, for as long as the memory is borrowed. The
    // host accesses them only through this atomic, and guests read them with atomic instructions.
    unsafe { std::sync::atomic::AtomicU32::from_ptr(data.as_ptr().cast_mut().cast()) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    /// Writes a file of 4 MiB, of which only the last byte is not in a hole.
    fn sparse_file(path: &Path) -> io::Result<()> {
        let file = File::create(path)?;
        file.write_all_at(b"x", (4 << 20) - 1)
    }

    #[test]
    fn holes_on_tmpfs_are_allocated_before_they_are_mapped() {
        let Ok(directory) = tempfile::tempdir_in("/dev/shm") else {
            return;
        };
        let path = directory.path().join("sparse");
        sparse_file(&path).unwrap();
        let mapped = map(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().blocks() * 512, 4 << 20);
        assert_eq!((mapped[0], mapped.last()), (0, Some(&b'x')));
    }

    #[test]
    fn full_tmpfs_is_an_error_and_no_signal() {
        let directory = tempfile::tempdir().unwrap();
        let mount = |arguments: &[&str]| {
            let mut command = std::process::Command::new(arguments[0]);
            command.args(&arguments[1..]).arg(directory.path());
            command.status().is_ok_and(|status| status.success())
        };
        // Only root may mount.
        if !mount(&["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs"]) {
            return;
        }
        let path = directory.path().join("sparse");
        sparse_file(&path).unwrap();
        let mapped = map(&path);
        let allocated = allocate_holes(&File::options().write(true).open(&path).unwrap());
        drop(File::open(&path));
        assert!(mount(&["umount"]));
        let error = mapped.expect_err("the file has more bytes than the filesystem");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{error}");
        assert!(allocated.is_err());
    }

    #[test]
    fn holes_on_disk_stay_holes() {
        // The target directory is on a disk, unlike some directories for temporary files.
        let executable = std::env::current_exe().unwrap();
        let directory = tempfile::tempdir_in(executable.parent().unwrap()).unwrap();
        let path = directory.path().join("sparse");
        sparse_file(&path).unwrap();
        map(&path).unwrap();
        assert!(std::fs::metadata(&path).unwrap().blocks() * 512 < 1 << 20);
    }
}
