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

#[test]
fn unused_parts_of_the_cache_are_listed_and_removed() {
    let cache = tempfile::tempdir().unwrap();
    let pack = cache.path().join("packs/ruby-3.3-source-0123456789abcdef");
    let fresh = cache.path().join("packs/ruby-3.4-source-0123456789abcdef");
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(10 * 86_400);
    for path in [&pack, &fresh] {
        std::fs::create_dir_all(path).unwrap();
        std::fs::write(path.join(".used"), "").unwrap();
        std::fs::write(path.join("pack.json"), "{}").unwrap();
    }
    let folder = std::fs::File::open(&pack).unwrap();
    folder.set_modified(long_ago).unwrap();
    let prune = |arguments: &[&str]| {
        let mut command = Command::new(corundum());
        command.arg("packs:prune").args(arguments);
        let output = ProcessOutput::of(command.env("CORUNDUM_CACHE", cache.path()));
        output.assert_success();
        output.text
    };
    assert!(prune(&[]).contains("Removed 0 MB (entries: 0)"));
    let listed = prune(&["--unused-days", "7", "--dry-run"]);
    let line = format!("{}\nWould remove 0 MB (entries: 1)\n", pack.display());
    assert_eq!(listed, line);
    // A process that uses the pack keeps it.
    let used = std::fs::File::open(pack.join(".used")).unwrap();
    used.lock_shared().unwrap();
    assert!(prune(&["--unused-days", "7"]).contains("Removed 0 MB (entries: 0)"));
    drop(used);
    assert!(prune(&["--unused-days", "7"]).contains("Removed 0 MB (entries: 1)"));
    assert!(!pack.exists() && fresh.exists());
}
