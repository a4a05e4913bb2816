//! The only module with `unsafe` code: it maps files, loads native code and prefaults pages.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::path::Path;

use memmap2::Mmap;

/// Maps a file that never changes in place. Archives, images and compiled code are written under another name and
/// renamed.
///
/// # Errors
///
/// Fails if the file cannot be opened or mapped.
pub(crate) fn map(path: &Path) -> io::Result<Mmap> {
    let file = File::open(path)?;
    // SAFETY: the node's files are private to its user (directories 0700) and immutable once they have their name,
    // so the mapping does not change under us.
    unsafe { Mmap::map(&file) }
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
