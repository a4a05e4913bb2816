//! Properties of the cache rules that hold for all inputs.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use corundum_router::cache::freshness::{Freshness, FreshnessState, OriginFailure};
use corundum_router::cache::key::{ContentVersion, Resource, encode_variant};
use corundum_router::cache::policy::governing;
use corundum_router::cache::storable;
use corundum_router::semantics::byte_range::{self, ByteRanges};
use corundum_router::semantics::preconditions::{self, DateStrength, Validators};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use proptest::prelude::*;

type ResourceParts = (String, u64, bool, String, Vec<u8>, Vec<u8>);

fn parts() -> impl Strategy<Value = ResourceParts> {
    // Few letters and many lengths: the end of a field often equals the start of the next.
    let text = || "[ab]{0,4}";
    let bytes = || proptest::collection::vec(0u8..3, 0..4);
    (text(), 0..3u64, any::<bool>(), text(), bytes(), bytes())
}

fn encoded((app, number, content, scheme, authority, target): &ResourceParts) -> Vec<u8> {
    let version = if *content {
        ContentVersion::Content(*number)
    } else {
        ContentVersion::Release(*number)
    };
    let resource = Resource {
        app,
        version,
        scheme,
        authority,
        target,
    };
    let mut key = Vec::new();
    resource.encode(&mut key);
    key
}

fn header_map(lines: &[(&'static str, String)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.append(*name, value);
        }
    }
    headers
}

const FIELDS: [&str; 12] = [
    "cache-control",
    "cdn-cache-control",
    "surrogate-control",
    "expires",
    "date",
    "age",
    "vary",
    "etag",
    "last-modified",
    "if-none-match",
    "if-modified-since",
    "if-range",
];

fn headers() -> impl Strategy<Value = HeaderMap> {
    let value = prop_oneof![
        "[ -~]{0,40}",
        "(max-age|s-maxage|stale-if-error|stale-while-revalidate)=[0-9]{0,25}",
        "(no-cache|private)(=\"[a-z,]{0,8}\")?, max-age=[0-9]{1,12}",
        "[0-9]{1,30}",
        Just("Fri, 31 Dec 9999 23:59:59 GMT".to_owned()),
        Just("Thu, 01 Jan 1970 00:00:00 GMT".to_owned()),
    ];
    let line = (proptest::sample::select(&FIELDS[..]), value);
    proptest::collection::vec(line, 0..8).prop_map(|lines| header_map(&lines))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn keys_of_resources_are_equal_only_for_equal_resources(one in parts(), other in parts()) {
        prop_assert_eq!(encoded(&one) == encoded(&other), one == other);
    }

    #[test]
    fn keys_of_variants_are_equal_only_for_equal_headers(
        one in proptest::collection::vec("[ab\"]{0,3}", 3),
        other in proptest::collection::vec("[ab\"]{0,3}", 3),
        (with, without) in (0..8usize, 0..8usize),
    ) {
        let names = ["x-a", "x-b", "x-c"].map(HeaderName::from_static);
        let request = |values: &[String], mask: usize| {
            let present = names.iter().zip(values).enumerate().filter(|(at, _)| mask & (1 << at) != 0);
            present.map(|(_, (name, value))| (name.clone(), HeaderValue::from_str(value).unwrap())).collect::<HeaderMap>()
        };
        let (one, other) = (request(&one, with), request(&other, without));
        let key = |headers: &HeaderMap| {
            let mut key = Vec::new();
            encode_variant(&mut key, &names, headers);
            key
        };
        prop_assert_eq!(key(&one) == key(&other), one == other);
    }

    #[test]
    fn freshness_does_not_overflow_and_never_grows(
        headers in headers(),
        clock in any::<u32>(),
        (delay, after) in (0..100_000_000u64, 0..100_000_000u64),
    ) {
        let (source, directives) = governing(&headers);
        let sent = Instant::now();
        let received = sent + Duration::from_secs(delay);
        let now: SystemTime = UNIX_EPOCH + Duration::from_secs(clock.into());
        let freshness = Freshness::new(&headers, (source, &directives), sent, received, now);
        let (early, late) = (received, received + Duration::from_secs(after));
        prop_assert!(freshness.age(early) <= freshness.age(late));
        prop_assert!(freshness.remaining(early) >= freshness.remaining(late));
        if freshness.state(late) == FreshnessState::Fresh {
            prop_assert_eq!(freshness.state(early), FreshnessState::Fresh);
            prop_assert!(freshness.remaining(late) > 0);
        }
        // A stale response that may replace an error may also replace a disconnect.
        if freshness.stands_in(OriginFailure::ServerError, late) {
            prop_assert!(freshness.stands_in(OriginFailure::Unreachable, late));
        }
    }

    #[test]
    fn storability_and_conditions_accept_all_headers(request in headers(), response in headers(), status in 100..=999u16) {
        let status = StatusCode::from_u16(status).unwrap();
        let verdict = storable::judge(&request, status, &response);
        if response.contains_key("set-cookie") {
            prop_assert!(verdict.is_err());
        }
        let validators = |last_modified| Validators {
            etag: response.get("etag"),
            last_modified,
            date: DateStrength::Received(response.get("date")),
        };
        preconditions::evaluate(&request, || validators(None));
        preconditions::if_range_holds(&request, || validators(Some(UNIX_EPOCH)));
    }

    #[test]
    fn ranges_are_within_the_body(header in "bytes=[-0-9, ]{0,30}", length in 0..2000u64) {
        let parts = match byte_range::parse(header.as_bytes(), length) {
            ByteRanges::Single(part) => Vec::from([part]),
            ByteRanges::Multiple(parts) => {
                prop_assert!(parts.len() > 1);
                parts
            }
            ByteRanges::Whole | ByteRanges::Unsatisfiable => return Ok(()),
        };
        let all: u64 = parts.iter().map(|part| part.end - part.start).sum();
        prop_assert!(parts.iter().all(|part| part.start < part.end && part.end <= length));
        prop_assert!(parts.len() == 1 || all <= length);
    }

    #[test]
    fn a_single_range_is_parsed_exactly(first in 0..100u64, more in 0..100u64, length in 1..100u64) {
        let last = first + more;
        let part = first..(last + 1).min(length);
        let expected = if first < length { ByteRanges::Single(part) } else { ByteRanges::Unsatisfiable };
        prop_assert_eq!(byte_range::parse(format!("bytes={first}-{last}").as_bytes(), length), expected);
    }
}
