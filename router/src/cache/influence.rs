//! What in a request may change an answer although nothing says so: who asks, by which way, and on which condition.
//!
//! A response that such a header may have changed is never stored. If it was one that others may have, the next request
//! for it is sent to the app without these headers ([`clean`]), and what comes of that is stored: so neither a cookie nor
//! a forged `X-Forwarded-Host` can change what another client is served, whatever the app makes of them. A header that
//! `Vary` names is part of the key, and stays.

use http::HeaderMap;
use http::header::HeaderName;

/// Headers that say who asks, and conditions.
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

/// Beginnings of headers that proxies and frameworks take for the request's own host, path or method.
const FAMILIES: [&str; 6] = [
    "x-forwarded",
    "x-original",
    "x-rewrite",
    "x-http-",
    "cf-",
    "x-envoy-",
];

fn influences(name: &HeaderName) -> bool {
    let text = name.as_str();
    NAMES.binary_search(&text).is_ok() || FAMILIES.iter().any(|family| text.starts_with(family))
}

/// Whether a request has any such header that is not among `keyed`.
pub fn any(request: &HeaderMap, keyed: &[HeaderName]) -> bool {
    request
        .keys()
        .any(|name| influences(name) && !keyed.contains(name))
}

/// Takes them out of a request.
pub fn clean(request: &mut HeaderMap, keyed: &[HeaderName]) {
    let found: Vec<HeaderName> = request
        .keys()
        .filter(|name| influences(name) && !keyed.contains(name))
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
    fn the_names_can_be_searched() {
        assert!(NAMES.is_sorted());
    }

    #[test]
    fn what_may_change_an_answer_is_taken_out_unless_it_is_keyed() {
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
