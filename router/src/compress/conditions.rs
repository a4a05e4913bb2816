//! Conditions of clients that may have an encoded form of what they ask about.
//!
//! An encoded answer has a weak tag, which `If-None-Match` compares as well as a strong one, and `If-Range` never takes.

use http::HeaderMap;
use http::header::{ETAG, IF_NONE_MATCH, IF_RANGE, RANGE};

use super::client;
use super::headers::{vary, weak, weaken};
use crate::cache::directives::split_unquoted;

/// Forgets the range that a request asks for on the condition of a date, if its client takes a coding (RFC 9110 section
/// 14.2 lets anybody): the two forms of a text have the same date, and the rest of one must not be put behind the
/// beginning of the other.
pub(crate) fn forget_range_by_date(request: &mut HeaderMap) {
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

/// Makes a 304 that is about a client's encoded form say what that form's own answer has said (RFC 9110 section
/// 15.4.5). A client that names the weak form of a strong tag has it from here.
pub(crate) fn of_encoded(request: &HeaderMap, not_modified: &mut HeaderMap) {
    let Some(weak) = not_modified.get(ETAG).and_then(weak) else {
        return;
    };
    let lines = request.get_all(IF_NONE_MATCH).iter();
    let names_it = lines
        .map(|line| line.as_bytes())
        .any(|line| lists(line, weak.as_bytes()));
    if names_it {
        weaken(not_modified);
        vary(not_modified);
    }
}

fn lists(mut line: &[u8], tag: &[u8]) -> bool {
    while !line.is_empty() {
        let (member, rest) = split_unquoted(line, b',');
        if member.trim_ascii() == tag {
            return true;
        }
        line = rest;
    }
    false
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::{ACCEPT_ENCODING, HeaderName, VARY};

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

    #[test]
    fn a_304_has_the_tag_that_its_client_knows() {
        let tag = |asked: &'static str, tag: &'static str| {
            let mut headers = of(&[(ETAG, tag)]);
            of_encoded(&of(&[(IF_NONE_MATCH, asked)]), &mut headers);
            let varies = headers.contains_key(VARY);
            (headers[ETAG].to_str().unwrap().to_owned(), varies)
        };
        let weak = ("W/\"a\"".to_owned(), true);
        assert_eq!(tag("W/\"a\"", "\"a\""), weak);
        assert_eq!(tag("\"x,y\", W/\"a\"", "\"a\""), weak);
        let strong = ("\"a\"".to_owned(), false);
        assert_eq!(tag("\"a\"", "\"a\""), strong);
        assert_eq!(tag("W/\"b\"", "\"a\""), strong);
        assert_eq!(tag("*", "\"a\""), strong);
        assert_eq!(tag("W/\"a\"", "W/\"a\""), ("W/\"a\"".to_owned(), false));
    }
}
