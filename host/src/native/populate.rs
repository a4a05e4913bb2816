//! Copies pages of a copy-on-write mapping ahead of their use.

use std::io::IoSliceMut;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::mm::{Advice, madvise};

/// Most ranges in one call of process_madvise(2), `UIO_MAXIOV`.
const RANGES: usize = 1024;

/// The kernel takes ranges of the calling process in process_madvise(2), as Linux does from 6.15 on.
static TAKES_RANGES: AtomicBool = AtomicBool::new(true);

/// Copies the pages of `runs` (page-aligned offsets, in ascending order, and lengths in bytes) of a copy-on-write memory.
///
/// That costs less than a page fault per page. A failure is harmless: the page faults happen later.
pub(crate) fn populate(memory: &mut [u8], runs: &[(usize, usize)]) {
    let (mut ranges, mut rest, mut start) = (Vec::with_capacity(runs.len()), memory, 0);
    for (offset, length) in runs {
        let Some(gap) = offset.checked_sub(start) else {
            continue;
        };
        let Some((before, after)) = gap
            .checked_add(*length)
            .and_then(|end| rest.split_at_mut_checked(end))
        else {
            break;
        };
        ranges.push(IoSliceMut::new(&mut before[gap..]));
        (rest, start) = (after, offset + length);
    }
    for ranges in ranges.chunks_mut(RANGES) {
        if !TAKES_RANGES.load(Ordering::Relaxed) || !populate_all(ranges) {
            populate_each(ranges);
        }
    }
}

/// Makes one call for all ranges. Returns false if the kernel has not copied all of them.
fn populate_all(ranges: &mut [IoSliceMut<'_>]) -> bool {
    /// Names the calling process (pidfd_open(2), Linux 6.14).
    const PIDFD_SELF: libc::c_int = -10000;
    let bytes: usize = ranges.iter().map(|range| range.len()).sum();
    // SAFETY: `IoSliceMut` has the layout of `iovec`; the ranges are live, exclusively borrowed, writable mappings, and
    // MADV_POPULATE_WRITE changes no content.
    let copied = unsafe {
        libc::syscall(
            libc::SYS_process_madvise,
            PIDFD_SELF,
            ranges.as_ptr(),
            ranges.len(),
            libc::MADV_POPULATE_WRITE,
            0,
        )
    };
    if copied < 0 {
        let error = std::io::Error::last_os_error().raw_os_error();
        // The call, its advice or the name of the process is unknown, or a filter forbids it: the next call fails too.
        if matches!(
            error,
            Some(libc::ENOSYS | libc::EINVAL | libc::EPERM | libc::EBADF)
        ) {
            TAKES_RANGES.store(false, Ordering::Relaxed);
        }
    }
    usize::try_from(copied).is_ok_and(|copied| copied == bytes)
}

/// Makes one call for each range.
fn populate_each(ranges: &mut [IoSliceMut<'_>]) {
    for range in ranges {
        // SAFETY: as in `populate_all`.
        let _ = unsafe {
            madvise(
                range.as_mut_ptr().cast(),
                range.len(),
                Advice::LinuxPopulateWrite,
            )
        };
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::native::private_bytes;

    const PAGE: usize = 4096;

    #[test]
    fn populated_pages_are_private_and_unchanged() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&vec![7; 3000 * PAGE], 0).unwrap();
        for populates in [
            populate as fn(&mut [u8], &[(usize, usize)]),
            |memory, runs| {
                for (offset, length) in runs {
                    populate_each(&mut [IoSliceMut::new(&mut memory[*offset..*offset + *length])]);
                }
            },
        ] {
            // SAFETY: nothing else has the file.
            let mut map = unsafe { memmap2::MmapOptions::new().map_copy(&file).unwrap() };
            // More ranges than one call takes.
            let runs: Vec<_> = (0..1400).map(|run| (2 * run * PAGE, PAGE)).collect();
            populates(&mut map, &runs);
            assert_eq!(private_bytes(&map), 1400 * PAGE);
            assert!(map.iter().all(|byte| *byte == 7));
        }
    }

    #[test]
    fn runs_outside_the_memory_are_left_out() {
        let mut map = memmap2::MmapMut::map_anon(4 * PAGE).unwrap();
        populate(&mut map, &[(0, PAGE), (PAGE, 8 * PAGE), (usize::MAX, 1)]);
        populate(&mut map, &[(2 * PAGE, PAGE), (0, PAGE)]);
    }
}
