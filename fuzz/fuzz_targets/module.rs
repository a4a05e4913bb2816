//! The passes over WebAssembly refuse invalid modules, and whatever they accept stays a module.

#![no_main]

use corundum_pack::split::split;
use corundum_pack::{preemption, spill};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<u32>, &[u8])| {
    let (polling, wasm) = input;
    if let Ok(parts) = split("a", wasm, &[]) {
        assert!(parts.code.starts_with(b"\0asm"));
    }
    if let Ok(code) = preemption::insert_polls(wasm, &polling) {
        assert!(code.starts_with(b"\0asm"));
    }
    let _ = preemption::functions_named(wasm, ["a"].into_iter());
    let _ = spill::spill_pointers(wasm, &["a"], spill::IndirectCalls::Within);
});
