//! Every lockfile is parsed or refused, and the order of its gems has each gem once.

#![no_main]

use std::collections::BTreeSet;

use corundum_compiler::lockfile::Lockfile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match Lockfile::parse(text) {
        Ok(lockfile) => {
            let order = lockfile.in_dependency_order(lockfile.dependencies.iter().cloned(), |_| false);
            let distinct: BTreeSet<&String> = order.iter().collect();
            assert_eq!(distinct.len(), order.len());
            for name in lockfile.gems.keys() {
                assert!(!name.contains(['/', '\\']) && !name.starts_with('.'), "{name:?}");
            }
        }
        Err(error) => drop(error.to_string()),
    }
});
