//! Ranges of a stored response (RFC 9110 section 14).

use std::ops::Range;

use crate::semantics::byte_range::part;

/// Ranges that one request may ask for. More are answered whole: the parts' heads would outgrow what they carry.
const MOST: usize = 16;

/// What a `Range` header asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ranges {
    /// The whole: it is no range of bytes, or asks for nothing less.
    Whole,
    /// These bytes, in the order asked for.
    Parts(Vec<Range<u64>>),
    /// Nothing that is there (416).
    Unsatisfiable,
}

/// Reads a `Range` header for a body of `length` bytes.
pub fn parse(header: &[u8], length: u64) -> Ranges {
    let Some((unit, specs)) = header
        .iter()
        .position(|byte| *byte == b'=')
        .map(|at| (&header[..at], &header[at + 1..]))
    else {
        return Ranges::Whole;
    };
    if !unit.trim_ascii().eq_ignore_ascii_case(b"bytes") {
        return Ranges::Whole;
    }
    let mut parts = Vec::new();
    let mut specs_seen = 0;
    for spec in specs.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
        if spec.is_empty() {
            continue;
        }
        specs_seen += 1;
        match part(spec, length) {
            // One that cannot be read makes the whole header one that is not there.
            None => return Ranges::Whole,
            Some(part) if part.is_empty() => {}
            Some(part) => parts.push(part),
        }
        if specs_seen > MOST {
            return Ranges::Whole;
        }
    }
    if specs_seen == 0 {
        return Ranges::Whole;
    }
    if parts.is_empty() {
        return Ranges::Unsatisfiable;
    }
    // Overlaps ask for more than there is, which only an attack does (RFC 9110 section 14.2).
    let asked = parts
        .iter()
        .fold(0u64, |sum, part| sum.saturating_add(part.end - part.start));
    if parts.len() > 1 && asked > length {
        return Ranges::Whole;
    }
    Ranges::Parts(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_of_a_range_is_read() {
        let one = |part: Range<u64>| Ranges::Parts(vec![part]);
        for (header, expected) in [
            ("bytes=0-1", one(0..2)),
            ("bytes=5-", one(5..10)),
            ("bytes=-3", one(7..10)),
            ("bytes=-30", one(0..10)),
            ("bytes=8-99", one(8..10)),
            ("BYTES= 1-1 ", one(1..2)),
            ("bytes=0-0, 9-9", Ranges::Parts(vec![0..1, 9..10])),
            ("bytes=20-30, 1-1", one(1..2)),
            ("bytes=10-", Ranges::Unsatisfiable),
            ("bytes=-0", Ranges::Unsatisfiable),
            ("bytes=99999999999999999999-", Ranges::Unsatisfiable),
            ("bytes=2-1", Ranges::Whole),
            ("bytes=a-b", Ranges::Whole),
            ("bytes=-", Ranges::Whole),
            ("bytes=", Ranges::Whole),
            ("lines=0-1", Ranges::Whole),
            ("bytes", Ranges::Whole),
            ("bytes=0-,0-", Ranges::Whole),
        ] {
            assert_eq!(parse(header.as_bytes(), 10), expected, "{header}");
        }
        assert_eq!(parse(b"bytes=0-", 0), Ranges::Unsatisfiable);
        let many = format!("bytes={}", ["1-1"; 20].join(","));
        assert_eq!(parse(many.as_bytes(), 1000), Ranges::Whole);
    }
}
