//! Translation of entity tags between clients, which may have an encoded response, and apps, which know only their own
//! tags.
//!
//! Many apps compare tags as strings. Therefore a request goes on with the app's own tags, and a 304 comes back with
//! the client's.

use http::header::{ACCEPT_ENCODING, ETAG, HeaderName, IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};

use super::coded_tag::{self, own_list};
use super::headers::vary;
use super::negotiation;
use crate::semantics::accept_encoding::{AcceptEncoding, ContentCoding};
use crate::semantics::entity_tag::EntityTag;

/// The client's `If-None-Match`, if it names an encoded response that the client still accepts.
#[derive(Debug, Clone)]
struct ClientTags(Vec<HeaderValue>);

/// Translates the conditions of a request into conditions about the app's own response.
pub(crate) fn translate(request: &mut Parts) {
    let headers = &mut request.headers;
    // A client that accepts no coding any more cannot reuse an encoded response.
    if !headers.contains_key(ACCEPT_ENCODING) {
        return;
    }
    drop_range_with_date_condition(headers);
    translate_if_none_match(request);
    let headers = &mut request.headers;
    // In a request for a range, an encoded response's tag stays weak and matches nothing: the app's bytes are different
    // ones.
    if headers.contains_key(IF_MATCH)
        && !headers.contains_key(RANGE)
        && let Some(own) = own_lines(headers, &IF_MATCH, |_| true)
    {
        replace(headers, &IF_MATCH, own);
    }
}

/// Translates the tags of the codings that the client accepts. A shared cache may ask with the tag of another client's
/// response: a 304 would let it serve a coding that this client cannot read.
fn translate_if_none_match(request: &mut Parts) {
    let headers = &mut request.headers;
    if !headers.contains_key(IF_NONE_MATCH)
        || negotiation::preferred_coding(headers, negotiation::BY_TIME).is_none()
    {
        return;
    }
    let accepted = AcceptEncoding::of(headers);
    if let Some(own) = own_lines(headers, &IF_NONE_MATCH, |coding| accepted.accepts(coding)) {
        let tags = headers.get_all(IF_NONE_MATCH).iter().cloned().collect();
        request.extensions.insert(ClientTags(tags));
        replace(headers, &IF_NONE_MATCH, own);
    }
}

/// Returns a header's lines with the app's own tags in place of those of the `replaced` codings, if that changes any.
fn own_lines(
    request: &HeaderMap,
    name: &HeaderName,
    replaced: impl Fn(ContentCoding) -> bool,
) -> Option<Vec<HeaderValue>> {
    let mut changed = false;
    let lines = request.get_all(name).iter().map(|line| {
        let own = own_list(line, &replaced);
        changed |= own.is_some();
        own.unwrap_or_else(|| line.clone())
    });
    let lines: Vec<HeaderValue> = lines.collect();
    changed.then_some(lines)
}

fn replace(request: &mut HeaderMap, name: &HeaderName, lines: Vec<HeaderValue>) {
    request.remove(name);
    for line in lines {
        request.append(name, line);
    }
}

/// Ignores a range whose condition is a date, if the client accepts a coding; RFC 9110 section 14.2 allows every server
/// to ignore ranges. Both forms of a page have the same date, and the rest of one must not follow the beginning of the
/// other. A condition with the tag of an encoded response never holds, since that tag is weak.
fn drop_range_with_date_condition(request: &mut HeaderMap) {
    if !request.contains_key(RANGE) {
        return;
    }
    let by_date = request.get(IF_RANGE).is_some_and(|condition| {
        let condition = condition.as_bytes();
        !condition.starts_with(b"\"") && !condition.starts_with(b"W/")
    });
    if by_date && negotiation::preferred_coding(request, negotiation::BY_TIME).is_some() {
        request.remove(RANGE);
        request.remove(IF_RANGE);
    }
}

/// Gives a 304 to a client with an encoded response the headers of that response (RFC 9110 section 15.4.5). The tag tells
/// a cache which of its responses the 304 is about.
pub(super) fn restore_client_tag(request: &Parts, not_modified: &mut HeaderMap) {
    let Some(ClientTags(lines)) = request.extensions.get() else {
        return;
    };
    if let Some(tag) = not_modified.get(ETAG) {
        let accepted = AcceptEncoding::of(&request.headers);
        let members = || {
            lines
                .iter()
                .flat_map(|line| EntityTag::list(line.as_bytes()))
        };
        let codings = ContentCoding::ALL.into_iter();
        let coded = codings
            .filter(|coding| accepted.accepts(*coding))
            .filter_map(|coding| coded_tag::of(tag, coding));
        let mut listed =
            coded.filter(|coded| members().any(|member| member.as_bytes() == coded.as_bytes()));
        match listed.next() {
            Some(coded) => not_modified.insert(ETAG, coded),
            // The tag that still matches is another one of the list, without a coding.
            None => return,
        };
    }
    vary(not_modified);
}

#[cfg(test)]
mod tests {
    use http::header::VARY;

    use super::*;

    fn of(lines: &[(HeaderName, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(HeaderName, &'static str)| {
            (name.clone(), HeaderValue::from_static(value))
        };
        lines.iter().map(pair).collect()
    }

    #[test]
    fn range_with_a_date_condition_is_dropped_if_the_client_accepts_a_coding() {
        const DATE: &str = "Wed, 01 Jan 2020 00:00:00 GMT";
        let kept = |condition: Option<&'static str>, accept: &'static str| {
            let mut request = of(&[(RANGE, "bytes=5-"), (ACCEPT_ENCODING, accept)]);
            if let Some(condition) = condition {
                request.insert(IF_RANGE, HeaderValue::from_static(condition));
            }
            drop_range_with_date_condition(&mut request);
            request.contains_key(RANGE)
        };
        assert!(!kept(Some(DATE), "gzip"));
        assert!(kept(Some(DATE), "identity") && kept(Some("\"a\""), "gzip"));
        assert!(kept(Some("W/\"a\""), "gzip") && kept(None, "gzip"));
    }

    /// Returns the header as the app gets it, and the tag and the presence of `Vary` in the client's 304 when the app
    /// answers with `tag`.
    fn through(asked: &'static str, tag: &'static str) -> (String, String, bool) {
        let mut request = http::Request::new(()).into_parts().0;
        request.headers = of(&[(IF_NONE_MATCH, asked), (ACCEPT_ENCODING, "gzip")]);
        translate(&mut request);
        let mut headers = of(&[(ETAG, tag)]);
        restore_client_tag(&request, &mut headers);
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        (
            text(&request.headers[IF_NONE_MATCH]),
            text(&headers[ETAG]),
            headers.contains_key(VARY),
        )
    }

    #[test]
    fn conditions_are_translated_between_client_and_app() {
        let owned = |a: &str, b: &str, varies| (a.to_owned(), b.to_owned(), varies);
        let (strong, marked) = ("\"a\"", "W/\"a;gzip\"");
        assert_eq!(through(marked, strong), owned(strong, marked, true));
        assert_eq!(through(strong, strong), owned(strong, strong, false));
        let weak = "W/\"a\"";
        assert_eq!(through(weak, weak), owned(weak, weak, false));
        let marked = "W/\"a;gzip;weak\"";
        assert_eq!(through(marked, weak), owned(weak, marked, true));
        // A tag of a coding that the client does not accept stays, and matches nothing.
        let foreign = "W/\"a;br\"";
        assert_eq!(through(foreign, strong), owned(foreign, strong, false));
        let both = "W/\"a;br\", W/\"a;gzip\"";
        let asked = "W/\"a;br\", \"a\"";
        assert_eq!(
            through(both, strong),
            (asked.to_owned(), "W/\"a;gzip\"".to_owned(), true)
        );
    }
}
