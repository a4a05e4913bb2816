//! Age and freshness of a response, and its use when it is stale (RFC 9111 section 4.2).

use std::time::{Duration, Instant, SystemTime};

use http::header::{AGE, DATE, EXPIRES, HeaderName};
use http::{HeaderMap, HeaderValue};

use super::directives::{Directives, MAX_SECONDS, delta_seconds};
use super::policy::PolicySource;

/// Seconds for which a stale response may stand in for an unreachable app, unless the app forbids it (RFC 9111 section
/// 4.2.4). An hour is enough to notice the outage, and too short to serve content of last week.
pub const DISCONNECTED: u64 = 3600;

/// A stored response's times, in seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freshness {
    /// When it arrived.
    pub received: Instant,
    /// Age at that moment.
    pub initial_age: u64,
    /// Age up to which it is fresh.
    pub lifetime: u64,
    /// Seconds of use after its lifetime while a new response is fetched.
    pub stale_while_revalidate: u64,
    /// Seconds of use after its lifetime if the app answers with an error or not at all.
    pub stale_if_error: u64,
    /// Seconds of use after its lifetime if the app does not answer at all.
    pub stale_if_disconnected: u64,
}

/// Permitted use of a stored response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FreshnessState {
    /// It may be used.
    Fresh,
    /// It may be used while a new one is fetched.
    StaleWhileRevalidate,
    /// It may be used after the app has confirmed it.
    Stale,
}

/// Failure of the app to which a stale response may be the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OriginFailure {
    /// The app answered with 500, 502, 503 or 504.
    ServerError,
    /// The app did not answer.
    Unreachable,
}

impl Freshness {
    /// Computes the times of a response that arrived at `received`, to a request sent at `sent`. `now` is the wall
    /// clock at `received`.
    pub fn new(
        headers: &HeaderMap,
        (source, directives): (PolicySource, &Directives),
        sent: Instant,
        received: Instant,
        now: SystemTime,
    ) -> Self {
        let age = initial_age(headers, received.saturating_duration_since(sent), now);
        let lifetime = match age {
            Some(_) if !directives.no_cache => {
                lifetime(headers, source, directives, now).unwrap_or(0)
            }
            _ => 0,
        };
        // `s-maxage` implies `proxy-revalidate` (RFC 9111 sections 5.2.2.2, 5.2.2.8 and 5.2.2.10).
        let strict =
            directives.must_revalidate || directives.no_cache || directives.s_maxage.is_some();
        let allowed = |seconds: Option<u64>| {
            if directives.must_revalidate || directives.no_cache {
                0
            } else {
                seconds.unwrap_or(0)
            }
        };
        let disconnected = if strict || lifetime == 0 {
            0
        } else {
            DISCONNECTED
        };
        let stale_if_error = allowed(directives.stale_if_error);
        Self {
            received,
            initial_age: age.unwrap_or(0),
            lifetime,
            stale_while_revalidate: allowed(directives.stale_while_revalidate),
            stale_if_error,
            stale_if_disconnected: stale_if_error.max(disconnected),
        }
    }

    /// Age in seconds.
    pub fn age(&self, now: Instant) -> u64 {
        let resident = now.saturating_duration_since(self.received).as_secs();
        self.initial_age.saturating_add(resident).min(MAX_SECONDS)
    }

    /// Seconds until it is stale; negative if it is.
    pub fn remaining(&self, now: Instant) -> i64 {
        let signed = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
        signed(self.lifetime).saturating_sub(signed(self.age(now)))
    }

    /// Permitted use.
    pub fn state(&self, now: Instant) -> FreshnessState {
        let age = self.age(now);
        if age < self.lifetime {
            FreshnessState::Fresh
        } else if age < self.lifetime.saturating_add(self.stale_while_revalidate) {
            FreshnessState::StaleWhileRevalidate
        } else {
            FreshnessState::Stale
        }
    }

    /// Returns whether it may stand in for an app that fails.
    pub fn stands_in(&self, failure: OriginFailure, now: Instant) -> bool {
        let beyond = match failure {
            OriginFailure::ServerError => self.stale_if_error,
            OriginFailure::Unreachable => self.stale_if_disconnected,
        };
        self.age(now) < self.lifetime.saturating_add(beyond)
    }
}

/// Age of a response that has just arrived (RFC 9111 section 4.2.3); none if its `Age` is invalid, so that its age is
/// unknown.
fn initial_age(headers: &HeaderMap, delay: Duration, now: SystemTime) -> Option<u64> {
    let declared = match single(headers, &AGE) {
        Ok(None) => 0,
        Ok(Some(age)) => delta_seconds(age.as_bytes().trim_ascii())?,
        Err(Repeated) => return None,
    };
    let apparent = date(headers, &DATE).and_then(|date| now.duration_since(date).ok());
    let apparent = apparent.map_or(0, |age| age.as_secs());
    Some(
        apparent
            .max(declared.saturating_add(delay.as_secs()))
            .min(MAX_SECONDS),
    )
}

/// Explicit lifetime of a response (RFC 9111 section 4.2.1), if it has one. There is no heuristic lifetime.
fn lifetime(
    headers: &HeaderMap,
    source: PolicySource,
    directives: &Directives,
    now: SystemTime,
) -> Option<u64> {
    if let Some(seconds) = directives.s_maxage.or(directives.max_age) {
        return Some(seconds);
    }
    if source != PolicySource::CacheControl {
        return None;
    }
    let expires = match single(headers, &EXPIRES) {
        Ok(None) => return None,
        Ok(Some(_)) => date(headers, &EXPIRES),
        Err(Repeated) => None,
    };
    // An invalid date, `0` most of all, is in the past (RFC 9111 section 5.3).
    let from = date(headers, &DATE).unwrap_or(now);
    let lifetime = expires.and_then(|expires| expires.duration_since(from).ok());
    Some(lifetime.map_or(0, |lifetime| lifetime.as_secs().min(MAX_SECONDS)))
}

/// Returns whether a response has an explicit lifetime, even one of 0 seconds.
pub(crate) fn is_explicit(
    headers: &HeaderMap,
    source: PolicySource,
    directives: &Directives,
) -> bool {
    directives.s_maxage.is_some()
        || directives.max_age.is_some()
        || (source == PolicySource::CacheControl && headers.contains_key(EXPIRES))
}

/// A field that must occur once occurs more often.
struct Repeated;

fn single<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a HeaderValue>, Repeated> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(Repeated),
        (first, None) => Ok(first),
    }
}

/// Parses a date field (RFC 9110 section 5.6.7) in any of the three forms.
pub(crate) fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::cache::policy::governing;

    const NOW: u64 = 1_700_000_000;

    fn at(seconds: u64) -> String {
        httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds))
    }

    fn of(pairs: &[(&'static str, &str)]) -> Freshness {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        let (source, directives) = governing(&headers);
        let (then, now) = (Instant::now(), UNIX_EPOCH + Duration::from_secs(NOW));
        Freshness::new(&headers, (source, &directives), then, then, now)
    }

    #[test]
    fn lifetime_is_the_first_of_s_maxage_max_age_and_expires() {
        let expires = ("expires", at(NOW + 90));
        let expires = (expires.0, expires.1.as_str());
        assert_eq!(of(&[expires]).lifetime, 90);
        assert_eq!(of(&[expires, ("cache-control", "max-age=5")]).lifetime, 5);
        assert_eq!(
            of(&[expires, ("cache-control", "max-age=5, s-maxage=7")]).lifetime,
            7
        );
        assert_eq!(
            of(&[expires, ("surrogate-control", "max-age=8")]).lifetime,
            8
        );
        assert_eq!(of(&[]).lifetime, 0);
    }

    #[test]
    fn expires_counts_from_date_and_zero_is_in_the_past() {
        let (date, expires) = (at(NOW - 10), at(NOW + 10));
        let found = of(&[("date", &date), ("expires", &expires)]);
        assert_eq!((found.lifetime, found.initial_age), (20, 10));
        assert_eq!(of(&[("expires", "0")]).lifetime, 0);
        assert_eq!(
            of(&[("expires", &expires), ("expires", &expires)]).lifetime,
            0
        );
        assert_eq!(of(&[("date", "foo"), ("expires", &expires)]).lifetime, 10);
    }

    #[test]
    fn invalid_age_makes_a_response_stale() {
        let cache = ("cache-control", "max-age=100");
        assert_eq!(of(&[cache, ("age", "30")]).remaining(Instant::now()), 70);
        for age in ["abc", "-1", "1.0", "1,2", "1;a=b", ""] {
            assert_eq!(of(&[cache, ("age", age)]).lifetime, 0, "{age}");
        }
        assert_eq!(of(&[cache, ("age", "0"), ("age", "0")]).lifetime, 0);
    }

    #[test]
    fn stale_responses_are_usable_as_long_as_their_directives_permit() {
        let found = of(&[(
            "cache-control",
            "max-age=10, stale-while-revalidate=5, stale-if-error=20",
        )]);
        let after = |seconds| found.received + Duration::from_secs(seconds);
        assert_eq!(found.state(after(9)), FreshnessState::Fresh);
        assert_eq!(found.state(after(10)), FreshnessState::StaleWhileRevalidate);
        assert_eq!(found.state(after(15)), FreshnessState::Stale);
        assert!(
            found.stands_in(OriginFailure::ServerError, after(29))
                && !found.stands_in(OriginFailure::ServerError, after(30))
        );
        assert!(found.stands_in(OriginFailure::Unreachable, after(DISCONNECTED)));
        for strict in [
            "must-revalidate",
            "proxy-revalidate",
            "no-cache",
            "s-maxage=10",
        ] {
            let found = of(&[("cache-control", &format!("max-age=10, {strict}"))]);
            assert!(
                !found.stands_in(
                    OriginFailure::Unreachable,
                    found.received + Duration::from_secs(10)
                ),
                "{strict}"
            );
        }
    }
}
