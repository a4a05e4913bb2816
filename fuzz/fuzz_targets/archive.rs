//! Every archive that opens can be walked: names are sorted, each node is reached once, content lies within the bytes.

#![no_main]

use corundum_compiler::slug::SlugDescription;
use corundum_fuzz::with_checksums;
use corundum_pack::archive::{Archive, ArchiveNode, NodeId};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let bytes = with_checksums(bytes);
    let Ok(archive) = Archive::new(bytes.clone()) else {
        return;
    };
    let mut reached = 0;
    let mut open: Vec<NodeId> = vec![Archive::ROOT];
    while let Some(id) = open.pop() {
        reached += 1;
        assert!(reached <= archive.len());
        assert!(archive.content(id).len() <= bytes.len());
        if let ArchiveNode::Directory { entries } = archive.node(id) {
            assert!(entries.windows(2).all(|two| two[0].0 < two[1].0));
            for (name, child) in entries {
                assert_eq!(archive.child(id, name), Some(*child));
                open.push(*child);
            }
        }
    }
    assert_eq!(reached, archive.len());
    let _ = SlugDescription::read(&archive);
});
