//! The one module with `unsafe` code: mapping files, loading native code, and filling pages ahead of their use.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::path::Path;

use memmap2::Mmap;

/// Maps a file that nobody changes in place: archives, images and compiled code are written under another name and
/// renamed, never rewritten.
///
/// # Errors
///
/// The file cannot be opened or mapped.
pub(crate) fn map(path: &Path) -> io::Result<Mmap> {
    let file = File::open(path)?;
    // SAFETY: the node's files are private to its user (directories 0700) and immutable once they have their name,
    // so the mapping does not change under us.
    unsafe { Mmap::map(&file) }
}

/// Loads a compiled module from a file, mapping it.
///
/// The caller has checked that the file is what this program wrote: its BLAKE3 digest stands in a file beside it, in a
/// directory that only the node's user can write to.
///
/// # Errors
///
/// The file is unreadable or was compiled by another engine.
pub(crate) fn load_module(
    engine: &wasmtime::Engine,
    path: &Path,
) -> wasmtime::Result<wasmtime::Module> {
    // SAFETY: the bytes come from `Engine::precompile_module` of this program, unchanged (see above).
    unsafe { wasmtime::Module::deserialize_file(engine, path) }
}

/// The first four bytes of a shared memory as one number.
pub(crate) fn first_word(memory: &wasmtime::SharedMemory) -> &std::sync::atomic::AtomicU32 {
    let data: &[std::cell::UnsafeCell<u8>] = memory.data();
    assert!(data.len() >= 4, "a shared memory has whole pages");
    // SAFETY: four bytes are there, at the start of a page, for as long as the memory is borrowed; the host names them as
    // this atomic only, and guests read them by atomic instructions.
    unsafe { std::sync::atomic::AtomicU32::from_ptr(data.as_ptr().cast_mut().cast()) }
}

/// Makes the pages of `runs` (page-aligned offset and length in bytes) of a memory private and present in one go,
/// which costs less than as many page faults. A failure is harmless: the faults come later, one by one.
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
