//! Ranges of bytes (RFC 9110 section 14).

use std::ops::Range;

use http::HeaderMap;
use http::header::RANGE;

use crate::semantics::byte_range::part;

/// What a request's `Range` asks of content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// All of it: nothing was asked, or nothing that is understood. Several ranges are answered with the whole too, which
    /// section 14.2 leaves to the server.
    Whole,
    /// These bytes.
    Part(Range<usize>),
    /// Bytes that are not there (416).
    Nothing,
}

/// The range that `headers` ask for of `length` bytes.
pub(crate) fn asked(headers: &HeaderMap, length: usize) -> Asked {
    let mut lines = headers.get_all(RANGE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Asked::Whole;
    };
    let range = line.to_str().ok().and_then(|line| line.split_once('='));
    match range {
        Some((unit, range)) if unit.eq_ignore_ascii_case("bytes") => {
            parse(range.trim(), length).unwrap_or(Asked::Whole)
        }
        _ => Asked::Whole,
    }
}

fn parse(range: &str, length: usize) -> Option<Asked> {
    let part = part(range.as_bytes(), length as u64)?;
    // Neither end is beyond the length.
    let part = part.start as usize..part.end as usize;
    Some(if part.is_empty() {
        Asked::Nothing
    } else {
        Asked::Part(part)
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn of(range: &str, length: usize) -> Asked {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, HeaderValue::from_str(range).unwrap());
        asked(&headers, length)
    }

    #[test]
    fn a_range_is_cut_to_what_is_there() {
        assert_eq!(of("bytes=0-0", 10), Asked::Part(0..1));
        assert_eq!(of("bytes=2-5", 10), Asked::Part(2..6));
        assert_eq!(of("bytes=5-", 10), Asked::Part(5..10));
        assert_eq!(
            of("bytes=5-99999999999999999999999", 10),
            Asked::Part(5..10)
        );
        assert_eq!(of("bytes=-3", 10), Asked::Part(7..10));
        assert_eq!(of("bytes=-99", 10), Asked::Part(0..10));
        assert_eq!(of("Bytes=0-3", 10), Asked::Part(0..4));
    }

    #[test]
    fn a_range_outside_of_the_content_is_nothing() {
        for range in [
            "bytes=10-",
            "bytes=10-12",
            "bytes=-0",
            "bytes=99999999999999999999-",
        ] {
            assert_eq!(of(range, 10), Asked::Nothing, "{range}");
        }
        assert_eq!(of("bytes=0-", 0), Asked::Nothing);
        assert_eq!(of("bytes=-1", 0), Asked::Nothing);
    }

    #[test]
    fn what_is_not_understood_asks_for_the_whole() {
        for range in [
            "lines=1-2",
            "bytes=5-2",
            "bytes=",
            "bytes=-",
            "bytes",
            "bytes=a-b",
            "bytes=1-2,4-5",
            "bytes=+1-2",
            "bytes=1 - 2",
            "bytes=0x1-2",
        ] {
            assert_eq!(of(range, 10), Asked::Whole, "{range}");
        }
    }

    proptest! {
        #[test]
        fn no_range_leaves_the_content(range in "bytes=[-0-9, ]{0,24}", length in 0usize..1000) {
            if let Asked::Part(part) = of(&range, length) {
                prop_assert!(part.start < part.end && part.end <= length);
            }
        }
    }
}
