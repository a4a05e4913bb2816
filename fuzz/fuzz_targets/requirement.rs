//! Versions are ordered, and requirements are answered, for all texts that are accepted.

#![no_main]

use std::cmp::Ordering;

use corundum_compiler::requirement::{GemVersion, Requirement};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str, &str, &str)| {
    let (one, other, third, clause) = input;
    let versions = [one, other, third].map(|text| text.parse::<GemVersion>().ok());
    let [Some(a), Some(b), Some(c)] = versions else {
        return;
    };
    assert_eq!(a.cmp(&a), Ordering::Equal);
    assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
    if a <= b && b <= c {
        assert!(a <= c);
    }
    if let Ok(requirement) = Requirement::parse([clause]) {
        let _ = requirement.is_satisfied_by(&a);
    }
});
