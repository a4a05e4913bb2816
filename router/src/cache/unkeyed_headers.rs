//! Request headers that may change a response although they are not part of its key.
//!
//! Every header may, unless it is listed here: an app may repeat any of them or decide by it. A response to a request with
//! such a header is never stored. If it may be shared, the next request for it is sent to the app without these headers
//! ([`keyed_only`]), and that response is stored. So no header of one client can change the response to another, however
//! the app uses it. A header that `Vary` names is part of the key, and is sent in the form that it has there.

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

use super::vary;

/// Headers that cannot make the responses to two requests with one key differ. Sorted. `Host` is part of the key, the
/// length of a missing body is nothing, and the router replaces the others.
const HARMLESS: [&str; 6] = [
    "content-length",
    "host",
    "surrogate-capability",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-request-start",
];

/// Headers by which an app knows its visitor, and conditions. Sorted.
const PERSONAL: [&str; 9] = [
    "authorization",
    "cookie",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "proxy-authorization",
    "range",
];

fn is_unkeyed(name: &HeaderName, keyed: &[HeaderName]) -> bool {
    HARMLESS.binary_search(&name.as_str()).is_err() && !keyed.contains(name)
}

/// Returns whether a request has a header that may change the response and is not among `keyed`.
pub fn any(request: &HeaderMap, keyed: &[HeaderName]) -> bool {
    request.keys().any(|name| is_unkeyed(name, keyed))
}

/// Returns whether a request has a `keyed` header in another form than the key. Whitespace between members means nothing
/// to every recipient (RFC 9110 section 5.6.1).
pub fn any_in_another_form(request: &HeaderMap, keyed: &[HeaderName]) -> bool {
    let mut normal = Vec::new();
    keyed.iter().any(|name| {
        let mut lines = request.get_all(name).iter();
        match (lines.next(), lines.next()) {
            (None, _) => false,
            (Some(_), Some(_)) => true,
            (Some(line), None) => {
                normal.clear();
                vary::normalise(name, request, &mut normal);
                let visible = |byte: &&u8| !matches!(byte, b' ' | b'\t');
                let line = line.as_bytes().iter().filter(visible);
                !line.eq(normal.iter().filter(visible))
            }
        }
    })
}

/// Returns the headers of a request that are part of its key, in the form that they have there, and those that cannot
/// change the response.
pub fn keyed_only(request: &HeaderMap, keyed: &[HeaderName]) -> HeaderMap {
    let mut kept = HeaderMap::with_capacity(HARMLESS.len() + keyed.len() + 8);
    for name in HARMLESS {
        if let Some((name, value)) = request
            .get(name)
            .map(|value| (HeaderName::from_static(name), value))
        {
            kept.insert(name, value.clone());
        }
    }
    for name in keyed.iter().filter(|name| request.contains_key(*name)) {
        let mut normal = Vec::new();
        vary::normalise(name, request, &mut normal);
        // Members of valid values with a comma between them are a valid value.
        if let Ok(value) = HeaderValue::from_maybe_shared(bytes::Bytes::from(normal)) {
            kept.insert(name, value);
        }
    }
    kept
}

/// Returns whether a request has a header by which an app knows its visitor, or a condition, that is not among `keyed`.
pub(crate) fn is_personal(request: &HeaderMap, keyed: &[HeaderName]) -> bool {
    let personal = |name: &HeaderName| PERSONAL.binary_search(&name.as_str()).is_ok();
    request
        .keys()
        .any(|name| personal(name) && !keyed.contains(name))
}

#[cfg(test)]
mod tests {
    use proptest::{prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn request(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    const COOKIE: HeaderName = HeaderName::from_static("cookie");

    #[test]
    fn lists_are_sorted() {
        assert!(HARMLESS.is_sorted() && PERSONAL.is_sorted());
    }

    #[test]
    fn only_keyed_and_harmless_headers_are_kept() {
        let request = request(&[
            ("cookie", "a=1"),
            ("x-forwarded-host", "x"),
            ("range", "bytes=0-"),
            ("user-agent", "x"),
            ("x-anything", "x"),
            ("host", "a.example"),
        ]);
        assert!(any(&request, &[]) && any(&request, &[COOKIE]));
        let kept = keyed_only(&request, &[COOKIE]);
        assert!(!any(&kept, &[COOKIE]) && any(&kept, &[]));
        let mut left: Vec<&str> = kept.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["cookie", "host"]);
    }

    #[test]
    fn keyed_headers_are_sent_in_the_form_of_the_key() {
        let name = HeaderName::from_static("accept-language");
        for (lines, form) in [
            (&[("accept-language", "eN , De")][..], "en, de"),
            (
                &[("accept-language", "en"), ("accept-language", "de")],
                "en, de",
            ),
        ] {
            let request = request(lines);
            assert!(any_in_another_form(&request, std::slice::from_ref(&name)));
            let kept = keyed_only(&request, std::slice::from_ref(&name));
            assert_eq!(kept[&name], form);
            assert!(!any_in_another_form(&kept, std::slice::from_ref(&name)));
        }
    }

    proptest! {
        #[test]
        fn what_is_kept_is_a_function_of_the_key(
            lines in proptest::collection::vec(("(a|b|cookie|x-[a-z]{1,3}|host)", "[a-zA-Z0-9,; \"]{0,10}"), 0..8),
        ) {
            let keyed = [HeaderName::from_static("a"), HeaderName::from_static("b")];
            let mut request = HeaderMap::new();
            for (name, value) in &lines {
                let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                request.append(name, HeaderValue::from_str(value).unwrap());
            }
            let key = |headers: &HeaderMap| {
                let mut key = Vec::new();
                super::super::key::encode_variant(&mut key, &keyed, headers);
                key
            };
            let kept = keyed_only(&request, &keyed);
            prop_assert!(!any(&kept, &keyed));
            prop_assert_eq!(key(&kept), key(&request));
            prop_assert_eq!(&keyed_only(&kept, &keyed), &kept);
        }
    }
}
