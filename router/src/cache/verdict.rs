//! What the cache made of a request: the word in the log line, `X-Cache`, and `Cache-Status` (RFC 9211).

use http::HeaderValue;

use super::storable::Refusal;

/// Why a request went to the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forward {
    /// Nothing is stored for its URL.
    UriMiss,
    /// What is stored for its URL is for other headers.
    VaryMiss,
    /// What is stored is stale.
    Stale,
}

impl Forward {
    /// The word of RFC 9211 section 2.2.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Stale => "stale",
        }
    }
}

/// Why the cache had no part in a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Bypass {
    /// It is not the router's cache that has answered, or the app has no release.
    #[default]
    Nothing,
    /// Its method is neither GET nor HEAD.
    Method,
    /// It has a body.
    Body,
    /// What is stored for its URL must be validated each time, for this client's cookies or conditions.
    Personal,
}

impl Bypass {
    /// The word for it in `Cache-Status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Method => "method",
            Self::Body => "body",
            Self::Personal => "personal",
        }
    }
}

/// Why a stale response was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowance {
    /// `stale-while-revalidate`.
    WhileRevalidate,
    /// The app is in trouble.
    IfError,
}

/// What the cache made of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// A fresh response was there.
    Hit {
        /// Seconds that it is still fresh.
        ttl: i64,
    },
    /// A stale one was, and allowed it.
    Stale {
        /// Why it was served.
        why: Allowance,
        /// Seconds that it is still fresh: none or fewer.
        ttl: i64,
    },
    /// A stale one was, and the app has said that it is still good.
    Revalidated,
    /// The answer to another request was awaited and shared.
    Collapsed(Forward),
    /// The app has answered.
    Miss {
        /// Why it was asked.
        why: Forward,
        /// What came of the answer.
        stored: Result<(), Refusal>,
    },
    /// The cache had no part in it.
    Bypass(Bypass),
    /// The client wanted a stored response (`only-if-cached`), and there was none.
    NotAllowed,
}

impl Default for Verdict {
    fn default() -> Self {
        Self::Bypass(Bypass::Nothing)
    }
}

impl Verdict {
    /// The word in the log line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit { .. } => "hit",
            Self::Stale { .. } => "stale",
            Self::Revalidated => "revalidated",
            Self::Collapsed(_) => "collapsed",
            Self::Miss { .. } | Self::NotAllowed => "miss",
            Self::Bypass(_) => "bypass",
        }
    }

    /// Whether the answer is one that is stored, or about to be.
    pub(crate) fn is_stored(self) -> bool {
        match self {
            Self::Hit { .. } | Self::Stale { .. } | Self::Revalidated | Self::Collapsed(_) => true,
            Self::Miss { stored, .. } => stored.is_ok(),
            Self::Bypass(_) | Self::NotAllowed => false,
        }
    }

    /// `X-Cache`.
    pub(crate) fn x_cache(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Hit { .. } | Self::Collapsed(_) => "HIT",
            Self::Stale { .. } => "STALE",
            Self::Revalidated => "REVALIDATED",
            Self::Miss { .. } | Self::NotAllowed => "MISS",
            Self::Bypass(_) => "BYPASS",
        })
    }

    /// `Cache-Status`.
    pub(crate) fn cache_status(self) -> HeaderValue {
        let text = match self {
            Self::Hit { ttl } => format!("corundum; hit; ttl={ttl}"),
            Self::Stale {
                why: Allowance::WhileRevalidate,
                ttl,
            } => {
                format!("corundum; hit; ttl={ttl}; detail=stale-while-revalidate")
            }
            Self::Stale {
                why: Allowance::IfError,
                ttl,
            } => {
                format!("corundum; fwd=stale; ttl={ttl}; detail=stale-if-error")
            }
            Self::Revalidated => {
                return HeaderValue::from_static("corundum; fwd=stale; fwd-status=304");
            }
            Self::Collapsed(why) => format!("corundum; fwd={}; collapsed", why.as_str()),
            Self::Miss {
                why,
                stored: Ok(()),
            } => format!("corundum; fwd={}; stored", why.as_str()),
            Self::Miss {
                why,
                stored: Err(refusal),
            } => {
                format!(
                    "corundum; fwd={}; detail={}",
                    why.as_str(),
                    refusal.as_str()
                )
            }
            Self::Bypass(Bypass::Method) => {
                return HeaderValue::from_static("corundum; fwd=method");
            }
            Self::Bypass(Bypass::Nothing) => {
                return HeaderValue::from_static("corundum; fwd=bypass");
            }
            Self::Bypass(why) => format!("corundum; fwd=bypass; detail={}", why.as_str()),
            Self::NotAllowed => return HeaderValue::from_static("corundum; detail=only-if-cached"),
        };
        // Words and numbers: always a value.
        HeaderValue::from_maybe_shared(bytes::Bytes::from(text))
            .unwrap_or_else(|_| HeaderValue::from_static("corundum"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_verdict_is_a_list_of_structured_fields() {
        let miss = |stored| Verdict::Miss {
            why: Forward::VaryMiss,
            stored,
        };
        for (verdict, word, status) in [
            (Verdict::Hit { ttl: 5 }, "hit", "corundum; hit; ttl=5"),
            (miss(Ok(())), "miss", "corundum; fwd=vary-miss; stored"),
            (
                miss(Err(Refusal::SetCookie)),
                "miss",
                "corundum; fwd=vary-miss; detail=set-cookie",
            ),
            (
                Verdict::Collapsed(Forward::Stale),
                "collapsed",
                "corundum; fwd=stale; collapsed",
            ),
            (
                Verdict::Bypass(Bypass::Personal),
                "bypass",
                "corundum; fwd=bypass; detail=personal",
            ),
        ] {
            assert_eq!(
                (verdict.as_str(), verdict.cache_status().to_str().unwrap()),
                (word, status)
            );
            assert!(sfv::Parser::new(status).parse::<sfv::List>().is_ok());
        }
    }
}
