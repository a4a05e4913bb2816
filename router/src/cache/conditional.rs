//! Preconditions of a request, evaluated against a stored response (RFC 9110 section 13, RFC 9111 section 4.3.2).

use std::time::SystemTime;

use http::header::{DATE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE};
use http::{HeaderMap, HeaderValue, Method};

use super::directives::split_unquoted;
use super::freshness::date;

/// Whether the client has what is stored already, so that 304 is the answer. `stored` are the headers of a response with
/// status 200.
pub fn not_modified(
    request: &HeaderMap,
    stored: &HeaderMap,
    last_modified: Option<SystemTime>,
) -> bool {
    if request.contains_key(IF_NONE_MATCH) {
        let etag = stored.get(ETAG);
        let lines = request.get_all(IF_NONE_MATCH);
        return lines.iter().any(|line| any_matches(line.as_bytes(), etag));
    }
    let Some(since) = date(request, &IF_MODIFIED_SINCE) else {
        return false;
    };
    let modified = last_modified.or_else(|| date(stored, &DATE));
    modified.is_some_and(|modified| modified <= since)
}

/// Whether a list of entity tags has one that is the same, weakly compared (RFC 9110 section 8.8.3.2).
fn any_matches(line: &[u8], etag: Option<&HeaderValue>) -> bool {
    let Some(etag) = etag else { return false };
    if line.trim_ascii() == b"*" {
        return true;
    }
    let mut rest = line;
    while !rest.is_empty() {
        let (tag, after) = split_unquoted(rest, b',');
        if opaque(tag.trim_ascii()) == opaque(etag.as_bytes()) {
            return true;
        }
        rest = after;
    }
    false
}

/// A tag without its weakness.
fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// Whether a range may be made of what is stored: `If-Range` is not there, or it names this very response (RFC 9110
/// section 13.1.5). Only a strong validator can.
pub fn if_range(
    request: &HeaderMap,
    stored: &HeaderMap,
    last_modified: Option<SystemTime>,
) -> bool {
    let Some(condition) = request.get(IF_RANGE) else {
        return true;
    };
    if let Some(asked) = date(request, &IF_RANGE) {
        // A second is long: a date is strong only if the response was made a while after it.
        let settled = |modified: SystemTime| {
            let made = date(stored, &DATE).and_then(|made| made.duration_since(modified).ok());
            made.is_some_and(|since| since.as_secs() >= 60)
        };
        return last_modified.is_some_and(|modified| modified == asked && settled(modified));
    }
    stored
        .get(ETAG)
        .is_some_and(|etag| etag == condition && etag.as_bytes().starts_with(b"\""))
}

/// Whether a method asks for a representation, so that conditions are evaluated at all.
pub(crate) fn applies(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::{HeaderName, LAST_MODIFIED};

    const THEN: &str = "Wed, 01 Jan 2020 00:00:00 GMT";
    const LATER: &str = "Wed, 01 Jan 2020 00:02:00 GMT";

    fn map(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)))
            .collect()
    }

    fn modified(stored: &HeaderMap) -> Option<SystemTime> {
        date(stored, &LAST_MODIFIED)
    }

    #[test]
    fn tags_are_compared_weakly_and_before_dates() {
        let stored = map(&[(ETAG, "\"a\""), (LAST_MODIFIED, LATER)]);
        let matches = |value| {
            not_modified(
                &map(&[(IF_NONE_MATCH, value), (IF_MODIFIED_SINCE, LATER)]),
                &stored,
                modified(&stored),
            )
        };
        assert!(matches("\"a\"") && matches("W/\"a\"") && matches("\"b\", \"a\"") && matches("*"));
        assert!(!matches("\"b\"") && !matches("a") && !matches("\"b, \\\"a\""));
    }

    #[test]
    fn a_date_is_compared_with_the_last_modification_or_the_date() {
        let since = |value| map(&[(IF_MODIFIED_SINCE, value)]);
        let stored = map(&[(LAST_MODIFIED, THEN)]);
        assert!(not_modified(&since(THEN), &stored, modified(&stored)));
        assert!(not_modified(
            &since("Wednesday, 01-Jan-20 00:00:00 GMT"),
            &stored,
            modified(&stored)
        ));
        assert!(!not_modified(
            &since("Tue, 31 Dec 2019 00:00:00 GMT"),
            &stored,
            modified(&stored)
        ));
        assert!(!not_modified(
            &since("yesterday"),
            &stored,
            modified(&stored)
        ));
        assert!(not_modified(&since(LATER), &map(&[(DATE, THEN)]), None));
    }

    #[test]
    fn a_range_needs_a_strong_validator() {
        let strong = map(&[(ETAG, "\"a\""), (LAST_MODIFIED, THEN), (DATE, LATER)]);
        let holds = |value, stored: &HeaderMap| {
            if_range(&map(&[(IF_RANGE, value)]), stored, modified(stored))
        };
        assert!(holds("\"a\"", &strong) && holds(THEN, &strong));
        assert!(!holds("\"b\"", &strong) && !holds(LATER, &strong));
        assert!(!holds("W/\"a\"", &map(&[(ETAG, "W/\"a\"")])));
        assert!(!holds(THEN, &map(&[(LAST_MODIFIED, THEN), (DATE, THEN)])));
    }
}
