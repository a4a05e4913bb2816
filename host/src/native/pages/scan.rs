//! The ioctl PAGEMAP_SCAN (Linux 6.7, Documentation/admin-guide/mm/pagemap.rst).

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
