//! `Cache-Control` in requests and responses (RFC 9111 section 5.2, RFC 5861).

use http::HeaderMap;
use http::header::{CACHE_CONTROL, HeaderName};

use crate::semantics::list::Members;

/// The largest number of seconds that is told apart: larger ones count as this (RFC 9111 section 1.2.2).
pub const MAX_SECONDS: u64 = 1 << 31;

/// The directives of a response that a shared cache knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directives {
    /// Seconds; zero where the value cannot be read (RFC 9111 section 4.2.1).
    pub max_age: Option<u64>,
    /// Seconds, for shared caches alone.
    pub s_maxage: Option<u64>,
    /// Seconds after its freshness that a response is used while a new one is fetched.
    pub stale_while_revalidate: Option<u64>,
    /// Seconds after its freshness that a response is used where the app fails.
    pub stale_if_error: Option<u64>,
    /// Not stored.
    pub no_store: bool,
    /// Stored, and never used without the app's consent.
    pub no_cache: bool,
    /// Fields that are not stored (`no-cache="field"`).
    pub no_cache_fields: Vec<HeaderName>,
    /// For one user alone.
    pub private: bool,
    /// For everybody, even where the request was authorised.
    pub public: bool,
    /// `must-revalidate` or `proxy-revalidate`: never used stale.
    pub must_revalidate: bool,
    /// Stored only if the status is understood.
    pub must_understand: bool,
}

impl Directives {
    /// The directives of `name`'s lines, which are one list (RFC 9110 section 5.3).
    pub fn parse(headers: &HeaderMap, name: &HeaderName) -> Self {
        let mut found = Self::default();
        for line in headers.get_all(name) {
            for (name, value) in Members::new(line.as_bytes()) {
                found.add(name, value);
            }
        }
        found
    }

    /// Takes in one directive. Of one that is repeated the stricter value counts.
    pub(crate) fn add(&mut self, name: &[u8], value: Option<&[u8]>) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("max-age") {
            narrow(&mut self.max_age, seconds(value));
        } else if is("s-maxage") {
            narrow(&mut self.s_maxage, seconds(value));
        } else if is("stale-while-revalidate") {
            narrow(&mut self.stale_while_revalidate, seconds(value));
        } else if is("stale-if-error") {
            narrow(&mut self.stale_if_error, seconds(value));
        } else if is("no-store") {
            self.no_store = true;
        } else if is("no-cache") {
            self.add_no_cache(value);
        } else if is("private") {
            // With field names it would allow the rest to be stored. To take it for all is allowed, and the safe side.
            self.private = true;
        } else if is("public") {
            self.public = true;
        } else if is("must-revalidate") || is("proxy-revalidate") {
            self.must_revalidate = true;
        } else if is("must-understand") {
            self.must_understand = true;
        }
    }

    fn add_no_cache(&mut self, value: Option<&[u8]>) {
        let named = |value: &[u8]| -> Option<Vec<HeaderName>> {
            let names = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            let names = names.filter(|name| !name.is_empty());
            names
                .map(|name| HeaderName::from_bytes(name).ok())
                .collect()
        };
        match value.and_then(named) {
            Some(fields) if !fields.is_empty() => self.no_cache_fields.extend(fields),
            _ => self.no_cache = true,
        }
    }
}

fn narrow(known: &mut Option<u64>, new: u64) {
    *known = Some(known.map_or(new, |known| known.min(new)));
}

/// Delta-seconds (RFC 9111 section 1.2.2); zero where they cannot be read, which makes the response stale.
fn seconds(value: Option<&[u8]>) -> u64 {
    value.and_then(delta_seconds).unwrap_or(0)
}

/// A number of seconds in digits.
pub(crate) fn delta_seconds(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |sum: u64, digit: &u8| {
        sum.saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    };
    Some(text.iter().fold(0, add).min(MAX_SECONDS))
}

/// What a client asks of caches. All of it is advice (RFC 9111 section 5.2.1). The rest is not followed: anyone could make
/// dynos work by it, and what may be served is the app's to say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestDirectives {
    /// Nothing of the exchange is to be stored.
    pub no_store: bool,
    /// 504 rather than ask the app.
    pub only_if_cached: bool,
}

impl RequestDirectives {
    /// The directives of a request.
    pub fn parse(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        for line in headers.get_all(CACHE_CONTROL) {
            for (name, _) in Members::new(line.as_bytes()) {
                found.no_store |= name.eq_ignore_ascii_case(b"no-store");
                found.only_if_cached |= name.eq_ignore_ascii_case(b"only-if-cached");
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn parse(lines: &[&'static str]) -> Directives {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CACHE_CONTROL, HeaderValue::from_static(line));
        }
        Directives::parse(&headers, &CACHE_CONTROL)
    }

    #[test]
    fn what_stands_in_quotes_is_no_directive() {
        let found = parse(&["extension=\"max-age=3600, no-store\", max-age=1"]);
        assert_eq!(
            found,
            Directives {
                max_age: Some(1),
                ..Directives::default()
            }
        );
        assert_eq!(parse(&["max-age=\"3600\""]).max_age, Some(3600));
        assert_eq!(parse(&["a=\"\\\", no-store"]), Directives::default());
    }

    #[test]
    fn what_cannot_be_read_is_stale_and_of_two_the_shorter_counts() {
        for line in [
            "max-age=-1",
            "max-age=1.5",
            "max-age",
            "max-age='3'",
            "max-age= 3",
            "max-age=",
        ] {
            assert_eq!(
                parse(&[Box::leak(line.to_owned().into_boxed_str())]).max_age,
                Some(0),
                "{line}"
            );
        }
        assert_eq!(parse(&["max-age=9", "max-age=3"]).max_age, Some(3));
        assert_eq!(parse(&["MAX-AGE=003"]).max_age, Some(3));
    }

    #[test]
    fn more_seconds_than_there_are_do_not_overflow() {
        assert_eq!(
            parse(&["max-age=99999999999999999999999999"]).max_age,
            Some(MAX_SECONDS)
        );
    }

    #[test]
    fn no_cache_may_be_about_fields_alone() {
        let found = parse(&["no-cache=\"a, B\", max-age=3"]);
        assert!(!found.no_cache);
        assert_eq!(
            found.no_cache_fields,
            ["a", "b"].map(HeaderName::from_static)
        );
        assert!(parse(&["no-cache=\"\""]).no_cache && parse(&["no-cache=\"a b\""]).no_cache);
    }
}
