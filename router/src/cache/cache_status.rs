//! Result of the cache for a request: the word in the log line, `X-Cache`, and `Cache-Status` (RFC 9211).

use http::HeaderValue;
use http::header::HeaderName;

use super::storable::NotStored;

/// `Cache-Status` (RFC 9211).
pub(crate) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// `X-Cache`, the short form that people read.
pub(crate) const X_CACHE: HeaderName = HeaderName::from_static("x-cache");

/// Reason why a request went to the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardReason {
    /// The store has no response for its URL.
    UriMiss,
    /// Responses are stored for its URL, but for other request headers.
    VaryMiss,
    /// The stored response is stale.
    Stale,
}

impl ForwardReason {
    /// The `fwd` parameter (RFC 9211 section 2.2).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Stale => "stale",
        }
    }
}

/// Reason why the cache had no part in a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BypassReason {
    /// The cache is off, the app has no release, or another cache answered.
    #[default]
    NoCache,
    /// The method is neither GET nor HEAD.
    Method,
    /// The request has a body.
    Body,
    /// The stored response needs validation each time, or authorisation, and the request has cookies, conditions or
    /// credentials of its client.
    Personal,
}

impl BypassReason {
    /// The `detail` parameter in `Cache-Status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoCache => "nothing",
            Self::Method => "method",
            Self::Body => "body",
            Self::Personal => "personal",
        }
    }
}

/// Reason why a stale response was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StaleReason {
    /// `stale-while-revalidate` (RFC 5861 section 3).
    WhileRevalidate,
    /// `stale-if-error` (RFC 5861 section 4), or the app did not answer.
    IfError,
}

/// Result of the cache for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheStatus {
    /// A fresh response answered.
    Hit {
        /// Seconds that it stays fresh.
        ttl: i64,
    },
    /// A stale response answered.
    Stale {
        /// Reason why it was allowed to.
        reason: StaleReason,
        /// Seconds that it stays fresh: 0 or negative.
        ttl: i64,
    },
    /// A stale response answered after the app confirmed it with a 304.
    Revalidated,
    /// The request waited for another one and shares its response.
    Collapsed(ForwardReason),
    /// The app answered.
    Miss {
        /// Reason why the request went to the app.
        reason: ForwardReason,
        /// The reason if the response is not stored.
        stored: Result<(), NotStored>,
    },
    /// The cache had no part in the request.
    Bypass(BypassReason),
    /// The client accepts only a stored response (`only-if-cached`), and there was none.
    NotCached,
}

impl Default for CacheStatus {
    fn default() -> Self {
        Self::Bypass(BypassReason::NoCache)
    }
}

impl CacheStatus {
    /// The word in the log line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit { .. } => "hit",
            Self::Stale { .. } => "stale",
            Self::Revalidated => "revalidated",
            Self::Collapsed(_) => "collapsed",
            Self::Miss { .. } | Self::NotCached => "miss",
            Self::Bypass(_) => "bypass",
        }
    }

    /// Returns whether the response is stored, or is being stored.
    pub(crate) fn is_stored(self) -> bool {
        match self {
            Self::Hit { .. } | Self::Stale { .. } | Self::Revalidated | Self::Collapsed(_) => true,
            Self::Miss { stored, .. } => stored.is_ok(),
            Self::Bypass(_) | Self::NotCached => false,
        }
    }

    /// Value of `X-Cache`.
    pub(crate) fn x_cache(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Hit { .. } | Self::Collapsed(_) => "HIT",
            Self::Stale { .. } => "STALE",
            Self::Revalidated => "REVALIDATED",
            Self::Miss { .. } | Self::NotCached => "MISS",
            Self::Bypass(_) => "BYPASS",
        })
    }

    /// Value of `Cache-Status`.
    pub(crate) fn header(self) -> HeaderValue {
        let text = match self {
            Self::Hit { ttl } => format!("corundum; hit; ttl={ttl}"),
            Self::Stale {
                reason: StaleReason::WhileRevalidate,
                ttl,
            } => {
                format!("corundum; hit; ttl={ttl}; detail=stale-while-revalidate")
            }
            Self::Stale {
                reason: StaleReason::IfError,
                ttl,
            } => {
                format!("corundum; fwd=stale; ttl={ttl}; detail=stale-if-error")
            }
            Self::Revalidated => {
                return HeaderValue::from_static("corundum; fwd=stale; fwd-status=304");
            }
            Self::Collapsed(reason) => format!("corundum; fwd={}; collapsed", reason.as_str()),
            Self::Miss {
                reason,
                stored: Ok(()),
            } => format!("corundum; fwd={}; stored", reason.as_str()),
            Self::Miss {
                reason,
                stored: Err(refusal),
            } => {
                format!(
                    "corundum; fwd={}; detail={}",
                    reason.as_str(),
                    refusal.as_str()
                )
            }
            Self::Bypass(BypassReason::Method) => {
                return HeaderValue::from_static("corundum; fwd=method");
            }
            Self::Bypass(BypassReason::NoCache) => {
                return HeaderValue::from_static("corundum; fwd=bypass");
            }
            Self::Bypass(reason) => format!("corundum; fwd=bypass; detail={}", reason.as_str()),
            Self::NotCached => return HeaderValue::from_static("corundum; detail=only-if-cached"),
        };
        // The text consists of words and numbers, so it is always a valid value.
        HeaderValue::from_maybe_shared(bytes::Bytes::from(text))
            .unwrap_or_else(|_| HeaderValue::from_static("corundum"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_status_is_a_structured_field_list() {
        let miss = |stored| CacheStatus::Miss {
            reason: ForwardReason::VaryMiss,
            stored,
        };
        for (status, word, header) in [
            (CacheStatus::Hit { ttl: 5 }, "hit", "corundum; hit; ttl=5"),
            (miss(Ok(())), "miss", "corundum; fwd=vary-miss; stored"),
            (
                miss(Err(NotStored::SetCookie)),
                "miss",
                "corundum; fwd=vary-miss; detail=set-cookie",
            ),
            (
                CacheStatus::Collapsed(ForwardReason::Stale),
                "collapsed",
                "corundum; fwd=stale; collapsed",
            ),
            (
                CacheStatus::Bypass(BypassReason::Personal),
                "bypass",
                "corundum; fwd=bypass; detail=personal",
            ),
        ] {
            assert_eq!(
                (status.as_str(), status.header().to_str().unwrap()),
                (word, header)
            );
            assert!(sfv::Parser::new(header).parse::<sfv::List>().is_ok());
        }
    }
}
