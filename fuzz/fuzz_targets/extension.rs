//! A module of a native extension is prepared for a pack or refused, and what is prepared is a module that imports nothing else
//! than extensions may.

#![no_main]

use std::sync::LazyLock;

use corundum_pack::extension::{self, PackSymbols, take_symbols};
use libfuzzer_sys::fuzz_target;

/// A pack with two functions, a variable and a tag.
static SYMBOLS: LazyLock<PackSymbols> = LazyLock::new(|| {
    let wasm = wat::parse_str(
        r#"(module
            (table (export "__indirect_function_table") 2 2 funcref)
            (tag (export "__c_longjmp") (param i32))
            (global (export "a") i32 (i32.const 4096))
            (elem (i32.const 1) $b)
            (func $b (export "b") (param i32) (result i32) (local.get 0))
            (func (export "stack_low")))"#,
    );
    take_symbols(&wasm.unwrap(), |_| true, 1024, "code.g0").unwrap().1
});

fuzz_target!(|input: ([u32; 4], &[u8])| {
    let (sizes, wasm) = input;
    let module = with_sizes(wasm, sizes);
    let _ = extension::initial_data(&module);
    match extension::prepare(&module, &SYMBOLS) {
        Ok(prepared) => {
            assert!(prepared.code.starts_with(b"\0asm"));
            assert!(prepared.layout.table_size <= 40_000);
        }
        Err(error) => drop(error.to_string()),
    }
});

/// Puts a section dylink.0 in front of a module, since random bytes seldom begin with one.
fn with_sizes(wasm: &[u8], sizes: [u32; 4]) -> Vec<u8> {
    let Some(rest) = wasm.strip_prefix(b"\0asm\x01\0\0\0") else {
        return wasm.to_vec();
    };
    let mut numbers = Vec::new();
    for mut number in sizes {
        while number > 0x7f {
            numbers.push(number as u8 | 0x80);
            number >>= 7;
        }
        numbers.push(number as u8);
    }
    let mut section = vec![8];
    section.extend_from_slice(b"dylink.0");
    section.extend_from_slice(&[1, numbers.len() as u8]);
    section.extend_from_slice(&numbers);
    let mut module = b"\0asm\x01\0\0\0\0".to_vec();
    module.push(section.len() as u8);
    module.extend_from_slice(&section);
    module.extend_from_slice(rest);
    module
}
