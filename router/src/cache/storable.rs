//! The decision whether a response may be stored (RFC 9111 section 3).

use http::header::{AUTHORIZATION, CONTENT_RANGE, ETAG, HeaderName, LAST_MODIFIED, SET_COOKIE};
use http::{HeaderMap, StatusCode};

use super::directives::{Directives, RequestDirectives};
use super::freshness::is_explicit;
use super::policy::{self, PolicySource};
use super::vary;

const SET_COOKIE2: HeaderName = HeaderName::from_static("set-cookie2");

/// Reason why a response is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotStored {
    /// It sets a cookie, which belongs to one client.
    SetCookie,
    /// The request was authorised, and no directive permits sharing the response (RFC 9111 section 3.5).
    Authorization,
    /// The response has `no-store`.
    NoStore,
    /// The request has `no-store`.
    RequestNoStore,
    /// The response has `private`.
    Private,
    /// Its status is for a part of a resource, for a client's own copy, or not understood.
    Status,
    /// It has no explicit lifetime.
    NoFreshness,
    /// It is stale at once and has no validator.
    NoValidator,
    /// `Vary` matches no other request.
    Vary,
    /// An unkeyed header, such as a cookie, may have changed it. The next request is sent without such headers.
    Influenced,
    /// A release answered that is not the current one.
    OtherRelease,
    /// It is larger than a stored response may be, or there is no memory to hold it while it arrives.
    TooLarge,
    /// Its body has another length than declared.
    Incomplete,
    /// It was purged while it was fetched.
    Purged,
    /// It answers a HEAD request and has no body.
    Head,
}

impl NotStored {
    /// The `detail` parameter in `Cache-Status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SetCookie => "set-cookie",
            Self::Authorization => "authorization",
            Self::NoStore => "no-store",
            Self::RequestNoStore => "request-no-store",
            Self::Private => "private",
            Self::Status => "status",
            Self::NoFreshness => "no-freshness",
            Self::NoValidator => "no-validator",
            Self::Vary => "vary",
            Self::Influenced => "influenced",
            Self::OtherRelease => "other-release",
            Self::TooLarge => "too-large",
            Self::Incomplete => "incomplete",
            Self::Purged => "purged",
            Self::Head => "head",
        }
    }
}

/// Directives of a response that may be stored.
#[derive(Debug, Clone)]
pub struct Storable {
    /// Header that they come from.
    pub source: PolicySource,
    /// Directives of that header.
    pub directives: Directives,
    /// Request headers that the response varies by.
    pub vary: Vec<HeaderName>,
}

/// Decides whether a response may be stored, by its head and the request that it answers.
///
/// # Errors
///
/// The reason why it must not be stored.
pub fn judge(
    request: &HeaderMap,
    status: StatusCode,
    response: &HeaderMap,
) -> Result<Storable, NotStored> {
    // Most responses have no header about caching, so this is decided first.
    if policy::is_silent(response) {
        return Err(NotStored::NoFreshness);
    }
    if response.contains_key(SET_COOKIE) || response.contains_key(SET_COOKIE2) {
        return Err(NotStored::SetCookie);
    }
    let (source, directives) = policy::governing(response);
    let understood = is_understood(status);
    if directives.must_understand && !understood {
        return Err(NotStored::Status);
    }
    // With `must-understand`, `no-store` is for caches that do not know that directive (RFC 9111 section 5.2.2.3).
    if directives.no_store && !directives.must_understand {
        return Err(NotStored::NoStore);
    }
    if directives.private {
        return Err(NotStored::Private);
    }
    let partial = [
        StatusCode::PARTIAL_CONTENT,
        StatusCode::NOT_MODIFIED,
        StatusCode::RANGE_NOT_SATISFIABLE,
    ];
    if partial.contains(&status)
        || status.is_informational()
        || (response.contains_key(CONTENT_RANGE) && status != StatusCode::OK)
    {
        return Err(NotStored::Status);
    }
    if RequestDirectives::parse(request).no_store {
        return Err(NotStored::RequestNoStore);
    }
    if request.contains_key(AUTHORIZATION) && !shared_with_authorised(&directives) {
        return Err(NotStored::Authorization);
    }
    if !is_explicit(response, source, &directives) && !directives.no_cache {
        return Err(NotStored::NoFreshness);
    }
    let vary = vary::names(response).ok_or(NotStored::Vary)?;
    Ok(Storable {
        source,
        directives,
        vary,
    })
}

/// Returns whether the response to an authorised request may be shared (RFC 9111 section 3.5).
pub(crate) fn shared_with_authorised(directives: &Directives) -> bool {
    directives.public || directives.must_revalidate || directives.s_maxage.is_some()
}

/// Returns whether a response has a validator.
pub(crate) fn has_validator(response: &HeaderMap) -> bool {
    response.contains_key(ETAG) || response.contains_key(LAST_MODIFIED)
}

/// Returns whether the cache understands a status.
fn is_understood(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 300..=303 | 307 | 308 | 400..=405 | 410 | 414 | 451 | 500..=504)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::{CACHE_CONTROL, VARY};

    use super::*;

    fn refusal(
        request: &[(HeaderName, &'static str)],
        status: u16,
        response: &[(HeaderName, &'static str)],
    ) -> Option<NotStored> {
        let map = |pairs: &[(HeaderName, &'static str)]| {
            pairs
                .iter()
                .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)))
                .collect::<HeaderMap>()
        };
        judge(
            &map(request),
            StatusCode::from_u16(status).unwrap(),
            &map(response),
        )
        .err()
    }

    #[test]
    fn each_unstorable_response_has_its_reason() {
        let fresh = (CACHE_CONTROL, "max-age=9");
        let cookie = (SET_COOKIE, "a=b");
        let authorised = [(AUTHORIZATION, "x")];
        for (request, status, response, expected) in [
            (&[][..], 200, &[fresh.clone()][..], None),
            (&[], 200, &[], Some(NotStored::NoFreshness)),
            (
                &[],
                200,
                &[fresh.clone(), cookie],
                Some(NotStored::SetCookie),
            ),
            (
                &[],
                200,
                &[(CACHE_CONTROL, "private, max-age=9")],
                Some(NotStored::Private),
            ),
            (
                &[],
                200,
                &[(CACHE_CONTROL, "private=\"a\", max-age=9")],
                Some(NotStored::Private),
            ),
            (
                &[],
                200,
                &[(CACHE_CONTROL, "no-store, max-age=9")],
                Some(NotStored::NoStore),
            ),
            (
                &[],
                206,
                std::slice::from_ref(&fresh),
                Some(NotStored::Status),
            ),
            (
                &[],
                304,
                std::slice::from_ref(&fresh),
                Some(NotStored::Status),
            ),
            (
                &[],
                200,
                &[fresh.clone(), (VARY, "*")],
                Some(NotStored::Vary),
            ),
            (
                &authorised,
                200,
                std::slice::from_ref(&fresh),
                Some(NotStored::Authorization),
            ),
            (
                &authorised,
                200,
                &[(CACHE_CONTROL, "public, max-age=9")],
                None,
            ),
            (
                &[(CACHE_CONTROL, "no-store")],
                200,
                std::slice::from_ref(&fresh),
                Some(NotStored::RequestNoStore),
            ),
            (
                &[],
                599,
                &[(CACHE_CONTROL, "must-understand, max-age=9")],
                Some(NotStored::Status),
            ),
            (
                &[],
                200,
                &[(CACHE_CONTROL, "must-understand, no-store, max-age=9")],
                None,
            ),
        ] {
            assert_eq!(
                refusal(request, status, response),
                expected,
                "{request:?} {status} {response:?}"
            );
        }
    }
}
