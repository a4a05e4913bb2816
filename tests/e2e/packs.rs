//! Prepared packs: damaged files are replaced and never run.

use std::path::Path;
use std::process::Command;

use corundum_pack::ruby::{Series, pack_path};
use corundum_test_support::node::{ProcessOutput, corundum, flip_byte, pack_cache};

fn prepare(cache: &Path) -> ProcessOutput {
    let mut command = Command::new(corundum());
    ProcessOutput::of(
        command
            .args(["packs:prepare", "4.0"])
            .env("CORUNDUM_CACHE", cache),
    )
}

#[test]
fn damaged_files_of_a_pack_are_replaced() {
    // A copy of the pack of this machine spares the test minutes of preparation.
    let machine = pack_path(Series::Ruby40.best(), &pack_cache());
    assert!(prepare(&pack_cache()).success);
    let cache = tempfile::tempdir().unwrap();
    let packs = cache.path().join("packs");
    std::fs::create_dir(&packs).unwrap();
    let copied = Command::new("cp")
        .arg("-r")
        .args([&machine, &packs])
        .status();
    assert!(copied.unwrap().success());
    let pack = packs.join(machine.file_name().unwrap());

    // Compiled code and the base image are derived from the files of the pack, and are made from them again.
    let made = |prefix: &str| {
        let entries = std::fs::read_dir(&pack)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let mut found = entries.filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.starts_with(prefix) && !name.ends_with(".b3")
        });
        found.next().unwrap()
    };
    let (base, entry) = (made("base-").join("image.cwasm"), made("entry-"));
    let before = std::fs::read(&entry).unwrap();
    flip_byte(&base);
    flip_byte(&entry);
    let again = prepare(cache.path());
    again.assert_success();
    assert_eq!(std::fs::read(&entry).unwrap(), before);

    // If a file of the pack itself is damaged, the whole pack is downloaded again.
    flip_byte(&pack.join("root.tar"));
    let again = prepare(cache.path());
    again.assert_success();
    let root = |pack: &Path| blake3::hash(&std::fs::read(pack.join("root.tar")).unwrap());
    assert_eq!(root(&pack), root(&machine));
}
