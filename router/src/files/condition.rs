//! Conditional requests (RFC 9110 section 13): whether what a client has is still what it would get.

use http::HeaderMap;
use http::header::{
    HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
};
use httpdate::HttpDate;

/// What a representation is known by: a strong entity tag and a date, both as they stand in its headers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Validators<'a> {
    pub(crate) etag: &'a str,
    pub(crate) modified: HttpDate,
}

/// What becomes of a GET or HEAD by its conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is answered.
    Proceed,
    /// 304: the client has it.
    NotModified,
    /// 412: it is no more what the client takes it for.
    Failed,
}

impl Validators<'_> {
    /// Evaluates the conditions in the order of section 13.2.2.
    pub(crate) fn evaluate(self, headers: &HeaderMap) -> Verdict {
        let unmet = if headers.contains_key(IF_MATCH) {
            !self.listed(headers, IF_MATCH, Comparison::Strong)
        } else {
            date(headers, IF_UNMODIFIED_SINCE).is_some_and(|date| self.modified > date)
        };
        let current = if headers.contains_key(IF_NONE_MATCH) {
            self.listed(headers, IF_NONE_MATCH, Comparison::Weak)
        } else {
            date(headers, IF_MODIFIED_SINCE).is_some_and(|date| self.modified <= date)
        };
        match (unmet, current) {
            (true, _) => Verdict::Failed,
            (false, true) => Verdict::NotModified,
            (false, false) => Verdict::Proceed,
        }
    }

    /// Whether a `Range` holds for this representation: without `If-Range` always, else if that names it (section 13.1.5).
    pub(crate) fn range_holds(self, headers: &HeaderMap) -> bool {
        let Some(value) = headers.get(IF_RANGE) else {
            return true;
        };
        let value = value.to_str().unwrap_or_default().trim();
        value == self.etag
            || value
                .parse()
                .is_ok_and(|date: HttpDate| date == self.modified)
    }

    /// Whether a list of entity tags, or `*`, names this one.
    fn listed(self, headers: &HeaderMap, name: HeaderName, comparison: Comparison) -> bool {
        headers.get_all(name).iter().any(|line| {
            let line = line.to_str().unwrap_or_default().trim();
            line == "*"
                || tags(line).any(|tag| tag == self.etag || comparison.matches(tag, self.etag))
        })
    }
}

/// How entity tags are compared (section 8.8.3.2); what is the same to the letter and strong matches in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

impl Comparison {
    fn matches(self, tag: &str, etag: &str) -> bool {
        self == Self::Weak && tag.strip_prefix("W/") == Some(etag)
    }
}

/// The entity tags of a list, up to the first that is none. Commas may stand inside of a tag.
fn tags(mut rest: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([',', ' ', '\t']);
        let opened = rest.find('"')?;
        if !matches!(&rest[..opened], "" | "W/") {
            return None;
        }
        let closed = opened + 1 + rest[opened + 1..].find('"')?;
        let (tag, left) = rest.split_at(closed + 1);
        rest = left;
        Some(tag)
    })
}

/// A date, where there is one alone that is one; others are passed over (sections 13.1.3 and 13.1.4).
fn date(headers: &HeaderMap, name: HeaderName) -> Option<HttpDate> {
    let mut lines = headers.get_all(name).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return None;
    };
    line.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const MODIFIED: &str = "Wed, 25 Nov 2026 14:00:00 GMT";
    const BEFORE: &str = "Wed, 25 Nov 2026 13:59:59 GMT";
    const AFTER: &str = "Wed, 25 Nov 2026 14:00:01 GMT";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn validators() -> Validators<'static> {
        Validators {
            etag: "\"a,b\"",
            modified: MODIFIED.parse().unwrap(),
        }
    }

    fn verdict(pairs: &[(&'static str, &str)]) -> Verdict {
        validators().evaluate(&headers(pairs))
    }

    #[test]
    fn a_tag_that_is_listed_is_not_modified() {
        for tags in [
            "\"a,b\"",
            "W/\"a,b\"",
            "*",
            "\"x\", \"a,b\"",
            "\"x\",,W/\"a,b\" , \"y\"",
        ] {
            assert_eq!(
                verdict(&[("if-none-match", tags)]),
                Verdict::NotModified,
                "{tags}"
            );
        }
        for tags in [
            "\"a\"",
            "a,b",
            "\"a,b",
            "",
            "w/\"a,b\"",
            "x\"a,b\"",
            "\"x\" nonsense \"a,b\"",
        ] {
            assert_eq!(
                verdict(&[("if-none-match", tags)]),
                Verdict::Proceed,
                "{tags}"
            );
        }
        let lines = [("if-none-match", "\"x\""), ("if-none-match", "\"a,b\"")];
        assert_eq!(verdict(&lines), Verdict::NotModified);
    }

    #[test]
    fn if_match_compares_strongly() {
        assert_eq!(verdict(&[("if-match", "\"a,b\"")]), Verdict::Proceed);
        assert_eq!(verdict(&[("if-match", "*")]), Verdict::Proceed);
        assert_eq!(verdict(&[("if-match", "W/\"a,b\"")]), Verdict::Failed);
        assert_eq!(verdict(&[("if-match", "\"x\"")]), Verdict::Failed);
    }

    #[test]
    fn dates_count_where_no_tag_is_given() {
        assert_eq!(
            verdict(&[("if-modified-since", MODIFIED)]),
            Verdict::NotModified
        );
        assert_eq!(
            verdict(&[("if-modified-since", AFTER)]),
            Verdict::NotModified
        );
        assert_eq!(verdict(&[("if-modified-since", BEFORE)]), Verdict::Proceed);
        assert_eq!(
            verdict(&[("if-modified-since", "yesterday")]),
            Verdict::Proceed
        );
        assert_eq!(verdict(&[("if-unmodified-since", BEFORE)]), Verdict::Failed);
        assert_eq!(
            verdict(&[("if-unmodified-since", MODIFIED)]),
            Verdict::Proceed
        );
    }

    #[test]
    fn tags_prevail_over_dates_and_preconditions_over_freshness() {
        let tag_differs = [("if-none-match", "\"x\""), ("if-modified-since", AFTER)];
        assert_eq!(verdict(&tag_differs), Verdict::Proceed);
        let tag_matches = [("if-match", "\"a,b\""), ("if-unmodified-since", BEFORE)];
        assert_eq!(verdict(&tag_matches), Verdict::Proceed);
        let both = [("if-match", "\"x\""), ("if-none-match", "\"a,b\"")];
        assert_eq!(verdict(&both), Verdict::Failed);
    }

    #[test]
    fn a_range_holds_for_the_very_same_representation() {
        let holds = |pairs: &[(&'static str, &str)]| validators().range_holds(&headers(pairs));
        assert!(holds(&[]));
        assert!(holds(&[("if-range", "\"a,b\"")]) && holds(&[("if-range", MODIFIED)]));
        for other in ["W/\"a,b\"", "\"x\"", BEFORE, AFTER, ""] {
            assert!(!holds(&[("if-range", other)]), "{other}");
        }
    }
}
