//! Headers of an encoded response.

use bytes::Bytes;
use http::header::{ACCEPT_RANGES, CONTENT_ENCODING, ETAG, VARY};
use http::{HeaderMap, HeaderValue};

use crate::semantics::accept_encoding::ContentCoding;
use crate::semantics::entity_tag::EntityTag;

const ACCEPT_ENCODING: &str = "accept-encoding";
/// Suffix of an encoded response's entity tag. It marks the router's own tags, so that apps can get theirs back.
const ENCODED_SUFFIX: &[u8] = b";encoded\"";

/// Turns headers into those of an encoded response. A strong entity tag becomes a weak one of its own, since the bytes
/// differ (RFC 9110 section 8.8.3.3); ranges are not offered, since the encoded bytes are not kept. The caller sets the
/// length.
pub(crate) fn encoded(headers: &mut HeaderMap, coding: ContentCoding) {
    let name = HeaderValue::from_static(coding.name());
    headers.insert(CONTENT_ENCODING, name);
    headers.remove(ACCEPT_RANGES);
    weaken_tag(headers);
    vary(headers);
}

/// Replaces a strong entity tag by the weak one of the encoded response.
fn weaken_tag(headers: &mut HeaderMap) {
    if let Some(tag) = headers.get_mut(ETAG)
        && let Some(encoded_tag) = encoded_tag(tag)
    {
        *tag = encoded_tag;
    }
}

/// Returns the weak tag of the encoded form of a response with this strong tag.
pub(super) fn encoded_tag(tag: &HeaderValue) -> Option<HeaderValue> {
    let opaque = tag.as_bytes().strip_suffix(b"\"")?;
    let strong = opaque.starts_with(b"\"");
    let encoded_tag = strong.then(|| Bytes::from([b"W/", opaque, ENCODED_SUFFIX].concat()))?;
    HeaderValue::from_maybe_shared(encoded_tag).ok()
}

/// Replaces the router's tags in a list by the app's own ones. Returns `None` if the list contains none.
pub(super) fn own_tags(list: &HeaderValue) -> Option<HeaderValue> {
    memchr::memmem::find(list.as_bytes(), ENCODED_SUFFIX)?;
    let mut own = Vec::with_capacity(list.len());
    for member in EntityTag::list(list.as_bytes()).map(EntityTag::as_bytes) {
        if !own.is_empty() {
            own.extend_from_slice(b", ");
        }
        let strong = member.strip_prefix(b"W/");
        match strong.and_then(|tag| tag.strip_suffix(ENCODED_SUFFIX)) {
            Some(tag) => own.extend([tag, b"\""].concat()),
            None => own.extend_from_slice(member),
        }
    }
    HeaderValue::from_maybe_shared(Bytes::from(own)).ok()
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
            let joined = HeaderValue::from_maybe_shared(Bytes::from(joined));
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
    fn encoding_weakens_the_tag_and_removes_accept_ranges() {
        let of = |tag| {
            let mut headers = HeaderMap::from_iter([
                (ETAG, HeaderValue::from_static(tag)),
                (ACCEPT_RANGES, HeaderValue::from_static("bytes")),
            ]);
            encoded(&mut headers, ContentCoding::Gzip);
            assert!(!headers.contains_key(ACCEPT_RANGES));
            assert_eq!(headers[CONTENT_ENCODING], "gzip");
            headers[ETAG].to_str().unwrap().to_owned()
        };
        assert_eq!(of("\"a\""), "W/\"a;encoded\"");
        assert_eq!(of("W/\"a\""), "W/\"a\"");
        assert_eq!(of("a"), "a", "no tag is left as it is");
    }

    #[test]
    fn tags_of_encoded_responses_become_the_apps_own() {
        let own = |list: &'static str| {
            let own = own_tags(&HeaderValue::from_static(list));
            own.map(|own| own.to_str().unwrap().to_owned())
        };
        assert_eq!(own("W/\"a;encoded\"").unwrap(), "\"a\"");
        let mixed = "\"x,y\" ,W/\"b\",  W/\"a;encoded\"";
        assert_eq!(own(mixed).unwrap(), "\"x,y\", W/\"b\", \"a\"");
        for other in ["\"a\"", "W/\"a\"", "*", ""] {
            assert_eq!(own(other), None);
        }
        // The router's own tags are weak; a strong one is the app's.
        assert_eq!(own("\"a;encoded\"").unwrap(), "\"a;encoded\"");
    }
}
