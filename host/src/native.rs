//! The only module with `unsafe` code: it maps files, loads native code, prefaults pages and registers descriptors.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};

use memmap2::Mmap;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

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

/// Copies the pages of `runs` (page-aligned offsets and lengths in bytes) of a copy-on-write memory with one call per
/// run, which costs less than a page fault per page. A failure is harmless: the page faults happen later.
pub(crate) fn populate(memory: &mut [u8], runs: &[(usize, usize)]) {
    for (offset, length) in runs {
        let Some(run) = memory.get_mut(*offset..*offset + *length) else {
            continue;
        };
        // SAFETY: the range lies within a live, exclusively borrowed, writable mapping; MADV_POPULATE_WRITE changes
        // no content.
        let _ = unsafe {
            rustix::mm::madvise(
                run.as_mut_ptr().cast(),
                run.len(),
                rustix::mm::Advice::LinuxPopulateWrite,
            )
        };
    }
}

/// Bytes of a page of the kernel.
const PAGE: usize = 4096;

/// The page tables of this process (proc_pid_pagemap(5)).
static PAGEMAP: LazyLock<Option<File>> = LazyLock::new(|| File::open("/proc/self/pagemap").ok());

/// Returns the bytes of the pages in `memory`, a private mapping of a file, that the kernel has copied for this process.
/// Returns 0 if the kernel does not tell.
pub(crate) fn private_bytes(memory: &[u8]) -> usize {
    let Some(pagemap) = &*PAGEMAP else {
        return 0;
    };
    scan::private_pages(pagemap, memory).unwrap_or_else(|_| read_private_pages(pagemap, memory))
        * PAGE
}

/// Returns the end of the page that contains `address`.
pub(crate) fn page_end(address: usize) -> usize {
    (address / PAGE + 1) * PAGE
}

/// Returns the bytes below `top` that a stack has taken, given those of an earlier look and the size of the stack.
///
/// A stack is taken from the top downwards. If the kernel does not tell, all of it counts as taken.
pub(crate) fn stack_use(top: usize, earlier: usize, most: usize) -> usize {
    /// Pages of one look. Compiled code touches each page of a frame, so that no gap is as large.
    const STRIDE: usize = 32;
    let mut used = earlier;
    let mut entries = [0; 8 * STRIDE];
    while used < most {
        let first = (top.saturating_sub(used) / PAGE).saturating_sub(STRIDE);
        let read = PAGEMAP.as_ref().ok_or(io::ErrorKind::Unsupported.into());
        let read = read.and_then(|pagemap| pagemap.read_exact_at(&mut entries, 8 * first as u64));
        if read.is_err() {
            return most;
        }
        let pages = entries.as_chunks::<8>().0.iter();
        let mut pages = pages.map(|word| u64::from_ne_bytes(*word));
        match pages.position(|entry| entry & (PRESENT | SWAPPED) != 0) {
            Some(lowest) => used += (STRIDE - lowest) * PAGE,
            None => break,
        }
    }
    used.min(most)
}

/// Bit of an entry in pagemap: the page is in memory.
const PRESENT: u64 = 1 << 63;
/// Bit of an entry in pagemap: the page is on swap.
const SWAPPED: u64 = 1 << 62;

/// Counts private pages by reading an entry for each page, for kernels before 6.7.
fn read_private_pages(pagemap: &File, memory: &[u8]) -> usize {
    /// Bit of an entry: the page belongs to a file.
    const OF_FILE: u64 = 1 << 61;
    let mut entries = [0; 8 * 512];
    let (mut private, mut page) = (0, memory.as_ptr().addr() / PAGE);
    let end = page + memory.len() / PAGE;
    while page < end {
        let bytes = &mut entries[..8 * (end - page).min(512)];
        if pagemap.read_exact_at(bytes, 8 * page as u64).is_err() {
            return private;
        }
        let words = bytes.as_chunks::<8>().0.iter();
        private += words
            .map(|word| u64::from_ne_bytes(*word))
            .filter(|entry| entry & (PRESENT | SWAPPED) != 0 && entry & OF_FILE == 0)
            .count();
        page += bytes.len() / 8;
    }
    private
}

/// The ioctl PAGEMAP_SCAN (Linux 6.7, Documentation/admin-guide/mm/pagemap.rst).
mod scan {
    use std::ffi::c_void;
    use std::fs::File;

    use rustix::io::Result;
    use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl, opcode};

    use super::PAGE;

    const OF_FILE: u64 = 1 << 2;
    const PRESENT: u64 = 1 << 3;
    const SWAPPED: u64 = 1 << 4;
    const ZERO_PAGE: u64 = 1 << 5;
    /// Regions that one call returns.
    const REGIONS: usize = 256;

    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    struct Region {
        start: u64,
        end: u64,
        categories: u64,
    }

    /// `struct pm_scan_arg`.
    #[repr(C)]
    struct Scan {
        size: u64,
        flags: u64,
        start: u64,
        end: u64,
        walk_end: u64,
        regions: u64,
        regions_length: u64,
        max_pages: u64,
        category_inverted: u64,
        category_mask: u64,
        category_anyof_mask: u64,
        return_mask: u64,
    }

    // SAFETY: the opcode belongs to this structure, and the kernel writes to it and to as many regions as it says.
    unsafe impl Ioctl for &mut Scan {
        type Output = usize;
        const IS_MUTATING: bool = true;

        fn opcode(&self) -> Opcode {
            opcode::read_write::<Scan>(b'f', 16)
        }

        fn as_ptr(&mut self) -> *mut c_void {
            std::ptr::from_mut::<Scan>(*self).cast()
        }

        unsafe fn output_from_ptr(output: IoctlOutput, _: *mut c_void) -> Result<usize> {
            Ok(usize::try_from(output).unwrap_or(0))
        }
    }

    /// Counts the pages in `memory` that belong to this process alone.
    pub(super) fn private_pages(pagemap: &File, memory: &[u8]) -> Result<usize> {
        let mut regions = [Region::default(); REGIONS];
        let start = memory.as_ptr().addr() as u64;
        let end = start + (memory.len() / PAGE * PAGE) as u64;
        let (mut private, mut from) = (0, start);
        while from < end {
            let mut scan = Scan {
                size: size_of::<Scan>() as u64,
                flags: 0,
                start: from,
                end,
                walk_end: 0,
                regions: regions.as_mut_ptr().expose_provenance() as u64,
                regions_length: REGIONS as u64,
                max_pages: 0,
                category_inverted: OF_FILE | ZERO_PAGE,
                category_mask: OF_FILE | ZERO_PAGE,
                category_anyof_mask: PRESENT | SWAPPED,
                return_mask: PRESENT,
            };
            // SAFETY: the range is a mapping that outlives the call, the kernel only looks at its page tables, and
            // `regions` has room for as many regions as the structure says.
            let filled = unsafe { ioctl(pagemap, &mut scan)? };
            let found = regions[..filled.min(REGIONS)].iter();
            private += found
                .map(|region| (region.end - region.start) as usize / PAGE)
                .sum::<usize>();
            if scan.walk_end <= from {
                break;
            }
            from = scan.walk_end;
        }
        Ok(private)
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn copied_pages_are_counted_and_read_ones_are_not() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&vec![1; 2000 * PAGE], 0).unwrap();
        // SAFETY: nothing else has the file.
        let mut map = unsafe { memmap2::MmapOptions::new().map_copy(&file).unwrap() };
        let sum: usize = map
            .iter()
            .step_by(PAGE)
            .map(|byte| usize::from(*byte))
            .sum();
        assert_eq!(sum, 2000, "each page is in memory");
        assert_eq!(private_bytes(&map), 0);
        // Every second page, so that each is a region of its own, and then a large region.
        (0..1000).step_by(2).for_each(|page| map[page * PAGE] = 2);
        map[1500 * PAGE..1600 * PAGE].fill(2);
        assert_eq!(private_bytes(&map), 600 * PAGE);
        let pagemap = PAGEMAP.as_ref().unwrap();
        assert_eq!(read_private_pages(pagemap, &map), 600);
        assert_eq!(private_bytes(&map[1500 * PAGE..1501 * PAGE]), PAGE);
    }
}
