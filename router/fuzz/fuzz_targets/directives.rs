//! No header makes parsing, judging, ageing or evaluating conditions panic.

#![no_main]

use std::time::{Duration, Instant, UNIX_EPOCH};

use corundum_router::cache::freshness::Freshness;
use corundum_router::cache::policy::governing;
use corundum_router::cache::{storable, vary};
use corundum_router::semantics::preconditions::{self, DateStrength, Validators};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use libfuzzer_sys::fuzz_target;

const NAMES: [&str; 13] = [
    "cache-control",
    "cdn-cache-control",
    "surrogate-control",
    "expires",
    "date",
    "age",
    "vary",
    "etag",
    "if-none-match",
    "if-modified-since",
    "if-match",
    "if-unmodified-since",
    "if-range",
];

fuzz_target!(|input: (Vec<(u8, Vec<u8>)>, u16, u32)| {
    let (lines, status, clock) = input;
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::from_static(NAMES[usize::from(name) % NAMES.len()]);
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            headers.append(name, value);
        }
    }
    let (source, directives) = governing(&headers);
    let then = Instant::now();
    let now = UNIX_EPOCH + Duration::from_secs(clock.into());
    let freshness = Freshness::new(&headers, (source, &directives), then, then, now);
    assert!(freshness.age(then) <= freshness.age(then + Duration::from_secs(clock.into())));
    let _ = freshness.remaining(then);
    let _ = vary::names(&headers);
    if let Ok(status) = StatusCode::from_u16(status) {
        let _ = storable::judge(&headers, status, &headers);
    }
    let validators = || Validators {
        etag: headers.get("etag"),
        last_modified: None,
        date: DateStrength::Received(headers.get("date")),
    };
    preconditions::evaluate(&headers, validators);
    preconditions::if_range_holds(&headers, validators);
});
