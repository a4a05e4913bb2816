//! `Cache-Control` in requests and responses (RFC 9111 section 5.2, RFC 5861).

use http::HeaderMap;
use http::header::{CACHE_CONTROL, HeaderName};

use crate::semantics::list::Members;

/// Largest number of seconds; larger ones count as this one (RFC 9111 section 1.2.2).
pub const MAX_SECONDS: u64 = 1 << 31;

/// Directives of a response that a shared cache applies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directives {
    /// Seconds of freshness; 0 if the value is invalid (RFC 9111 section 4.2.1).
    pub max_age: Option<u64>,
    /// Seconds of freshness in shared caches.
    pub s_maxage: Option<u64>,
    /// Seconds for which a stale response may be used while a new one is fetched.
    pub stale_while_revalidate: Option<u64>,
    /// Seconds for which a stale response may be used if the app fails.
    pub stale_if_error: Option<u64>,
    /// The response must not be stored.
    pub no_store: bool,
    /// Each use needs the app's validation.
    pub no_cache: bool,
    /// Fields that must not be stored (`no-cache="field"`).
    pub no_cache_fields: Vec<HeaderName>,
    /// The response is for one user.
    pub private: bool,
    /// The response is for all users, even if the request was authorised.
    pub public: bool,
    /// `must-revalidate` or `proxy-revalidate`: a stale response must not be used.
    pub must_revalidate: bool,
    /// The response may be stored only if the cache understands its status.
    pub must_understand: bool,
}

impl Directives {
    /// Parses the lines of the field `name`, which form one list (RFC 9110 section 5.3).
    pub fn parse(headers: &HeaderMap, name: &HeaderName) -> Self {
        let mut found = Self::default();
        for line in headers.get_all(name) {
            for (name, value) in Members::new(line.as_bytes()) {
                found.add(name, value);
            }
        }
        found
    }

    /// Adds one directive. Of a repeated directive the stricter value counts.
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
            // With field names, only those fields are private. Applying it to the whole response is allowed, and safe.
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

/// Parses delta-seconds (RFC 9111 section 1.2.2). An invalid value is 0, which makes the response stale.
fn seconds(value: Option<&[u8]>) -> u64 {
    value.and_then(delta_seconds).unwrap_or(0)
}

/// Parses a number of seconds in digits.
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

/// Directives of a request that the cache follows. All of them are advisory (RFC 9111 section 5.2.1). The cache ignores
/// the others (`no-cache`, `max-age` …): with them any client could make dynos work, and the app decides about
/// freshness.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestDirectives {
    /// The response must not be stored.
    pub no_store: bool,
    /// Only a stored response is acceptable; without one the answer is 504.
    pub only_if_cached: bool,
}

impl RequestDirectives {
    /// Parses the directives of a request.
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
    fn quoted_text_is_not_a_directive() {
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
    fn invalid_seconds_are_zero_and_the_shorter_of_two_counts() {
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
    fn huge_seconds_do_not_overflow() {
        assert_eq!(
            parse(&["max-age=99999999999999999999999999"]).max_age,
            Some(MAX_SECONDS)
        );
    }

    #[test]
    fn no_cache_with_field_names_applies_to_those_fields() {
        let found = parse(&["no-cache=\"a, B\", max-age=3"]);
        assert!(!found.no_cache);
        assert_eq!(
            found.no_cache_fields,
            ["a", "b"].map(HeaderName::from_static)
        );
        assert!(parse(&["no-cache=\"\""]).no_cache && parse(&["no-cache=\"a b\""]).no_cache);
    }
}
