//! Which responses may be stored (RFC 9111 section 3).

use http::header::{AUTHORIZATION, CONTENT_RANGE, ETAG, HeaderName, LAST_MODIFIED, SET_COOKIE};
use http::{HeaderMap, StatusCode};

use super::directives::{Directives, RequestDirectives};
use super::freshness::is_explicit;
use super::policy::{self, PolicySource};
use super::vary;

const SET_COOKIE2: HeaderName = HeaderName::from_static("set-cookie2");

/// Why a response is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It sets a cookie, which is for one client.
    SetCookie,
    /// The request was authorised, and nothing says that others may have the answer (RFC 9111 section 3.5).
    Authorization,
    /// `no-store` of the app.
    NoStore,
    /// `no-store` of the client.
    RequestNoStore,
    /// `private`.
    Private,
    /// Only part of a resource, or nothing without what the client has.
    Status,
    /// It says nothing of how long it is fresh, and nothing is guessed.
    NoFreshness,
    /// It is stale at once and has nothing to be validated by.
    NoValidator,
    /// `Vary` allows no other request.
    Vary,
    /// A cookie or another header may have changed it; the next request for it is made without.
    Influenced,
    /// Another release has answered than the one that was asked.
    OtherRelease,
    /// It is larger than one entry may be.
    TooLarge,
    /// Its body is not as long as it says.
    Incomplete,
    /// It was purged while it was on its way.
    Purged,
    /// It answers a HEAD, and has no body.
    Head,
}

impl Refusal {
    /// The word for it in `Cache-Status`.
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

/// What is known of a response that may be stored.
#[derive(Debug, Clone)]
pub struct Storable {
    /// Which header governs.
    pub source: PolicySource,
    /// What it says.
    pub directives: Directives,
    /// The request's headers that it was chosen by.
    pub vary: Vec<HeaderName>,
}

/// Judges a response by its head and the request that it answers.
///
/// # Errors
///
/// Why it must not be stored.
pub fn judge(
    request: &HeaderMap,
    status: StatusCode,
    response: &HeaderMap,
) -> Result<Storable, Refusal> {
    // Most responses say nothing of caching: they are done here.
    if policy::is_silent(response) {
        return Err(Refusal::NoFreshness);
    }
    if response.contains_key(SET_COOKIE) || response.contains_key(SET_COOKIE2) {
        return Err(Refusal::SetCookie);
    }
    let (source, directives) = policy::governing(response);
    let understood = is_understood(status);
    if directives.must_understand && !understood {
        return Err(Refusal::Status);
    }
    // RFC 9111 section 5.2.2.3: no-store is there for caches that do not know must-understand.
    if directives.no_store && !directives.must_understand {
        return Err(Refusal::NoStore);
    }
    if directives.private {
        return Err(Refusal::Private);
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
        return Err(Refusal::Status);
    }
    if RequestDirectives::parse(request).no_store {
        return Err(Refusal::RequestNoStore);
    }
    if request.contains_key(AUTHORIZATION) && !shared_with_authorised(&directives) {
        return Err(Refusal::Authorization);
    }
    if !is_explicit(response, source, &directives) && !directives.no_cache {
        return Err(Refusal::NoFreshness);
    }
    let vary = vary::names(response).ok_or(Refusal::Vary)?;
    Ok(Storable {
        source,
        directives,
        vary,
    })
}

/// Whether authorised requests may share a response with others (RFC 9111 section 3.5).
pub(crate) fn shared_with_authorised(directives: &Directives) -> bool {
    directives.public || directives.must_revalidate || directives.s_maxage.is_some()
}

/// Whether a response can be validated.
pub(crate) fn has_validator(response: &HeaderMap) -> bool {
    response.contains_key(ETAG) || response.contains_key(LAST_MODIFIED)
}

/// Statuses whose meaning for caches is known here.
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
    ) -> Option<Refusal> {
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
    fn each_reason_not_to_store_has_its_name() {
        let fresh = (CACHE_CONTROL, "max-age=9");
        let cookie = (SET_COOKIE, "a=b");
        let authorised = [(AUTHORIZATION, "x")];
        for (request, status, response, expected) in [
            (&[][..], 200, &[fresh.clone()][..], None),
            (&[], 200, &[], Some(Refusal::NoFreshness)),
            (&[], 200, &[fresh.clone(), cookie], Some(Refusal::SetCookie)),
            (
                &[],
                200,
                &[(CACHE_CONTROL, "private, max-age=9")],
                Some(Refusal::Private),
            ),
            (
                &[],
                200,
                &[(CACHE_CONTROL, "private=\"a\", max-age=9")],
                Some(Refusal::Private),
            ),
            (
                &[],
                200,
                &[(CACHE_CONTROL, "no-store, max-age=9")],
                Some(Refusal::NoStore),
            ),
            (
                &[],
                206,
                std::slice::from_ref(&fresh),
                Some(Refusal::Status),
            ),
            (
                &[],
                304,
                std::slice::from_ref(&fresh),
                Some(Refusal::Status),
            ),
            (&[], 200, &[fresh.clone(), (VARY, "*")], Some(Refusal::Vary)),
            (
                &authorised,
                200,
                std::slice::from_ref(&fresh),
                Some(Refusal::Authorization),
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
                Some(Refusal::RequestNoStore),
            ),
            (
                &[],
                599,
                &[(CACHE_CONTROL, "must-understand, max-age=9")],
                Some(Refusal::Status),
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
