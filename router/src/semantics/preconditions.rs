//! Conditional requests (RFC 9110 section 13): whether a client already has, or still means, the representation that it
//! would get.

use std::time::{Duration, SystemTime};

use http::header::{
    HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
};
use http::{HeaderMap, HeaderValue};

use super::entity_tag::EntityTag;

/// Time between the modification and the generation of a response after which its `Last-Modified` is a strong validator:
/// within one second a representation may change twice (RFC 9110 section 8.8.2.2).
const STRONG_AFTER: Duration = Duration::from_secs(60);

/// Validators of the representation that a request would get.
#[derive(Debug, Clone, Copy, Default)]
pub struct Validators<'a> {
    /// The `ETag` header.
    pub etag: Option<&'a HeaderValue>,
    /// The date of the `Last-Modified` header.
    pub last_modified: Option<SystemTime>,
    /// Strength of that date.
    pub date: DateStrength<'a>,
}

/// Strength of a modification date as a validator.
#[derive(Debug, Clone, Copy, Default)]
pub enum DateStrength<'a> {
    /// The origin knows that the content does not change twice within that second.
    #[default]
    Strong,
    /// The response was received with this `Date`, which decides: see RFC 9110 section 8.8.2.2. It also stands in for a
    /// missing modification date (RFC 9111 section 4.3.2).
    Received(Option<&'a HeaderValue>),
}

/// Result of evaluating the preconditions of a GET or HEAD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreconditionResult {
    /// The representation is sent.
    Proceed,
    /// 304: the client has the representation.
    NotModified,
    /// 412: the representation is not the one that the client means.
    Failed,
}

/// Evaluates the preconditions of a GET or HEAD in the order of RFC 9110 section 13.2.2.
///
/// Call it only if the response without conditions would be a 200 (section 13.2.1). `validators` is called only if the
/// request has a condition, so that other requests pay for one pass over the names of their headers.
pub fn evaluate<'a>(
    request: &HeaderMap,
    validators: impl FnOnce() -> Validators<'a>,
) -> PreconditionResult {
    if !request.keys().any(is_precondition) {
        return PreconditionResult::Proceed;
    }
    let validators = validators();
    let failed = if request.contains_key(IF_MATCH) {
        !validators.listed(request, &IF_MATCH, |tag, own| tag.matches_strongly(own))
    } else {
        validators.is_modified_after(date(request, &IF_UNMODIFIED_SINCE))
    };
    if failed {
        return PreconditionResult::Failed;
    }
    let current = if request.contains_key(IF_NONE_MATCH) {
        validators.listed(request, &IF_NONE_MATCH, |tag, own| tag.matches_weakly(own))
    } else {
        validators.is_unmodified_since(date(request, &IF_MODIFIED_SINCE))
    };
    if current {
        PreconditionResult::NotModified
    } else {
        PreconditionResult::Proceed
    }
}

/// Returns whether the `Range` of a request applies: without `If-Range` always, otherwise if that names this
/// representation by a strong validator (RFC 9110 section 13.1.5).
pub fn if_range_holds<'a>(
    request: &HeaderMap,
    validators: impl FnOnce() -> Validators<'a>,
) -> bool {
    let Some(condition) = request.get(IF_RANGE) else {
        return true;
    };
    let validators = validators();
    match parse_date(condition) {
        Some(date) => validators.last_modified == Some(date) && validators.has_strong_date(date),
        None => {
            let condition = EntityTag::new(condition.as_bytes());
            condition.is_strong()
                && validators
                    .tag()
                    .is_some_and(|tag| tag.matches_strongly(condition))
        }
    }
}

fn is_precondition(name: &HeaderName) -> bool {
    *name == IF_NONE_MATCH
        || *name == IF_MODIFIED_SINCE
        || *name == IF_MATCH
        || *name == IF_UNMODIFIED_SINCE
}

impl<'a> Validators<'a> {
    fn tag(&self) -> Option<EntityTag<'a>> {
        self.etag.map(|etag| EntityTag::new(etag.as_bytes()))
    }

    /// Returns whether a list of entity tags names this representation; `*` names any that exists.
    fn listed(
        &self,
        request: &HeaderMap,
        name: &HeaderName,
        matches: impl Fn(EntityTag<'_>, EntityTag<'_>) -> bool,
    ) -> bool {
        let own = self.tag();
        request.get_all(name).iter().any(|line| {
            line.as_bytes().trim_ascii() == b"*"
                || own.is_some_and(|own| {
                    EntityTag::list(line.as_bytes()).any(|tag| matches(tag, own))
                })
        })
    }

    /// `If-Unmodified-Since` fails. Without a modification date it is ignored (RFC 9110 section 13.1.4).
    fn is_modified_after(&self, date: Option<SystemTime>) -> bool {
        matches!((self.last_modified, date), (Some(modified), Some(date)) if modified > date)
    }

    /// `If-Modified-Since` names this representation or a later one (RFC 9110 section 13.1.3).
    fn is_unmodified_since(&self, date: Option<SystemTime>) -> bool {
        let Some(date) = date else { return false };
        let generated = || match self.date {
            DateStrength::Strong => None,
            DateStrength::Received(generated) => generated.and_then(parse_date),
        };
        let modified = self.last_modified.or_else(generated);
        modified.is_some_and(|modified| modified <= date)
    }

    fn has_strong_date(&self, modified: SystemTime) -> bool {
        match self.date {
            DateStrength::Strong => true,
            DateStrength::Received(generated) => {
                let generated = generated.and_then(parse_date);
                let age = generated.and_then(|date| date.duration_since(modified).ok());
                age.is_some_and(|age| age >= STRONG_AFTER)
            }
        }
    }
}

/// Reads a date that must be the only one; a condition with several or an invalid one is ignored (RFC 9110 sections
/// 13.1.3 and 13.1.4).
fn date(request: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    let mut lines = request.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (Some(line), None) => parse_date(line),
        _ => None,
    }
}

/// Parses a date in any of the three formats (RFC 9110 section 5.6.7).
fn parse_date(value: &HeaderValue) -> Option<SystemTime> {
    httpdate::parse_http_date(value.to_str().ok()?.trim()).ok()
}

#[cfg(test)]
mod tests {
    use http::header::{DATE, ETAG, LAST_MODIFIED};

    use super::*;

    const THEN: &str = "Wed, 01 Jan 2020 00:00:00 GMT";
    const LATER: &str = "Wed, 01 Jan 2020 00:02:00 GMT";
    const MODIFIED: &str = "Wed, 25 Nov 2026 14:00:00 GMT";
    const BEFORE: &str = "Wed, 25 Nov 2026 13:59:59 GMT";
    const AFTER: &str = "Wed, 25 Nov 2026 14:00:01 GMT";

    fn map(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers
    }

    /// Validators of a response that a cache has stored.
    fn received(stored: &HeaderMap) -> Validators<'_> {
        Validators {
            etag: stored.get(ETAG),
            last_modified: stored.get(LAST_MODIFIED).and_then(parse_date),
            date: DateStrength::Received(stored.get(DATE)),
        }
    }

    /// Evaluates conditions on a file: one with a tag that contains a comma, and with a modification date.
    fn of_file(pairs: &[(HeaderName, &'static str)]) -> PreconditionResult {
        let etag = HeaderValue::from_static("\"a,b\"");
        evaluate(&map(pairs), || file(&etag))
    }

    fn file(etag: &HeaderValue) -> Validators<'_> {
        Validators {
            etag: Some(etag),
            last_modified: httpdate::parse_http_date(MODIFIED).ok(),
            date: DateStrength::Strong,
        }
    }

    #[test]
    fn if_none_match_compares_weakly_with_each_listed_tag() {
        for tags in [
            "\"a,b\"",
            "W/\"a,b\"",
            "*",
            " * ",
            "\"x\", \"a,b\"",
            "\"x\",,W/\"a,b\" , \"y\"",
        ] {
            let result = of_file(&[(IF_NONE_MATCH, tags)]);
            assert_eq!(result, PreconditionResult::NotModified, "{tags}");
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
            let result = of_file(&[(IF_NONE_MATCH, tags)]);
            assert_eq!(result, PreconditionResult::Proceed, "{tags}");
        }
        let lines = [(IF_NONE_MATCH, "\"x\""), (IF_NONE_MATCH, "\"a,b\"")];
        assert_eq!(of_file(&lines), PreconditionResult::NotModified);
    }

    #[test]
    fn if_match_compares_strongly() {
        for (tags, expected) in [
            ("\"a,b\"", PreconditionResult::Proceed),
            ("\"x\", \"a,b\"", PreconditionResult::Proceed),
            ("*", PreconditionResult::Proceed),
            ("W/\"a,b\"", PreconditionResult::Failed),
            ("\"x\"", PreconditionResult::Failed),
            ("", PreconditionResult::Failed),
        ] {
            assert_eq!(of_file(&[(IF_MATCH, tags)]), expected, "{tags}");
        }
    }

    #[test]
    fn dates_are_compared_without_tags() {
        for (name, date, expected) in [
            (IF_MODIFIED_SINCE, MODIFIED, PreconditionResult::NotModified),
            (IF_MODIFIED_SINCE, AFTER, PreconditionResult::NotModified),
            (IF_MODIFIED_SINCE, BEFORE, PreconditionResult::Proceed),
            (IF_MODIFIED_SINCE, "yesterday", PreconditionResult::Proceed),
            (IF_UNMODIFIED_SINCE, BEFORE, PreconditionResult::Failed),
            (IF_UNMODIFIED_SINCE, MODIFIED, PreconditionResult::Proceed),
            (IF_UNMODIFIED_SINCE, AFTER, PreconditionResult::Proceed),
            (
                IF_UNMODIFIED_SINCE,
                "yesterday",
                PreconditionResult::Proceed,
            ),
        ] {
            let result = of_file(&[(name.clone(), date)]);
            assert_eq!(result, expected, "{name}: {date}");
        }
        let twice = [(IF_MODIFIED_SINCE, AFTER), (IF_MODIFIED_SINCE, AFTER)];
        assert_eq!(of_file(&twice), PreconditionResult::Proceed);
    }

    #[test]
    fn tags_take_precedence_over_dates_and_if_match_over_if_none_match() {
        let tag_differs = [(IF_NONE_MATCH, "\"x\""), (IF_MODIFIED_SINCE, AFTER)];
        assert_eq!(of_file(&tag_differs), PreconditionResult::Proceed);
        let tag_matches = [(IF_MATCH, "\"a,b\""), (IF_UNMODIFIED_SINCE, BEFORE)];
        assert_eq!(of_file(&tag_matches), PreconditionResult::Proceed);
        let both = [(IF_MATCH, "\"x\""), (IF_NONE_MATCH, "\"a,b\"")];
        assert_eq!(of_file(&both), PreconditionResult::Failed);
        let passed = [(IF_MATCH, "\"a,b\""), (IF_NONE_MATCH, "\"a,b\"")];
        assert_eq!(of_file(&passed), PreconditionResult::NotModified);
    }

    #[test]
    fn conditions_apply_to_a_stored_response() {
        let stored = map(&[(ETAG, "\"a\""), (LAST_MODIFIED, LATER)]);
        let result =
            |pairs: &[(HeaderName, &'static str)]| evaluate(&map(pairs), || received(&stored));
        let not_modified = |value| {
            let conditions = [(IF_NONE_MATCH, value), (IF_MODIFIED_SINCE, LATER)];
            result(&conditions) == PreconditionResult::NotModified
        };
        assert!(not_modified("\"a\"") && not_modified("W/\"a\""));
        assert!(not_modified("\"b\", \"a\"") && not_modified("*"));
        assert!(!not_modified("\"b\"") && !not_modified("a"));
        assert!(!not_modified("\"b, \\\"a\""));
        assert_eq!(result(&[(IF_MATCH, "\"b\"")]), PreconditionResult::Failed);
        assert_eq!(result(&[(IF_MATCH, "\"a\"")]), PreconditionResult::Proceed);
        assert_eq!(
            result(&[(IF_UNMODIFIED_SINCE, THEN)]),
            PreconditionResult::Failed
        );
    }

    #[test]
    fn response_without_a_tag_matches_only_the_asterisk() {
        let stored = map(&[(DATE, THEN)]);
        let result = |name, value| evaluate(&map(&[(name, value)]), || received(&stored));
        assert_eq!(result(IF_NONE_MATCH, "*"), PreconditionResult::NotModified);
        assert_eq!(result(IF_NONE_MATCH, "\"a\""), PreconditionResult::Proceed);
        assert_eq!(result(IF_MATCH, "*"), PreconditionResult::Proceed);
        assert_eq!(result(IF_MATCH, "\"a\""), PreconditionResult::Failed);
    }

    #[test]
    fn unquoted_tag_matches_only_itself() {
        let stored = map(&[(ETAG, "a")]);
        let result = |name, value| evaluate(&map(&[(name, value)]), || received(&stored));
        assert_eq!(result(IF_NONE_MATCH, "a"), PreconditionResult::NotModified);
        assert_eq!(result(IF_NONE_MATCH, "\"a\""), PreconditionResult::Proceed);
        assert!(!if_range_holds(&map(&[(IF_RANGE, "a")]), || received(
            &stored
        )));
    }

    #[test]
    fn if_modified_since_is_compared_with_last_modified_or_date() {
        let unmodified = |since, stored: &HeaderMap| {
            let request = map(&[(IF_MODIFIED_SINCE, since)]);
            evaluate(&request, || received(stored)) == PreconditionResult::NotModified
        };
        let stored = map(&[(LAST_MODIFIED, THEN)]);
        assert!(unmodified(THEN, &stored));
        assert!(unmodified("Wednesday, 01-Jan-20 00:00:00 GMT", &stored));
        assert!(!unmodified("Tue, 31 Dec 2019 00:00:00 GMT", &stored));
        assert!(!unmodified("yesterday", &stored));
        assert!(unmodified(LATER, &map(&[(DATE, THEN)])));
        assert!(!unmodified(LATER, &map(&[])));
        // A precondition needs a real modification date.
        let unmodified_since = map(&[(IF_UNMODIFIED_SINCE, THEN)]);
        let dated = map(&[(DATE, LATER)]);
        assert_eq!(
            evaluate(&unmodified_since, || received(&dated)),
            PreconditionResult::Proceed
        );
    }

    #[test]
    fn if_range_requires_a_strong_validator() {
        let strong = map(&[(ETAG, "\"a\""), (LAST_MODIFIED, THEN), (DATE, LATER)]);
        let holds = |value, stored: &HeaderMap| {
            if_range_holds(&map(&[(IF_RANGE, value)]), || received(stored))
        };
        assert!(holds("\"a\"", &strong) && holds(THEN, &strong));
        assert!(!holds("\"b\"", &strong) && !holds(LATER, &strong));
        assert!(!holds("W/\"a\"", &map(&[(ETAG, "W/\"a\"")])));
        assert!(!holds(THEN, &map(&[(LAST_MODIFIED, THEN), (DATE, THEN)])));
    }

    #[test]
    fn if_range_of_a_file_matches_its_tag_and_date() {
        let etag = HeaderValue::from_static("\"a,b\"");
        let holds =
            |pairs: &[(HeaderName, &'static str)]| if_range_holds(&map(pairs), || file(&etag));
        assert!(holds(&[]));
        assert!(holds(&[(IF_RANGE, "\"a,b\"")]) && holds(&[(IF_RANGE, MODIFIED)]));
        for other in ["W/\"a,b\"", "\"x\"", BEFORE, AFTER, ""] {
            assert!(!holds(&[(IF_RANGE, other)]), "{other}");
        }
    }
}
