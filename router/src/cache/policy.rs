//! The header that governs a response's use by this cache, and its directives.

use http::HeaderMap;
use http::header::{CACHE_CONTROL, EXPIRES, HeaderName};
use sfv::{BareItem, Dictionary, ListEntry, Parser};

use super::directives::{Directives, MAX_SECONDS, delta_seconds};
use crate::semantics::list::split_unquoted;

/// Directives for caches that the app's owner controls (RFC 9213).
pub(crate) const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");
/// The older form (W3C Edge Architecture). It is for the cache in front of the app alone; the router strips it.
pub(crate) const SURROGATE_CONTROL: HeaderName = HeaderName::from_static("surrogate-control");
/// Name of this cache in `Surrogate-Control` and `Cache-Status`.
pub(crate) const OWN_NAME: &str = "corundum";

/// Header that governs a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicySource {
    /// `CDN-Cache-Control`.
    Cdn,
    /// `Surrogate-Control`.
    Surrogate,
    /// `Cache-Control` and `Expires`.
    CacheControl,
}

/// Finds the governing header and parses its directives.
///
/// A targeted header replaces `Cache-Control` and `Expires` completely; an invalid one is ignored (RFC 9213 section
/// 2.2).
pub fn governing(headers: &HeaderMap) -> (PolicySource, Directives) {
    if let Some(directives) = cdn(headers) {
        return (PolicySource::Cdn, directives);
    }
    if let Some(directives) = surrogate(headers) {
        return (PolicySource::Surrogate, directives);
    }
    (
        PolicySource::CacheControl,
        Directives::parse(headers, &CACHE_CONTROL),
    )
}

/// Returns whether no header of a response is about caching.
pub(crate) fn is_silent(headers: &HeaderMap) -> bool {
    let about_caching = [CACHE_CONTROL, EXPIRES, CDN_CACHE_CONTROL, SURROGATE_CONTROL];
    !about_caching.iter().any(|name| headers.contains_key(name))
}

/// Parses `CDN-Cache-Control`, a dictionary of structured fields (RFC 9213). An empty one does not govern.
fn cdn(headers: &HeaderMap) -> Option<Directives> {
    let mut lines = headers.get_all(&CDN_CACHE_CONTROL).iter();
    let first = lines.next()?;
    let text = lines.fold(first.as_bytes().to_vec(), |mut text, line| {
        text.extend_from_slice(b", ");
        text.extend_from_slice(line.as_bytes());
        text
    });
    let dictionary: Dictionary = Parser::new(&text).parse().ok()?;
    let mut found = Directives::default();
    for (name, entry) in &dictionary {
        let ListEntry::Item(item) = entry else {
            continue;
        };
        let name = name.as_str().as_bytes();
        match &item.bare_item {
            BareItem::Boolean(true) => found.add(name, None),
            BareItem::Boolean(false) => {}
            BareItem::Integer(number) => found.add(name, Some(number.to_string().as_bytes())),
            // A value of a wrong type is invalid; as in `Cache-Control`, it makes the response stale.
            BareItem::String(text) => found.add(name, Some(text.as_str().as_bytes())),
            _ => found.add(name, Some(b"?")),
        }
    }
    (!dictionary.is_empty()).then_some(found)
}

/// Parses the directives of `Surrogate-Control` that are for this cache: in `max-age=60+30;corundum`, the second number
/// is the time for which the response may be used while a new one is fetched.
fn surrogate(headers: &HeaderMap) -> Option<Directives> {
    let mut found = Directives::default();
    let mut known = false;
    for line in headers.get_all(&SURROGATE_CONTROL) {
        let mut rest = line.as_bytes();
        while !rest.is_empty() {
            let (member, after) = split_unquoted(rest, b',');
            rest = after;
            let (directive, target) = split_unquoted(member, b';');
            let target = target.trim_ascii();
            if !target.is_empty() && !target.eq_ignore_ascii_case(OWN_NAME.as_bytes()) {
                continue;
            }
            known |= add_surrogate(&mut found, directive.trim_ascii());
        }
    }
    known.then_some(found)
}

fn add_surrogate(found: &mut Directives, directive: &[u8]) -> bool {
    if directive.eq_ignore_ascii_case(b"no-store") {
        found.no_store = true;
        return true;
    }
    let equals = directive.iter().position(|byte| *byte == b'=');
    let Some((name, value)) = equals.map(|at| (&directive[..at], &directive[at + 1..])) else {
        return false;
    };
    if !name.eq_ignore_ascii_case(b"max-age") {
        return false;
    }
    let plus = value
        .iter()
        .position(|byte| *byte == b'+')
        .unwrap_or(value.len());
    found.add(b"max-age", Some(&value[..plus]));
    if let Some(extension) = value.get(plus + 1..).and_then(delta_seconds) {
        found.stale_while_revalidate = Some(extension.min(MAX_SECONDS));
    }
    true
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(pairs: &[(HeaderName, &'static str)]) -> (PolicySource, Directives) {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, HeaderValue::from_static(value));
        }
        governing(&headers)
    }

    #[test]
    fn most_specific_header_governs_alone() {
        let cdn = (CDN_CACHE_CONTROL, "max-age=5, no-cache=?0");
        let surrogate = (SURROGATE_CONTROL, "max-age=7");
        let common = (CACHE_CONTROL, "no-store");
        let (source, found) = of(&[common.clone(), surrogate.clone(), cdn]);
        assert_eq!(
            (source, found.max_age, found.no_store, found.no_cache),
            (PolicySource::Cdn, Some(5), false, false)
        );
        let (source, found) = of(&[common.clone(), surrogate]);
        assert_eq!(
            (source, found.max_age, found.no_store),
            (PolicySource::Surrogate, Some(7), false)
        );
        assert!(of(&[common]).1.no_store);
    }

    #[test]
    fn invalid_dictionary_is_ignored() {
        for broken in ["max-age=", "Max-Age=5", "max-age=5,", ""] {
            let (source, found) = of(&[(CDN_CACHE_CONTROL, broken), (CACHE_CONTROL, "max-age=3")]);
            assert_eq!(
                (source, found.max_age),
                (PolicySource::CacheControl, Some(3)),
                "{broken}"
            );
        }
        assert_eq!(
            of(&[(CDN_CACHE_CONTROL, "max-age=\"5\"")]).1.max_age,
            Some(5)
        );
        assert_eq!(of(&[(CDN_CACHE_CONTROL, "max-age=-5")]).1.max_age, Some(0));
        assert_eq!(of(&[(CDN_CACHE_CONTROL, "max-age=a")]).1.max_age, Some(0));
    }

    #[test]
    fn surrogate_directives_for_other_caches_are_ignored() {
        assert_eq!(
            of(&[(SURROGATE_CONTROL, "max-age=9;other")]).0,
            PolicySource::CacheControl
        );
        let (_, found) = of(&[(
            SURROGATE_CONTROL,
            "content=\"ESI/1.0\", max-age=9+4;corundum",
        )]);
        assert_eq!(
            (found.max_age, found.stale_while_revalidate),
            (Some(9), Some(4))
        );
    }
}
