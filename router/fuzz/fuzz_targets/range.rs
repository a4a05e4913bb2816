//! Ranges lie within the body, and together select no more bytes than it has.

#![no_main]

use corundum_router::semantics::byte_range::{ByteRanges, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], u64)| {
    let (header, length) = input;
    let parts = match parse(header, length) {
        ByteRanges::Single(part) => vec![part],
        ByteRanges::Multiple(parts) => parts,
        ByteRanges::Whole | ByteRanges::Unsatisfiable => return,
    };
    assert!(parts.iter().all(|part| part.start < part.end && part.end <= length));
    let all = parts.iter().fold(0u64, |sum, part| sum.saturating_add(part.end - part.start));
    assert!(parts.len() == 1 || all <= length);
});
