//! Response headers by which an app tags and purges its cached responses.

use bytes::Bytes;
use http::HeaderMap;
use http::header::HeaderName;

use super::policy::SURROGATE_CONTROL;
use crate::semantics::list::{Members, split_unquoted};

/// Purge orders in a response: `Cache-Purge: all`, or `Cache-Purge: tag="news", url="/about?full"`, any number of each.
/// The router carries them out and removes the header.
pub(crate) const CACHE_PURGE: HeaderName = HeaderName::from_static("cache-purge");
/// Tags of a response, separated by commas, in the form of Cloudflare, Akamai and Netlify.
pub(crate) const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
/// Tags of a response, separated by spaces, in the form of Fastly.
pub(crate) const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");

/// Tags that one response may have; further ones are ignored.
const MAX_TAGS: usize = 128;
/// Purges that one response may order; further ones are ignored.
const MAX_PURGES: usize = 256;

/// Responses of an app that a purge removes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PurgeScope {
    /// All responses.
    App,
    /// All variants of a URL, for every scheme and port.
    Url {
        /// The host name, in lower case, without a port.
        host: String,
        /// Path and query.
        target: String,
    },
    /// Responses with a tag.
    Tag(Bytes),
}

/// Parses the purge orders in a response. `host` is the host that the request was for.
pub(crate) fn orders(response: &HeaderMap, host: &str) -> Vec<PurgeScope> {
    let lines = response.get_all(CACHE_PURGE).iter();
    let members = lines.flat_map(|line| Members::new(line.as_bytes()));
    let scope =
        |(name, value): (&[u8], Option<&[u8]>)| match (name.to_ascii_lowercase().as_slice(), value)
        {
            (b"all", None) => Some(PurgeScope::App),
            (b"tag", Some(tag)) if !tag.is_empty() => {
                Some(PurgeScope::Tag(Bytes::copy_from_slice(tag)))
            }
            (b"url", Some(target)) if target.starts_with(b"/") => Some(PurgeScope::Url {
                host: host.to_owned(),
                target: String::from_utf8_lossy(target).into_owned(),
            }),
            _ => None,
        };
    members.filter_map(scope).take(MAX_PURGES).collect()
}

/// Parses the tags of a response.
pub(crate) fn tags(response: &HeaderMap) -> Vec<&[u8]> {
    let mut tags = Vec::new();
    for (header, separator) in [(CACHE_TAG, b','), (SURROGATE_KEY, b' ')] {
        for line in response.get_all(header) {
            let mut rest = line.as_bytes();
            while !rest.is_empty() && tags.len() < MAX_TAGS {
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

/// Removes the headers that are for this cache alone.
pub(crate) fn strip(headers: &mut HeaderMap) {
    for name in [SURROGATE_CONTROL, CACHE_TAG, SURROGATE_KEY] {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn cache_purge_header_is_parsed() {
        let of = |value: &'static str| {
            let headers = HeaderMap::from_iter([(CACHE_PURGE, HeaderValue::from_static(value))]);
            orders(&headers, "a.example")
        };
        assert_eq!(of("all"), [PurgeScope::App]);
        let url = |target: &str| PurgeScope::Url {
            host: "a.example".into(),
            target: target.into(),
        };
        assert_eq!(
            of("tag=news, url=\"/a,b?c\", tag=\"x y\""),
            [
                PurgeScope::Tag("news".into()),
                url("/a,b?c"),
                PurgeScope::Tag("x y".into())
            ]
        );
        assert!(of("everything, tag, tag=, url=b, all=1").is_empty());
    }

    #[test]
    fn tags_are_read_from_both_headers() {
        let headers = HeaderMap::from_iter([
            (CACHE_TAG, HeaderValue::from_static("a, b c,,a")),
            (SURROGATE_KEY, HeaderValue::from_static("d  e a")),
        ]);
        assert_eq!(tags(&headers), [&b"a"[..], b"b c", b"d", b"e"]);
    }
}
