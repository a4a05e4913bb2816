//! The memory of a booted app as a list of its pages that hold something, in a form that no engine defines.

use corundum_pack::image::{GlobalValue, ImageGlobal, PAGE, write_image};
use serde::{Deserialize, Serialize};
use wasmtime::Val;

/// Bytes of a page of a WebAssembly memory.
const WASM_PAGE: usize = 64 << 10;
/// Most pages of the kernel's size in a 32-bit memory.
const MAX_PAGES: u64 = (4 << 30) / PAGE as u64;

/// Consecutive pages: the number of the first one, and their count.
pub(super) type PageRun = (u32, u32);

/// A page of a memory: its number and its bytes, of which one at least is not zero.
pub(super) type Page<'a> = (u32, &'a [u8]);

/// A global of an image, with the bits of its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedGlobal {
    name: String,
    kind: GlobalKind,
    bits: u64,
}

/// The type of a global.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum GlobalKind {
    I32,
    I64,
    F32,
    F64,
}

/// The size of a memory, and the globals beside it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MemoryShape {
    /// Pages of 64 KiB.
    wasm_pages: u64,
    globals: Vec<SavedGlobal>,
}

impl MemoryShape {
    /// Describes a memory of `bytes` and its globals.
    ///
    /// # Errors
    ///
    /// A global has a type that an image cannot hold.
    pub(super) fn new(bytes: usize, globals: &[(String, Val)]) -> Result<Self, String> {
        let saved = globals.iter().map(|(name, value)| {
            let (kind, bits) = match value {
                Val::I32(value) => (GlobalKind::I32, u64::from(value.cast_unsigned())),
                Val::I64(value) => (GlobalKind::I64, value.cast_unsigned()),
                Val::F32(bits) => (GlobalKind::F32, u64::from(*bits)),
                Val::F64(bits) => (GlobalKind::F64, *bits),
                other => {
                    return Err(format!(
                        "global {name} has a type that an image cannot hold: {other:?}"
                    ));
                }
            };
            let name = name.clone();
            Ok(SavedGlobal { name, kind, bits })
        });
        Ok(Self {
            wasm_pages: (bytes / WASM_PAGE) as u64,
            globals: saved.collect::<Result<_, _>>()?,
        })
    }

    /// Returns whether all pages of `runs` lie within the memory, in ascending order.
    pub(super) fn holds(&self, runs: &[PageRun]) -> bool {
        let pages = self.wasm_pages.saturating_mul((WASM_PAGE / PAGE) as u64);
        pages <= MAX_PAGES && are_below(runs, pages)
    }

    /// Encodes a memory of this shape that holds `pages` as a data-only module.
    pub(super) fn to_wasm(&self, pages: &[Page<'_>]) -> Vec<u8> {
        let globals: Vec<_> = self.globals.iter().map(SavedGlobal::of_module).collect();
        let runs = pages
            .iter()
            .map(|(page, bytes)| (*page as usize * PAGE, *bytes));
        write_image(self.wasm_pages, None, &globals, runs)
    }
}

impl SavedGlobal {
    fn of_module(&self) -> ImageGlobal {
        // The bits of a narrow type are in the lower half.
        let low = self.bits as u32;
        ImageGlobal {
            name: self.name.clone(),
            value: match self.kind {
                GlobalKind::I32 => GlobalValue::I32(low.cast_signed()),
                GlobalKind::I64 => GlobalValue::I64(self.bits.cast_signed()),
                GlobalKind::F32 => GlobalValue::F32(low),
                GlobalKind::F64 => GlobalValue::F64(self.bits),
            },
        }
    }
}

/// Returns the pages of `memory` that hold something.
pub(super) fn nonzero_pages(memory: &[u8]) -> Vec<Page<'_>> {
    let pages = (0..).zip(memory.chunks_exact(PAGE));
    pages.filter(|(_, bytes)| !is_zero(bytes)).collect()
}

/// Returns whether all bytes are zero.
pub(super) fn is_zero(bytes: &[u8]) -> bool {
    // Blocks at a time, which the compiler turns into vector instructions.
    let (blocks, rest) = bytes.as_chunks::<64>();
    let mut blocks = blocks.iter();
    blocks.all(|block| block.iter().fold(0, |all, byte| all | byte) == 0)
        && rest.iter().all(|byte| *byte == 0)
}

/// Joins the numbers of pages, which are in ascending order, to runs.
pub(super) fn runs_of(pages: impl IntoIterator<Item = u32>) -> Vec<PageRun> {
    let mut runs: Vec<PageRun> = Vec::new();
    for page in pages {
        match runs.last_mut() {
            Some((first, count)) if *first + *count == page => *count += 1,
            _ => runs.push((page, 1)),
        }
    }
    runs
}

/// Returns the pages of `runs`, whose bytes follow each other in `bytes`. Pages without bytes are left out.
pub(super) fn pages_of<'a>(runs: &[PageRun], bytes: &'a [u8]) -> Vec<Page<'a>> {
    let numbers = runs.iter().flat_map(|(first, count)| {
        let end = first.saturating_add(*count);
        *first..end
    });
    numbers.zip(bytes.chunks_exact(PAGE)).collect()
}

/// Returns whether all pages of `runs` lie within a 32-bit memory, in ascending order.
pub(super) fn are_valid(runs: &[PageRun]) -> bool {
    are_below(runs, MAX_PAGES)
}

fn are_below(runs: &[PageRun], pages: u64) -> bool {
    let mut end = 0;
    runs.iter().all(|(first, count)| {
        let in_order = u64::from(*first) >= end && *count > 0;
        end = u64::from(*first) + u64::from(*count);
        in_order && end <= pages
    })
}

/// Returns the number of pages in `runs`.
pub(super) fn count(runs: &[PageRun]) -> u64 {
    runs.iter().map(|(_, count)| u64::from(*count)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_zeros_are_left_out_and_the_others_are_found_again() {
        let mut memory = vec![0; 10 * PAGE];
        for (page, at) in [(2, 0), (3, PAGE - 1), (7, 63)] {
            memory[page * PAGE + at] = 1;
        }
        let pages = nonzero_pages(&memory);
        let runs = runs_of(pages.iter().map(|(page, _)| *page));
        assert_eq!(runs, [(2, 2), (7, 1)]);
        let joined: Vec<u8> = pages.iter().flat_map(|(_, bytes)| bytes.to_vec()).collect();
        assert_eq!(pages_of(&runs, &joined), pages);
        assert_eq!(count(&runs), 3);
    }

    #[test]
    fn runs_outside_of_the_memory_or_out_of_order_are_recognised() {
        let shape = MemoryShape::new(2 * WASM_PAGE, &[]).unwrap();
        assert!(shape.holds(&[(0, 1), (1, 31)]));
        for wrong in [
            &[(0, 33)][..],
            &[(5, 1), (4, 1)],
            &[(3, 0)],
            &[(u32::MAX, 9)],
        ] {
            assert!(!shape.holds(wrong), "{wrong:?}");
        }
        let huge = MemoryShape {
            wasm_pages: u64::MAX,
            globals: Vec::new(),
        };
        assert!(!huge.holds(&[(0, 1)]));
    }
}
