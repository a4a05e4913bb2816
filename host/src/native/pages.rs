//! Looks at the page tables of this process: the pages of an image that are a dyno's own, and the use of a stack.

mod scan;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::LazyLock;

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

#[cfg(test)]
mod tests {
    use super::*;

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
