//! A tar stream becomes a tree within its limits, whose paths and links stay inside, or is refused.

#![no_main]

use std::io::Read;

use corundum_compiler::tree::{Tree, TreeEntry};
use corundum_fuzz::with_checksums;
use libfuzzer_sys::fuzz_target;

const LIMIT: u64 = 1 << 16;

fuzz_target!(|tar: &[u8]| {
    let Ok(tree) = Tree::read(with_checksums(tar).as_slice(), LIMIT) else {
        return;
    };
    let mut all = 0;
    for (path, entry) in tree.entries() {
        let parts: Vec<&str> = path.split('/').collect();
        assert!(parts.iter().all(|part| !matches!(*part, "" | "." | ".." | ".git")), "{path:?}");
        match entry {
            TreeEntry::File { length, .. } => {
                let mut bytes = Vec::new();
                let file = tree.open(path).unwrap();
                file.unwrap().read_to_end(&mut bytes).unwrap();
                assert_eq!(bytes.len() as u64, *length, "{path:?}");
                all += length;
            }
            TreeEntry::Symlink(target) => assert!(!target.starts_with('/'), "{path:?}"),
        }
    }
    assert!(all <= LIMIT);
});
