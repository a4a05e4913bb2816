//! Bytes that do not compress.

/// Returns `length` pseudorandom bytes, the same ones in each run (Marsaglia's xorshift).
pub fn incompressible(length: usize) -> Vec<u8> {
    let mut state = 1u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    })
    .take(length)
    .collect()
}
