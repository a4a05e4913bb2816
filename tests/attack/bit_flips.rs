//! Single flipped bits in the store, in slugs, in images and in compiled packs.
//!
//! `CORUNDUM_FLIP_RUNS` sets the number of flips, `CORUNDUM_ATTACK_SEED` makes them again.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use corundum_test_support::node::{ProcessOutput, TestNode, pack_cache};
use corundum_test_support::wait::poll;

use crate::dice::{Dice, runs};

/// The apps, and the body that each answers.
const APPS: [&str; 3] = ["first-app", "second-app", "third-app"];

/// The kinds of files that a bit is flipped in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Store,
    Slug,
    Image,
    Pack,
}

fn copy(from: &Path, to: &Path) {
    let mut cp = Command::new("cp");
    cp.args(["-r", "--sparse=always", "--reflink=auto", "-T"])
        .arg(from)
        .arg(to);
    ProcessOutput::of(&mut cp).assert_success();
}

/// Returns all files below a folder, sorted.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Returns the slugs and repositories of a data directory, those in the trash included, and the number of images.
fn kept(data: &Path) -> (Vec<String>, usize) {
    let mut names = Vec::new();
    for folder in ["slugs", "repos"] {
        for entry in std::fs::read_dir(data.join(folder)).unwrap() {
            names.push(format!(
                "{folder}.{}",
                entry.unwrap().file_name().to_string_lossy()
            ));
        }
    }
    for entry in std::fs::read_dir(data.join("trash")).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        names.push(name.splitn(3, '.').nth(2).unwrap().to_owned());
    }
    // An image that is made again replaces the damaged one.
    names.retain(|name| !name.starts_with("images."));
    names.sort();
    names.dedup();
    (
        names,
        std::fs::read_dir(data.join("images")).unwrap().count(),
    )
}

/// Flips a bit of a file, and returns what undoes it.
fn flip(path: &Path, dice: &mut Dice) -> (u64, u8) {
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let at = dice.below(file.metadata().unwrap().len());
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    let before = byte[0];
    byte[0] ^= 1 << dice.below(8);
    file.write_all_at(&byte, at).unwrap();
    (at, before)
}

/// Returns the apps that answer as they did before.
fn served(node: &TestNode) -> Vec<&'static str> {
    let answers = |app: &&'static str| {
        let answer = poll(Duration::from_secs(30), || {
            Some(node.get(app, "/")).filter(|(status, _)| *status == 200 || *status == 404)
        });
        answer.is_some_and(|(_, body)| body == *app)
    };
    APPS.into_iter().filter(answers).collect()
}

#[test]
fn flipped_bits_delete_nothing_and_leave_other_apps_served() {
    let mut dice = Dice::new();
    let cache = tempfile::tempdir().unwrap();
    let arguments = ["--build-ruby", "false"];
    // The slowest part, for a compiled pack of Ruby is made again: one flip of sixteen.
    let runs = runs("CORUNDUM_FLIP_RUNS", 3);
    let with_packs = runs >= 16;
    let packs = if with_packs {
        copy(&pack_cache(), cache.path());
        cache.path().to_owned()
    } else {
        pack_cache()
    };
    let node = &mut TestNode::start_with_cache(packs, &arguments);
    for app in APPS {
        let repository = node.deploy(app, &format!("run ->(e) {{ [200, {{}}, ['{app}']] }}\n"));
        repository
            .cli(node, &["config:set", "A=1"])
            .assert_success();
    }
    node.kill();
    let data = node.data();
    let whole = data.with_file_name("whole");
    let store = rusqlite::Connection::open(data.join("corundum.sqlite")).unwrap();
    store
        .query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(()))
        .unwrap();
    drop(store);
    copy(&data, &whole);
    let before = kept(&whole);
    let mut results: BTreeMap<String, usize> = BTreeMap::new();
    for run in 0..runs {
        let target = match run % 16 {
            7 if with_packs => Target::Pack,
            turn => [Target::Store, Target::Slug, Target::Store, Target::Image][turn % 4],
        };
        std::fs::remove_dir_all(&data).unwrap();
        copy(&whole, &data);
        let candidates: Vec<PathBuf> = match target {
            Target::Store => vec![data.join("corundum.sqlite")],
            Target::Slug => files_below(&data.join("slugs")),
            Target::Image => files_below(&data.join("images")),
            Target::Pack => {
                let used = files_below(&cache.path().join("packs")).into_iter();
                used.filter(|file| {
                    let path = file.to_string_lossy();
                    path.contains(".cwasm") && path.contains("ruby-3.3-source")
                })
                .collect()
            }
        };
        let path = candidates[dice.below(candidates.len() as u64) as usize].clone();
        let (at, byte) = flip(&path, &mut dice);
        let name = path
            .strip_prefix(&data)
            .or(path.strip_prefix(cache.path()))
            .unwrap();
        let what = format!("run {run}: byte {at} of {} ({dice})", name.display());
        let result = match node.try_restart() {
            Err(reason) => {
                assert!(
                    target == Target::Store && reason.contains("store: "),
                    "{what}: {reason}"
                );
                "refused to start"
            }
            Ok(()) => {
                let ready = poll(Duration::from_secs(300), || {
                    Some(node.admin("/readyz")).filter(|(_, body)| body != "starting\n")
                });
                let (status, reason) = ready.unwrap_or_else(|| panic!("{what}: not loaded"));
                let served = served(node);
                match (target, status) {
                    (Target::Store, 200) => assert_eq!(served, APPS, "{what}"),
                    (Target::Store, _) => {
                        assert!(reason.contains("store: "), "{what}: {reason}");
                        // Only damage to the table itself affects more than one app.
                        let one = reason.contains("the record of");
                        assert!(
                            !one || served.len() + 1 >= APPS.len(),
                            "{what}: {served:?} {reason}"
                        );
                    }
                    (Target::Slug, _) => {
                        assert!(served.len() + 1 >= APPS.len(), "{what}: {served:?}")
                    }
                    (Target::Image | Target::Pack, _) => assert_eq!(served, APPS, "{what}"),
                }
                if status == 200 {
                    "ready"
                } else {
                    "not ready, with the reason"
                }
            }
        };
        node.kill();
        let (names, images) = kept(&data);
        assert_eq!(names, before.0, "{what}");
        assert!(images >= before.1, "{what}: {images} images");
        *results.entry(format!("{target:?}: {result}")).or_default() += 1;
        if target == Target::Pack && path.exists() {
            // A pack that was not compiled again must not carry the damage into the next run.
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            if file.metadata().unwrap().len() > at {
                file.write_all_at(&[byte], at).unwrap();
            }
        }
    }
    println!("{runs} flipped bits ({dice}): {results:?}");
}
