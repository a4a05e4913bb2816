//! `Vary` (RFC 9111 section 4.1): the request headers that select a response.

use std::sync::Arc;

use http::HeaderMap;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, COOKIE, HeaderName, ORIGIN, VARY};

use crate::semantics::list::split_unquoted;

/// Headers that a response may vary by. A response that names more is not stored.
const MOST: usize = 16;

/// Headers that the router sets to a new value for each request. A response that varies by one of them answers only its
/// own request.
const UNIQUE_PER_REQUEST: [&str; 5] = [
    "x-forwarded-for",
    "x-request-id",
    "x-request-start",
    "via",
    "forwarded",
];
/// Headers whose values are part of the key already.
const IN_THE_KEY: [&str; 3] = ["host", "x-forwarded-proto", "x-forwarded-port"];

/// HeaderNames of headers, sorted.
pub(crate) type HeaderNames = Arc<[HeaderName]>;

/// Parses the headers that a response varies by; none if it can answer no other request.
pub fn names(response: &HeaderMap) -> Option<Vec<HeaderName>> {
    let mut names = Vec::new();
    for line in response.get_all(VARY) {
        for name in line.as_bytes().split(|byte| *byte == b',') {
            let name = name.trim_ascii();
            if name.is_empty() {
                continue;
            }
            // `*` and invalid names match no other request.
            let name = HeaderName::from_bytes(name)
                .ok()
                .filter(|name| name != "*")?;
            if UNIQUE_PER_REQUEST.contains(&name.as_str()) {
                return None;
            }
            if !IN_THE_KEY.contains(&name.as_str()) {
                names.push(name);
            }
        }
    }
    // A response that allows one origin is for that origin, even if the app forgot to say so in `Vary`.
    let allowed = response.get(ACCESS_CONTROL_ALLOW_ORIGIN);
    if allowed.is_some_and(|origin| origin != "*") {
        names.push(ORIGIN);
    }
    join(&[], names)
}

/// Merges two sets of names; none if they are too many.
pub(crate) fn join(known: &[HeaderName], mut names: Vec<HeaderName>) -> Option<Vec<HeaderName>> {
    names.extend_from_slice(known);
    names.sort_by(|one, other| one.as_str().cmp(other.as_str()));
    names.dedup();
    (names.len() <= MOST).then_some(names)
}

/// Writes a request's header in a normal form: lines joined, one space after each comma, and lower case where case has no
/// meaning. The order stays, because many apps give it a meaning.
pub(crate) fn normalise(name: &HeaderName, request: &HeaderMap, out: &mut Vec<u8>) {
    let text = name.as_str();
    let caseless = matches!(
        text,
        "accept-encoding" | "accept-language" | "accept-charset"
    );
    if *name == COOKIE {
        return join_cookies(request, out);
    }
    let mut lines = request.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (None, _) => {}
        (Some(line), None) => write_list(line.as_bytes(), caseless, out),
        // Joined first: a quoted string may end in another line than it begins in.
        (Some(_), Some(_)) => {
            let lines: Vec<&[u8]> = request
                .get_all(name)
                .iter()
                .map(|line| line.as_bytes())
                .collect();
            write_list(&lines.join(&b", "[..]), caseless, out);
        }
    }
}

fn write_list(list: &[u8], caseless: bool, out: &mut Vec<u8>) {
    let mut rest = list;
    loop {
        let (member, after) = split_unquoted(rest, b',');
        let start = out.len();
        out.extend_from_slice(member.trim_ascii());
        if caseless {
            out[start..].make_ascii_lowercase();
        }
        if member.len() == rest.len() {
            return;
        }
        out.push(b',');
        let next = after.trim_ascii_start();
        if !next.is_empty() && !next.starts_with(b",") {
            out.push(b' ');
        }
        rest = after;
    }
}

/// Joins the lines of `Cookie` as HTTP/1 sends them; HTTP/2 may have one for each cookie (RFC 9113 section 8.2.3). A comma
/// in a cookie separates nothing.
fn join_cookies(request: &HeaderMap, out: &mut Vec<u8>) {
    for (at, line) in request.get_all(COOKIE).iter().enumerate() {
        if at > 0 {
            out.extend_from_slice(b"; ");
        }
        out.extend_from_slice(line.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(lines: &[&'static str]) -> Option<Vec<HeaderName>> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(VARY, HeaderValue::from_static(line));
        }
        names(&headers)
    }

    #[test]
    fn names_are_sorted_and_a_star_matches_no_request() {
        assert_eq!(
            of(&["Foo, bar", "FOO"]).unwrap(),
            ["bar", "foo"].map(HeaderName::from_static)
        );
        for star in [
            &["*"][..],
            &["*, Foo"],
            &["Foo", ", *"],
            &["a b"],
            &["X-Forwarded-For"],
        ] {
            assert_eq!(of(star), None, "{star:?}");
        }
        assert_eq!(
            of(&["X-Forwarded-Proto, Host"]).unwrap(),
            [] as [HeaderName; 0]
        );
    }

    #[test]
    fn allowed_origin_implies_vary_by_origin() {
        let headers = |value| {
            HeaderMap::from_iter([(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static(value))])
        };
        assert_eq!(names(&headers("https://a.example")).unwrap(), [ORIGIN]);
        assert!(names(&headers("*")).unwrap().is_empty());
    }

    #[test]
    fn equivalent_values_have_one_form() {
        let form = |name: &'static str, lines: &[&'static str]| {
            let name = HeaderName::from_static(name);
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(&name, HeaderValue::from_static(line));
            }
            let mut out = Vec::new();
            normalise(&name, &headers, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(form("foo", &["1", " 2 ,3"]), "1, 2, 3");
        assert_eq!(form("foo", &["\"1, 2\""]), "\"1, 2\"");
        assert_eq!(form("accept-language", &["eN ,  De"]), "en, de");
        assert_eq!(form("foo", &["A,"]), "A,");
        assert_eq!(form("cookie", &["a=1,2", "b=3"]), "a=1,2; b=3");
    }
}
