//! Writer of memory images in WebAssembly's format.
//!
//! An image is a module with a memory, globals and data, but without functions.

use wasm_encoder::{
    ConstExpr, DataSection, ExportKind, ExportSection, GlobalSection, GlobalType, Ieee32, Ieee64,
    MemorySection, MemoryType, Module, ValType,
};

/// Size of a page in bytes, the unit in which the kernel shares and copies an image's memory.
pub const PAGE: usize = 4096;

/// Name under which an image exports its memory.
pub const MEMORY: &str = "memory";

/// A global's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GlobalValue {
    /// An i32.
    I32(i32),
    /// An i64.
    I64(i64),
    /// The bits of an f32.
    F32(u32),
    /// The bits of an f64.
    F64(u64),
}

/// A mutable global of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageGlobal {
    /// Name under which the image exports the global: its module's name, `.g` and its index.
    pub name: String,
    /// The global's value.
    pub value: GlobalValue,
}

/// Writes an image with `globals`, and a memory of `pages` of 64 KiB that holds `runs` (offsets and bytes).
pub fn write_image<'a>(
    pages: u64,
    maximum: Option<u64>,
    globals: &[ImageGlobal],
    runs: impl IntoIterator<Item = (usize, &'a [u8])>,
) -> Vec<u8> {
    let mut module = Module::new();
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: pages,
        maximum,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    module.section(&memories);
    let mut section = GlobalSection::new();
    let mut exports = ExportSection::new();
    exports.export(MEMORY, ExportKind::Memory, 0);
    for (index, global) in (0..).zip(globals) {
        let (val_type, value) = match global.value {
            GlobalValue::I32(value) => (ValType::I32, ConstExpr::i32_const(value)),
            GlobalValue::I64(value) => (ValType::I64, ConstExpr::i64_const(value)),
            GlobalValue::F32(bits) => (ValType::F32, ConstExpr::f32_const(Ieee32::new(bits))),
            GlobalValue::F64(bits) => (ValType::F64, ConstExpr::f64_const(Ieee64::new(bits))),
        };
        section.global(
            GlobalType {
                val_type,
                mutable: true,
                shared: false,
            },
            &value,
        );
        exports.export(&global.name, ExportKind::Global, index);
    }
    module.section(&section);
    module.section(&exports);
    let mut data = DataSection::new();
    for (offset, bytes) in runs {
        // i32.const is signed, so offsets in the memory's upper half are negative.
        let offset = ConstExpr::i32_const(offset as u32 as i32);
        data.active(0, &offset, bytes.iter().copied());
    }
    module.section(&data);
    module.finish()
}

/// Returns the runs of consecutive pages of `memory` that hold a byte other than zero, with their offsets.
pub fn nonzero_runs(memory: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let is_zero = |at: usize| {
            let page = &memory[at..(at + PAGE).min(memory.len())];
            page.iter().all(|byte| *byte == 0)
        };
        while at < memory.len() && is_zero(at) {
            at += PAGE;
        }
        let start = at;
        while at < memory.len() && !is_zero(at) {
            at += PAGE;
        }
        let end = at.min(memory.len());
        (start < end).then(|| (start, &memory[start..end]))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn runs_contain_all_nonzero_bytes(
            pages in proptest::collection::vec(proptest::option::of(0..PAGE), 0..20)
        ) {
            let mut memory = vec![0; pages.len() * PAGE];
            for (index, at) in pages.iter().enumerate() {
                if let Some(at) = at {
                    memory[index * PAGE + at] = 1;
                }
            }
            let mut copy = vec![0; memory.len()];
            for (offset, bytes) in nonzero_runs(&memory) {
                copy[offset..offset + bytes.len()].copy_from_slice(bytes);
            }
            prop_assert_eq!(copy, memory);
        }
    }
}
