//! Images at rest are patches; their full files are a cache of bounded size, made at the first use.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use corundum_test_support::node::{TestNode, flip_byte};
use corundum_test_support::wait::wait_until;

/// An app of one line.
fn app(word: &str) -> String {
    format!("run ->(e) {{ [200, {{}}, ['{word}']] }}\n")
}

fn files_in(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Returns the full files of a node.
fn full_files(node: &TestNode) -> Vec<PathBuf> {
    files_in(&node.data().join("full-images"))
}

/// Returns the patch of the node's only image.
fn patch(node: &TestNode) -> PathBuf {
    let images = files_in(&node.data().join("images"));
    assert_eq!(images.len(), 1, "{images:?}");
    let files = files_in(&images[0]);
    assert!(
        files.len() == 1 && files[0].extension().unwrap() == "patch",
        "{files:?}"
    );
    files[0].clone()
}

fn bytes_on_disk(path: &Path) -> u64 {
    let metadata = fs::symlink_metadata(path).unwrap();
    let below = match metadata.is_dir() {
        true => files_in(path).iter().map(|path| bytes_on_disk(path)).sum(),
        false => 0,
    };
    metadata.blocks() * 512 + below
}

#[test]
fn full_file_of_an_image_is_made_again_when_it_is_gone_or_damaged() {
    let mut node = TestNode::start();
    node.deploy("patched", &app("whole"));
    assert_eq!(node.get("patched", "/"), (200, "whole".to_owned()));
    let patch = patch(&node);
    let at_rest = bytes_on_disk(patch.parent().unwrap());
    // The hash tables of each image have a seed of their own, which makes up most of a bare app's patch; the rest is the
    // filled slots of Ruby's heap.
    assert!(at_rest < 160 << 10, "{at_rest} bytes");
    let written = fs::read(&patch).unwrap();
    let full = full_files(&node);
    assert_eq!(full.len(), 1);
    for file in [&patch, &full[0]] {
        let mode = fs::metadata(file).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
    }
    let damages: [fn(&Path); 4] = [
        |full| fs::remove_file(full).unwrap(),
        |full| flip_byte(full),
        |full| fs::write(full, b"").unwrap(),
        |full| {
            let length = fs::metadata(full).unwrap().len();
            let file = fs::File::options().write(true).open(full).unwrap();
            file.set_len(length - 4096).unwrap();
        },
    ];
    for (index, damage) in damages.iter().enumerate() {
        node.kill();
        damage(&full[0]);
        node.restart();
        assert_eq!(
            node.get("patched", "/"),
            (200, "whole".to_owned()),
            "{index}"
        );
        assert_eq!(full_files(&node), full, "{index}");
    }
    assert_eq!(
        fs::read(&patch).unwrap(),
        written,
        "no boot replaced the patch"
    );
}

#[test]
fn app_whose_patch_is_damaged_or_lost_is_booted_again_and_served() {
    let mut node = TestNode::start();
    node.deploy("patched", &app("whole"));
    let damages: [fn(&Path); 3] = [
        |patch| flip_byte(patch),
        |patch| fs::write(patch, b"CORIMAG1").unwrap(),
        |patch| fs::remove_dir_all(patch.parent().unwrap()).unwrap(),
    ];
    for (index, damage) in damages.iter().enumerate() {
        node.kill();
        damage(&patch(&node));
        node.restart();
        assert_eq!(
            node.get("patched", "/"),
            (200, "whole".to_owned()),
            "{index}"
        );
    }
    assert!(
        node.cli(&["releases", "--app", "patched"])
            .text
            .contains("v1")
    );
}

#[test]
fn concurrent_first_requests_load_an_app_once_with_its_static_files() {
    let mut node = TestNode::start();
    let repository = node.create("sleeper");
    repository.write("public/style.css", "static");
    repository.write("config.ru", &app("awake"));
    repository.assert_pushed();
    node.kill();
    for full in full_files(&node) {
        fs::remove_file(full).unwrap();
    }
    node.restart();
    std::thread::scope(|scope| {
        for client in 0..16 {
            let node = &node;
            scope.spawn(move || match client % 2 {
                0 => assert_eq!(node.get("sleeper", "/"), (200, "awake".to_owned())),
                _ => assert_eq!(
                    node.get("sleeper", "/style.css"),
                    (200, "static".to_owned())
                ),
            });
        }
    });
    assert_eq!(full_files(&node).len(), 1);
    node.kill_and_restart();
    let run = node.cli(&["run", "--app", "sleeper", "ruby", "-e", "puts 6 * 7"]);
    assert!(run.text.contains("42"), "{}", run.text);
}

#[test]
fn full_files_stay_within_their_bound_and_all_apps_are_served() {
    const LIMIT_MB: u64 = 30;
    let node = TestNode::start_with(&[
        "--image-cache",
        &LIMIT_MB.to_string(),
        "--build-ruby",
        "false",
    ]);
    let names = ["first", "second", "third", "fourth"];
    for name in names {
        node.deploy(name, &app(name));
        assert_eq!(node.get(name, "/"), (200, name.to_owned()));
    }
    for name in names {
        assert_eq!(node.get(name, "/"), (200, name.to_owned()));
    }
    // Running dynos keep their image. Once they have ended, the images used longest ago go.
    for name in names {
        node.cli(&["ps:restart", "--app", name]).assert_success();
    }
    wait_until(
        "the images are within the bound",
        Duration::from_secs(60),
        || bytes_on_disk(&node.data().join("full-images")) <= (LIMIT_MB + 1) << 20,
    );
    for name in names {
        assert_eq!(node.get(name, "/"), (200, name.to_owned()));
    }
}

#[test]
#[ignore = "takes minutes; script/attack runs it"]
fn image_that_has_settled_is_compressed_well() {
    let mut node = TestNode::start();
    node.deploy("settled", &app("small"));
    let patch = patch(&node);
    let before = bytes_on_disk(&patch);
    let long_ago = SystemTime::now() - Duration::from_secs(3600);
    let file = fs::File::options().write(true).open(&patch).unwrap();
    file.set_modified(long_ago).unwrap();
    wait_until("the image is compact", Duration::from_secs(300), || {
        fs::read(&patch).unwrap().starts_with(b"CORIMAGC")
    });
    assert!(bytes_on_disk(&patch) < before * 3 / 4);
    // Everything of the app that is not in the cache of full files: its image, slug and repository.
    let folders = ["images", "slugs", "repos"].map(|name| files_in(&node.data().join(name)));
    let bytes: u64 = folders
        .iter()
        .flatten()
        .map(|path| bytes_on_disk(path))
        .sum();
    assert!(bytes < 120_000, "{bytes} bytes");
    node.kill();
    for full in full_files(&node) {
        fs::remove_file(full).unwrap();
    }
    node.restart();
    assert_eq!(node.get("settled", "/"), (200, "small".to_owned()));
}
