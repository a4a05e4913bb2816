//! Prepared packs: what is damaged is made anew, and never run.

use std::path::Path;
use std::process::Command;

use corundum_pack::ruby::{Series, pack_path};
use corundum_test_support::node::{CommandOutput, corundum, flip_byte, pack_cache};

fn prepare(cache: &Path) -> CommandOutput {
    let mut command = Command::new(corundum());
    CommandOutput::of(
        command
            .args(["packs:prepare", "3.4"])
            .env("CORUNDUM_CACHE", cache),
    )
}

#[test]
fn a_damaged_pack_is_made_anew() {
    // The machine's own, so that this test need not wait for another.
    let machine = pack_path(Series::Ruby34.best(), &pack_cache());
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

    // What compiling and starting Ruby has made is made again from the pack's own files.
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
    assert!(again.success, "{}", again.text);
    assert_eq!(std::fs::read(&entry).unwrap(), before);

    // A damaged file of its own means that the whole pack is fetched again.
    flip_byte(&pack.join("root.tar"));
    let again = prepare(cache.path());
    assert!(again.success, "{}", again.text);
    let root = |pack: &Path| blake3::hash(&std::fs::read(pack.join("root.tar")).unwrap());
    assert_eq!(root(&pack), root(&machine));
}
