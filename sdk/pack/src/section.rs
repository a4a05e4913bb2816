//! Lists as WebAssembly's binary format has them: a number, and as many entries.

use wasmparser::{BinaryReader, BinaryReaderError};

/// The number that a list begins with, and its entries.
///
/// # Errors
///
/// No unsigned LEB128 of 32 bits stands there.
pub(super) fn counted(bytes: &[u8]) -> Result<(u32, &[u8]), BinaryReaderError> {
    let mut reader = BinaryReader::new(bytes, 0);
    let count = reader.read_var_u32()?;
    Ok((count, &bytes[reader.original_position()..]))
}
