//! Headers of an encoded response.

use http::header::{ACCEPT_RANGES, CONTENT_ENCODING, ETAG, VARY};
use http::{HeaderMap, HeaderValue};

use super::coded_tag;
use crate::semantics::accept_encoding::ContentCoding;

const ACCEPT_ENCODING: &str = "accept-encoding";

/// Turns headers into those of an encoded response. Its entity tag becomes one of its own, since the bytes differ (RFC
/// 9110 section 8.8.3.3); ranges are not offered, since the encoded bytes are not kept. The caller sets the length.
pub(crate) fn encoded(headers: &mut HeaderMap, coding: ContentCoding) {
    let name = HeaderValue::from_static(coding.name());
    headers.insert(CONTENT_ENCODING, name);
    headers.remove(ACCEPT_RANGES);
    if let Some(tag) = headers.get(ETAG) {
        match coded_tag::of(tag, coding) {
            Some(coded) => headers.insert(ETAG, coded),
            None => headers.remove(ETAG),
        };
    }
    vary(headers);
}

/// Adds `Accept-Encoding` to `Vary` (RFC 9110 section 12.5.5), unless it is there already.
pub(crate) fn vary(headers: &mut HeaderMap) {
    let names = |line: &HeaderValue| {
        let mut names = line.as_bytes().split(|byte| *byte == b',');
        names.any(|name| {
            let name = name.trim_ascii();
            name == b"*" || name.eq_ignore_ascii_case(ACCEPT_ENCODING.as_bytes())
        })
    };
    if headers.get_all(VARY).iter().any(names) {
        return;
    }
    let joined = match headers.get(VARY).map(HeaderValue::as_bytes) {
        None | Some(b"") => HeaderValue::from_static(ACCEPT_ENCODING),
        Some(first) => {
            let joined = [first, b", ", ACCEPT_ENCODING.as_bytes()].concat();
            let joined = HeaderValue::from_maybe_shared(bytes::Bytes::from(joined));
            // A valid value followed by a header name is a valid value.
            joined.unwrap_or_else(|_| HeaderValue::from_static(ACCEPT_ENCODING))
        }
    };
    match headers.get_mut(VARY) {
        // With several lines, the first one changes and the others stay.
        Some(line) => *line = joined,
        None => {
            headers.insert(VARY, joined);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn varies(lines: &[&'static str]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(VARY, HeaderValue::from_static(line));
        }
        vary(&mut headers);
        let lines = headers.get_all(VARY).iter();
        lines
            .map(|line| line.to_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn vary_is_merged_without_duplicates() {
        assert_eq!(varies(&[]), ["accept-encoding"]);
        assert_eq!(varies(&[""]), ["accept-encoding"]);
        assert_eq!(varies(&["Cookie"]), ["Cookie, accept-encoding"]);
        assert_eq!(
            varies(&["Cookie", "Origin"]),
            ["Cookie, accept-encoding", "Origin"]
        );
        assert_eq!(varies(&["*"]), ["*"]);
        for said in [
            &["Accept-Encoding"][..],
            &["Cookie , ACCEPT-ENCODING"],
            &["Cookie", "accept-encoding"],
            &["Cookie, *"],
        ] {
            assert_eq!(varies(said), said);
        }
    }

    #[test]
    fn encoded_response_has_its_own_tag_and_offers_no_ranges() {
        let mut headers = HeaderMap::from_iter([
            (ETAG, HeaderValue::from_static("\"a\"")),
            (ACCEPT_RANGES, HeaderValue::from_static("bytes")),
        ]);
        encoded(&mut headers, ContentCoding::Gzip);
        assert!(!headers.contains_key(ACCEPT_RANGES));
        assert_eq!(headers[CONTENT_ENCODING], "gzip");
        assert_eq!(headers[ETAG], "W/\"a;gzip\"");
    }
}
