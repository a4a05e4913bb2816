//! What is to be purged, as an app says it in a response's header.

use bytes::Bytes;
use http::HeaderMap;
use http::header::HeaderName;

use crate::semantics::list::{Members, split_unquoted};

/// A response's order to purge: `Cache-Purge: all`, or `Cache-Purge: tag="news", url="/about?full"`, any number of each.
/// It is for the router and goes no further.
pub(crate) const CACHE_PURGE: HeaderName = HeaderName::from_static("cache-purge");
/// A response's tags, separated by commas, as Cloudflare, Akamai and Netlify have them.
pub(crate) const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
/// The same, separated by spaces, as Fastly has them.
pub(crate) const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");

/// Tags that one response may have; more are left out.
const MOST_TAGS: usize = 128;
/// Purges that one response may order; more are left out.
const MOST_PURGES: usize = 256;

/// What is to be purged of an app's entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All.
    App,
    /// A URL's variants, of each scheme and port.
    Url {
        /// The host name, in lower case, without a port.
        host: String,
        /// Path and query.
        target: String,
    },
    /// Those with a tag.
    Tag(Bytes),
}

/// What a response orders to be purged. `host` is the host that was asked.
pub(crate) fn orders(response: &HeaderMap, host: &str) -> Vec<Scope> {
    let lines = response.get_all(CACHE_PURGE).iter();
    let members = lines.flat_map(|line| Members::new(line.as_bytes()));
    let scope =
        |(name, value): (&[u8], Option<&[u8]>)| match (name.to_ascii_lowercase().as_slice(), value)
        {
            (b"all", None) => Some(Scope::App),
            (b"tag", Some(tag)) if !tag.is_empty() => Some(Scope::Tag(Bytes::copy_from_slice(tag))),
            (b"url", Some(target)) if target.starts_with(b"/") => Some(Scope::Url {
                host: host.to_owned(),
                target: String::from_utf8_lossy(target).into_owned(),
            }),
            _ => None,
        };
    members.filter_map(scope).take(MOST_PURGES).collect()
}

/// A response's tags.
pub(crate) fn tags(response: &HeaderMap) -> Vec<&[u8]> {
    let mut tags = Vec::new();
    for (header, separator) in [(CACHE_TAG, b','), (SURROGATE_KEY, b' ')] {
        for line in response.get_all(header) {
            let mut rest = line.as_bytes();
            while !rest.is_empty() && tags.len() < MOST_TAGS {
                let (tag, after) = split_unquoted(rest, separator);
                rest = after;
                let tag = tag.trim_ascii();
                if !tag.is_empty() && !tags.contains(&tag) {
                    tags.push(tag);
                }
            }
        }
    }
    tags
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_header_orders_what_is_purged() {
        let of = |value: &'static str| {
            let headers = HeaderMap::from_iter([(CACHE_PURGE, HeaderValue::from_static(value))]);
            orders(&headers, "a.example")
        };
        assert_eq!(of("all"), [Scope::App]);
        let url = |target: &str| Scope::Url {
            host: "a.example".into(),
            target: target.into(),
        };
        assert_eq!(
            of("tag=news, url=\"/a,b?c\", tag=\"x y\""),
            [
                Scope::Tag("news".into()),
                url("/a,b?c"),
                Scope::Tag("x y".into())
            ]
        );
        assert!(of("everything, tag, tag=, url=b, all=1").is_empty());
    }

    #[test]
    fn tags_come_in_both_headers() {
        let headers = HeaderMap::from_iter([
            (CACHE_TAG, HeaderValue::from_static("a, b c,,a")),
            (SURROGATE_KEY, HeaderValue::from_static("d  e a")),
        ]);
        assert_eq!(tags(&headers), [&b"a"[..], b"b c", b"d", b"e"]);
    }
}
