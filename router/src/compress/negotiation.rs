//! Choice of a client's content coding for responses that the router encodes itself.

use http::HeaderMap;
use http::header::ACCEPT_ENCODING;

use super::compressible::forbids_transformation;
use crate::semantics::accept_encoding::{AcceptEncoding, ContentCoding};

/// Order of preference for bodies that are encoded for each response: the least time for each byte saved.
pub(crate) const BY_TIME: [ContentCoding; 3] = [
    ContentCoding::Zstd,
    ContentCoding::Gzip,
    ContentCoding::Brotli,
];
/// Order of preference for bodies that are encoded once and kept: the fewest bytes.
pub(crate) const BY_SIZE: [ContentCoding; 3] = ContentCoding::ALL;

/// Returns the coding that a request prefers among those `offered`, which are in the router's order of preference.
pub(crate) fn preferred_coding(
    request: &HeaderMap,
    offered: [ContentCoding; 3],
) -> Option<ContentCoding> {
    if !request.contains_key(ACCEPT_ENCODING) {
        return None;
    }
    let coding = AcceptEncoding::of(request).choose(offered.into_iter())?;
    (!forbids_transformation(request)).then_some(coding)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::CACHE_CONTROL;

    use super::*;

    #[test]
    fn order_of_preference_breaks_ties_between_codings() {
        let mut headers = HeaderMap::new();
        assert_eq!(preferred_coding(&headers, BY_TIME), None);
        let mut asks = |value| {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(value));
            (
                preferred_coding(&headers, BY_TIME),
                preferred_coding(&headers, BY_SIZE),
            )
        };
        let (zstd, brotli) = (Some(ContentCoding::Zstd), Some(ContentCoding::Brotli));
        assert_eq!(asks("gzip, deflate, br, zstd"), (zstd, brotli));
        assert_eq!(
            asks("gzip, deflate, br"),
            (Some(ContentCoding::Gzip), brotli)
        );
        assert_eq!(asks("zstd;q=0.5, br;q=0.6"), (brotli, brotli));
        assert_eq!(asks("identity"), (None, None));
    }

    #[test]
    fn no_transform_in_a_request_disables_compression() {
        let headers = HeaderMap::from_iter([
            (ACCEPT_ENCODING, HeaderValue::from_static("gzip")),
            (CACHE_CONTROL, HeaderValue::from_static("no-transform")),
        ]);
        assert_eq!(preferred_coding(&headers, BY_TIME), None);
    }
}
