//! Conditions of clients that may have an encoded form of what they ask about.
//!
//! What lies behind knows the bytes and tags that the app has made, and compares as it likes; many apps compare tags as
//! strings. So a request goes on with the app's own tags, and a 304 comes back with the client's.

use http::header::{ACCEPT_ENCODING, HeaderName, IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};

use super::client;
use super::headers::{own_tags, vary, weaken};

/// Whoever sends a request has an encoded form of what it asks for.
#[derive(Debug, Clone, Copy)]
struct HasEncoded;

/// Makes the conditions of a request ones about what the app has made.
pub(crate) fn translate(request: &mut Parts) {
    // Who takes no coding any more is not helped by an encoded form.
    if !request.headers.contains_key(ACCEPT_ENCODING) {
        return;
    }
    forget_range_by_date(&mut request.headers);
    if translate_tags(&mut request.headers, &IF_NONE_MATCH) {
        request.extensions.insert(HasEncoded);
    }
    translate_tags(&mut request.headers, &IF_MATCH);
}

/// Gives a header the app's own tags; returns whether it had others.
fn translate_tags(request: &mut HeaderMap, name: &HeaderName) -> bool {
    let own = |line: &HeaderValue| own_tags(line);
    if !request.get_all(name).iter().any(|line| own(line).is_some()) {
        return false;
    }
    let lines = request.get_all(name).iter();
    let lines: Vec<_> = lines
        .map(|line| own(line).unwrap_or_else(|| line.clone()))
        .collect();
    request.remove(name);
    for line in lines {
        request.append(name, line);
    }
    true
}

/// Forgets the range that a request asks for on the condition of a date, if its client takes a coding (RFC 9110 section
/// 14.2 lets anybody): the two forms of a text have the same date, and the rest of one must not be put behind the
/// beginning of the other. An encoded form's tag is weak, which `If-Range` never takes.
fn forget_range_by_date(request: &mut HeaderMap) {
    if !request.contains_key(RANGE) {
        return;
    }
    let by_date = request.get(IF_RANGE).is_some_and(|condition| {
        let condition = condition.as_bytes();
        !condition.starts_with(b"\"") && !condition.starts_with(b"W/")
    });
    if by_date && client::wanted(request, client::BY_TIME).is_some() {
        request.remove(RANGE);
        request.remove(IF_RANGE);
    }
}

/// Makes a 304 to a client that has the encoded form say what that form's own answer has said (RFC 9110 section 15.4.5).
pub(super) fn answer(request: &Parts, not_modified: &mut HeaderMap) {
    if request.extensions.get::<HasEncoded>().is_some() {
        weaken(not_modified);
        vary(not_modified);
    }
}

#[cfg(test)]
mod tests {
    use http::header::{ETAG, VARY};

    use super::*;

    fn of(lines: &[(HeaderName, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(HeaderName, &'static str)| {
            (name.clone(), HeaderValue::from_static(value))
        };
        lines.iter().map(pair).collect()
    }

    #[test]
    fn a_range_is_forgotten_where_its_condition_cannot_tell_two_forms_apart() {
        const DATE: &str = "Wed, 01 Jan 2020 00:00:00 GMT";
        let kept = |condition: Option<&'static str>, accept: &'static str| {
            let mut request = of(&[(RANGE, "bytes=5-"), (ACCEPT_ENCODING, accept)]);
            if let Some(condition) = condition {
                request.insert(IF_RANGE, HeaderValue::from_static(condition));
            }
            forget_range_by_date(&mut request);
            request.contains_key(RANGE)
        };
        assert!(!kept(Some(DATE), "gzip"));
        assert!(kept(Some(DATE), "identity") && kept(Some("\"a\""), "gzip"));
        assert!(kept(Some("W/\"a\""), "gzip") && kept(None, "gzip"));
    }

    /// The header as it goes on, and the tag and whether a 304 varies that comes back with this tag.
    fn through(asked: &'static str, tag: &'static str) -> (String, String, bool) {
        let mut request = http::Request::new(()).into_parts().0;
        request.headers = of(&[(IF_NONE_MATCH, asked), (ACCEPT_ENCODING, "gzip")]);
        translate(&mut request);
        let mut headers = of(&[(ETAG, tag)]);
        answer(&request, &mut headers);
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        (
            text(&request.headers[IF_NONE_MATCH]),
            text(&headers[ETAG]),
            headers.contains_key(VARY),
        )
    }

    #[test]
    fn the_app_sees_its_own_tag_and_the_client_its_own() {
        let owned = |a: &str, b: &str, varies| (a.to_owned(), b.to_owned(), varies);
        let (strong, marked) = ("\"a\"", "W/\"a;encoded\"");
        assert_eq!(through(marked, strong), owned(strong, marked, true));
        assert_eq!(through(strong, strong), owned(strong, strong, false));
        let weak = "W/\"a\"";
        assert_eq!(through(weak, weak), owned(weak, weak, false));
    }
}
