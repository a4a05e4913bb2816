//! The decision whether a response may be compressed, and is worth it.

use corundum_abi::media;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, StatusCode};

use crate::semantics::list::Members;

/// Smallest body in bytes that is compressed; a smaller one fits into one packet with its head, encoded or not.
const MIN_LENGTH: u64 = 1024;

/// Headers of a body that is already encoded, or that must not change because the header is a digest of its bytes (RFC
/// 9530, RFC 3230).
const NOT_ENCODABLE: [HeaderName; 5] = [
    CONTENT_ENCODING,
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];

/// Returns whether a response is encoded for clients that accept it. `length` is the length of its whole body, if it is
/// known.
pub(crate) fn is_compressible(
    status: StatusCode,
    headers: &HeaderMap,
    length: Option<u64>,
) -> bool {
    let bodiless = status.is_informational()
        || matches!(
            status,
            StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
        );
    !bodiless
        && length.is_none_or(|length| length >= MIN_LENGTH)
        && is_text(headers)
        && !NOT_ENCODABLE.iter().any(|name| headers.contains_key(name))
        && !forbids_transformation(headers)
}

fn is_text(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    kind.is_some_and(media::is_compressible)
}

/// Returns whether `Cache-Control` of a request or a response has `no-transform` (RFC 9111 sections 5.2.1.6 and
/// 5.2.2.6).
pub(crate) fn forbids_transformation(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(CACHE_CONTROL).iter();
    let mut members = lines.flat_map(|line| Members::new(line.as_bytes()));
    members.any(|(name, _)| name.eq_ignore_ascii_case(b"no-transform"))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        lines.iter().map(pair).collect()
    }

    const TEXT: (&str, &str) = ("content-type", "text/html; charset=utf-8");

    #[test]
    fn text_of_at_least_1024_bytes_is_compressible() {
        let page = of(&[TEXT]);
        for (length, expected) in [(Some(1023), false), (Some(1024), true), (None, true)] {
            assert_eq!(
                is_compressible(StatusCode::OK, &page, length),
                expected,
                "{length:?}"
            );
        }
        assert!(is_compressible(StatusCode::NOT_FOUND, &page, None));
        let cached = of(&[
            TEXT,
            ("cache-control", "max-age=60, private=\"no-transform\""),
        ]);
        assert!(is_compressible(StatusCode::OK, &cached, None));
    }

    #[test]
    fn encoded_digested_and_binary_responses_are_not_compressible() {
        for lines in [
            &[][..],
            &[("content-type", "image/png")],
            &[("content-type", "text/event-stream")],
            &[TEXT, ("content-encoding", "gzip")],
            &[TEXT, ("content-encoding", "identity")],
            &[TEXT, ("cache-control", "max-age=60, No-Transform")],
            &[TEXT, ("content-digest", "sha-256=:AAAA:")],
            &[TEXT, ("repr-digest", "sha-256=:AAAA:")],
            &[TEXT, ("digest", "sha-256=AAAA")],
            &[TEXT, ("content-md5", "AAAA")],
        ] {
            assert!(
                !is_compressible(StatusCode::OK, &of(lines), None),
                "{lines:?}"
            );
        }
        for status in [100, 101, 204, 205, 304] {
            let status = StatusCode::from_u16(status).unwrap();
            assert!(!is_compressible(status, &of(&[TEXT]), None), "{status}");
        }
    }
}
