//! What a request is known by: in its response, in the app's environment and in the log.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};
use uuid::Uuid;

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// One that came with a request is kept up to this length.
const LONGEST: usize = 200;

/// What a request is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestId {
    /// What its client calls it.
    Given(Arc<str>),
    /// What the router does.
    New(Uuid),
}

/// No name at all.
impl Default for RequestId {
    fn default() -> Self {
        Self::Given(Arc::default())
    }
}

impl RequestId {
    /// One that no other request has.
    pub(crate) fn new() -> Self {
        Self::New(Uuid::new_v4())
    }

    /// The request's own if that is short and safe to log, else a new one.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(REQUEST_ID).and_then(|value| {
            let text = value.to_str().ok()?;
            // Copied: the value itself keeps all that was read with it.
            is_safe(text).then(|| Self::Given(text.into()))
        });
        given.unwrap_or_else(Self::new)
    }

    /// As the header has it.
    pub(crate) fn header(&self) -> HeaderValue {
        let bytes = match self {
            Self::Given(text) => Bytes::copy_from_slice(text.as_bytes()),
            Self::New(id) => {
                let mut text = Uuid::encode_buffer();
                Bytes::copy_from_slice(id.hyphenated().encode_lower(&mut text).as_bytes())
            }
        };
        // All of its letters are ones that a header may have.
        HeaderValue::from_maybe_shared(bytes).unwrap_or(HeaderValue::from_static("none"))
    }

    /// Bytes that it takes beside itself.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Given(text) => text.len(),
            Self::New(_) => 0,
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(text) => f.write_str(text),
            Self::New(id) => fmt::Display::fmt(id, f),
        }
    }
}

fn is_safe(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_./+=:".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(given: &str) -> RequestId {
        let value = HeaderValue::from_str(given).unwrap();
        RequestId::of(&HeaderMap::from_iter([(REQUEST_ID, value)]))
    }

    #[test]
    fn an_id_that_is_short_and_safe_is_kept() {
        let longest = "x".repeat(LONGEST);
        for given in ["a", "trace/1.2:3+4=_-", &longest] {
            assert_eq!(of(given).to_string(), given);
            assert_eq!(of(given).header(), given);
        }
    }

    #[test]
    fn any_other_is_replaced() {
        let too_long = "x".repeat(LONGEST + 1);
        for given in ["", "a b", "a\"b", "a\tb", &too_long] {
            let id = of(given);
            assert!(matches!(id, RequestId::New(_)), "{given:?}");
            assert_eq!(id.header(), id.to_string());
        }
        assert_ne!(RequestId::new(), RequestId::new());
    }
}
