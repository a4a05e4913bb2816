//! Parts that several fuzz targets share.

#![forbid(unsafe_code)]

/// Length of a tar header, and of the unit in which content is padded.
const BLOCK: usize = 512;

/// Returns a tar stream with valid checksums in its headers. A mutation of a header seldom has one, so that most inputs would
/// be refused before the code behind the check.
pub fn with_checksums(stream: &[u8]) -> Vec<u8> {
    let mut stream = stream.to_vec();
    let mut at = 0usize;
    while let Some(block) = stream.get_mut(at..).and_then(|rest| rest.get_mut(..BLOCK)) {
        let mut next = at + BLOCK;
        // Two blocks of zeros end the stream.
        if block.iter().any(|byte| *byte != 0) {
            let mut header = tar::Header::from_byte_slice(block).clone();
            header.set_cksum();
            block.copy_from_slice(header.as_bytes());
            let length = header.entry_size().unwrap_or(0).div_ceil(BLOCK as u64);
            let content = usize::try_from(length).ok().and_then(|blocks| blocks.checked_mul(BLOCK));
            let Some(end) = content.and_then(|content| next.checked_add(content)) else {
                break;
            };
            next = end;
        }
        at = next;
    }
    stream
}
