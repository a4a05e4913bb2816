//! Ranges lie within the body, and are together no longer than it.

#![no_main]

use corundum_router::cache::range::{Ranges, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], u64)| {
    let (header, length) = input;
    if let Ranges::Parts(parts) = parse(header, length) {
        assert!(parts.iter().all(|part| part.start < part.end && part.end <= length));
        let all = parts.iter().fold(0u64, |sum, part| sum.saturating_add(part.end - part.start));
        assert!(parts.len() == 1 || all <= length);
    }
});
