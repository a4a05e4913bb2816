//! Decoding of vectors in WebAssembly's binary format, which are a count followed by that many entries.

use wasmparser::{BinaryReader, BinaryReaderError};

/// Splits a vector's bytes into its count and its entries.
///
/// # Errors
///
/// Returns an error if the bytes do not start with an unsigned LEB128 number of 32 bits.
pub(super) fn split_count(bytes: &[u8]) -> Result<(u32, &[u8]), BinaryReaderError> {
    let mut reader = BinaryReader::new(bytes, 0);
    let count = reader.read_var_u32()?;
    Ok((count, &bytes[reader.original_position()..]))
}
