//! Two resources share a key only if they are equal.

#![no_main]

use corundum_router::cache::key::{ContentVersion, Resource};
use libfuzzer_sys::fuzz_target;

type Parts<'a> = (&'a str, u64, &'a str, &'a [u8], &'a [u8]);

fuzz_target!(|pair: (Parts<'_>, Parts<'_>)| {
    let key = |(app, release, scheme, authority, target): Parts<'_>| {
        let version = ContentVersion::Release(release);
        let mut key = Vec::new();
        Resource { app, version, scheme, authority, target }.encode(&mut key);
        key
    };
    assert_eq!(key(pair.0) == key(pair.1), pair.0 == pair.1);
});
