//! Ranges of bytes (RFC 9110 section 14): the part of a representation that a request selects.

use std::ops::Range;

use http::Method;
use http::header::RANGE;
use http::request::Parts;

use super::preconditions::{Validators, if_range_holds};

/// Ranges that one request may select. A request for more gets the whole representation, since the header of each part
/// would outgrow the bytes that it carries.
const MAX_RANGES: usize = 16;

/// The bytes of a representation that a request selects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ByteRanges {
    /// All of them (200): the request has no `Range` that applies.
    Whole,
    /// One range (206).
    Single(Range<u64>),
    /// Several ranges in the order of the request (206 with `multipart/byteranges`).
    Multiple(Vec<Range<u64>>),
    /// No byte that exists (416).
    Unsatisfiable,
}

/// Selects the bytes that `request` asks for of a representation of `length` bytes.
///
/// `Range` is defined for GET alone (section 14.2), and applies only while `If-Range` holds (section 13.1.5). A request
/// with several `Range` lines is malformed and gets the whole representation.
pub(crate) fn select<'a>(
    request: &Parts,
    length: u64,
    validators: impl FnOnce() -> Validators<'a>,
) -> ByteRanges {
    if request.method != Method::GET {
        return ByteRanges::Whole;
    }
    let mut lines = request.headers.get_all(RANGE).iter();
    match (lines.next(), lines.next()) {
        (Some(line), None) if if_range_holds(&request.headers, validators) => {
            parse(line.as_bytes(), length)
        }
        _ => ByteRanges::Whole,
    }
}

/// Parses a `Range` header for a representation of `length` bytes. One invalid range makes the whole header invalid, and
/// an invalid header is ignored.
pub fn parse(header: &[u8], length: u64) -> ByteRanges {
    let Some(equals) = header.iter().position(|byte| *byte == b'=') else {
        return ByteRanges::Whole;
    };
    let (unit, specs) = (&header[..equals], &header[equals + 1..]);
    if !unit.trim_ascii().eq_ignore_ascii_case(b"bytes") {
        return ByteRanges::Whole;
    }
    let specs = specs.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let specs = specs.filter(|spec| !spec.is_empty());
    let mut selected = ByteRanges::Whole;
    let (mut count, mut total) = (0, 0u64);
    for spec in specs {
        count += 1;
        let Some(range) = parse_one(spec, length).filter(|_| count <= MAX_RANGES) else {
            return ByteRanges::Whole;
        };
        total = total.saturating_add(range.end - range.start);
        selected = selected.with(range);
    }
    // Overlapping ranges that add up to more than the representation serve no client but an attacker (section 14.2).
    match selected {
        ByteRanges::Multiple(_) if total > length => ByteRanges::Whole,
        selected => selected,
    }
}

impl ByteRanges {
    /// Adds a range to those before it; an empty one is unsatisfiable and adds nothing.
    fn with(self, range: Range<u64>) -> Self {
        match self {
            Self::Whole | Self::Unsatisfiable if range.is_empty() => Self::Unsatisfiable,
            Self::Whole | Self::Unsatisfiable => Self::Single(range),
            some if range.is_empty() => some,
            Self::Single(first) => Self::Multiple(vec![first, range]),
            Self::Multiple(mut ranges) => {
                ranges.push(range);
                Self::Multiple(ranges)
            }
        }
    }
}

/// Parses `first-last`, `first-` or `-suffix` (section 14.1.2), cut to `length` bytes. The range is empty if none of its
/// bytes exists; `None` means that `spec` is invalid.
fn parse_one(spec: &[u8], length: u64) -> Option<Range<u64>> {
    let dash = spec.iter().position(|byte| *byte == b'-')?;
    let (first, last) = (&spec[..dash], &spec[dash + 1..]);
    if first.is_empty() {
        let suffix = number(last)?;
        return Some(length.saturating_sub(suffix)..length);
    }
    let first = number(first)?;
    let end = if last.is_empty() {
        length
    } else {
        let last = number(last)?;
        if last < first {
            return None;
        }
        last.saturating_add(1).min(length)
    };
    Some(first.min(length)..end)
}

/// Parses digits; a number beyond 64 bits becomes the largest one, which lies beyond every representation too.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |sum: u64, digit: &u8| {
        sum.saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    };
    Some(digits.iter().fold(0, add))
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request};
    use proptest::prelude::*;

    use super::*;

    fn of(header: &str, length: u64) -> ByteRanges {
        parse(header.as_bytes(), length)
    }

    #[test]
    fn each_form_of_a_range_is_parsed() {
        let one = ByteRanges::Single;
        for (header, expected) in [
            ("bytes=0-0", one(0..1)),
            ("bytes=0-1", one(0..2)),
            ("bytes=2-5", one(2..6)),
            ("bytes=5-", one(5..10)),
            ("bytes=5-99999999999999999999999", one(5..10)),
            ("bytes=-3", one(7..10)),
            ("bytes=-30", one(0..10)),
            ("bytes=-99", one(0..10)),
            ("bytes=8-99", one(8..10)),
            ("Bytes=0-3", one(0..4)),
            ("BYTES= 1-1 ", one(1..2)),
            ("bytes=0-0, 9-9", ByteRanges::Multiple(vec![0..1, 9..10])),
            ("bytes=1-2,4-5", ByteRanges::Multiple(vec![1..3, 4..6])),
            ("bytes=-1,0-0", ByteRanges::Multiple(vec![9..10, 0..1])),
            ("bytes=20-30, 1-1", one(1..2)),
            ("bytes=1-1, 20-30", one(1..2)),
        ] {
            assert_eq!(of(header, 10), expected, "{header}");
        }
    }

    #[test]
    fn range_outside_of_the_content_is_unsatisfiable() {
        for header in [
            "bytes=10-",
            "bytes=10-12",
            "bytes=10-12, 20-",
            "bytes=-0",
            "bytes=99999999999999999999-",
        ] {
            assert_eq!(of(header, 10), ByteRanges::Unsatisfiable, "{header}");
        }
        assert_eq!(of("bytes=0-", 0), ByteRanges::Unsatisfiable);
        assert_eq!(of("bytes=-1", 0), ByteRanges::Unsatisfiable);
    }

    #[test]
    fn invalid_range_header_selects_the_whole() {
        for header in [
            "lines=0-1",
            "lines=1-2",
            "bytes=2-1",
            "bytes=5-2",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes=1 - 2",
            "bytes=0x1-2",
            "bytes=0-1,x",
            "bytes=0-,0-",
        ] {
            assert_eq!(of(header, 10), ByteRanges::Whole, "{header}");
        }
        let many = format!("bytes={}", ["1-1"; 20].join(","));
        assert_eq!(of(&many, 1000), ByteRanges::Whole);
    }

    #[test]
    fn range_applies_to_a_get_with_one_range_header() {
        let selected = |method: &str, lines: &[&'static str]| {
            let mut request = Request::builder().method(method);
            for line in lines {
                request = request.header(RANGE, HeaderValue::from_static(line));
            }
            let (request, ()) = request.body(()).unwrap().into_parts();
            select(&request, 10, Validators::default)
        };
        assert_eq!(selected("GET", &["bytes=0-1"]), ByteRanges::Single(0..2));
        assert_eq!(selected("HEAD", &["bytes=0-1"]), ByteRanges::Whole);
        assert_eq!(
            selected("GET", &["bytes=0-1", "bytes=2-3"]),
            ByteRanges::Whole
        );
        assert_eq!(selected("GET", &[]), ByteRanges::Whole);
    }

    proptest! {
        #[test]
        fn ranges_stay_within_the_content(header in "bytes=[-0-9, ]{0,24}", length in 0u64..1000) {
            match of(&header, length) {
                ByteRanges::Single(range) => {
                    prop_assert!(range.start < range.end && range.end <= length);
                }
                ByteRanges::Multiple(ranges) => {
                    prop_assert!(ranges.len() > 1);
                    let sum: u64 = ranges.iter().map(|range| range.end - range.start).sum();
                    prop_assert!(sum <= length);
                    prop_assert!(ranges.iter().all(|r| r.start < r.end && r.end <= length));
                }
                ByteRanges::Whole | ByteRanges::Unsatisfiable => {}
            }
        }
    }
}
