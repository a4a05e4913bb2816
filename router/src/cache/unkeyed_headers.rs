//! Request headers that may change a response although they are not part of its key: identity, route and conditions.
//!
//! A response that such a header may have changed is never stored. If it may be shared, the next request for it is sent
//! to the app without these headers ([`clean`]), and that response is stored. So neither a cookie nor a forged
//! `X-Forwarded-Host` can change the responses to other clients, however the app uses them. A header that `Vary` names
//! is part of the key, and is sent.

use http::HeaderMap;
use http::header::HeaderName;

/// Headers that identify a client or its route, and conditions. Sorted.
const NAMES: [&str; 22] = [
    "authorization",
    "client-ip",
    "cookie",
    "fastly-client-ip",
    "forwarded",
    "front-end-https",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "proxy-authorization",
    "range",
    "true-client-ip",
    "x-client-ip",
    "x-host",
    "x-method-override",
    "x-override-url",
    "x-proxyuser-ip",
    "x-real-ip",
    "x-request-id",
    "x-url-scheme",
];

/// Prefixes of headers that proxies and frameworks use as the request's host, path, method or client.
const PREFIXES: [&str; 6] = [
    "x-forwarded",
    "x-original",
    "x-rewrite",
    "x-http-",
    "cf-",
    "x-envoy-",
];

fn is_unkeyed(name: &HeaderName) -> bool {
    let text = name.as_str();
    NAMES.binary_search(&text).is_ok() || PREFIXES.iter().any(|prefix| text.starts_with(prefix))
}

/// Returns whether a request has such a header that is not among `keyed`.
pub fn any(request: &HeaderMap, keyed: &[HeaderName]) -> bool {
    request
        .keys()
        .any(|name| is_unkeyed(name) && !keyed.contains(name))
}

/// Removes such headers that are not among `keyed` from a request.
pub fn clean(request: &mut HeaderMap, keyed: &[HeaderName]) {
    let found: Vec<HeaderName> = request
        .keys()
        .filter(|name| is_unkeyed(name) && !keyed.contains(name))
        .cloned()
        .collect();
    for name in found {
        request.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn names_are_sorted() {
        assert!(NAMES.is_sorted());
    }

    #[test]
    fn unkeyed_headers_are_removed_and_keyed_ones_stay() {
        let names = [
            "cookie",
            "x-forwarded-host",
            "x-original-url",
            "range",
            "accept",
        ];
        let mut request = HeaderMap::new();
        for name in names {
            request.insert(HeaderName::from_static(name), HeaderValue::from_static("1"));
        }
        let keyed = [HeaderName::from_static("cookie")];
        assert!(any(&request, &keyed));
        clean(&mut request, &keyed);
        assert!(!any(&request, &keyed));
        let mut left: Vec<&str> = request.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "cookie"]);
    }
}
