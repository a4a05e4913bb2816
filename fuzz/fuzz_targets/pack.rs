//! An imported pack has exactly the files of its manifest, in its own directory, or is refused. The input is a manifest and
//! the bytes of the files that it lists.

#![no_main]

use corundum_pack::archive::{ArchiveWriter, FileMode};
use corundum_pack::transfer::{export_pack, import_pack};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (bool, &str, &[u8])| {
    let (is_raw, manifest, bytes) = input;
    let file = if is_raw {
        bytes.to_vec()
    } else {
        let mut writer = ArchiveWriter::new(Vec::new());
        let files = [("a", bytes), ("b", b""), ("pack.json", manifest.as_bytes())];
        for (name, bytes) in files {
            let length = bytes.len() as u64;
            writer.add_file(name, bytes, length, FileMode::Plain).unwrap();
        }
        writer.finish().unwrap().output
    };
    let outer = tempfile::tempdir().unwrap();
    let inner = outer.path().join("pack");
    std::fs::create_dir(&inner).unwrap();
    if let Ok(pack) = import_pack(file, &inner) {
        export_pack(&pack, Vec::new()).unwrap();
    }
    assert_eq!(std::fs::read_dir(outer.path()).unwrap().count(), 1);
});
