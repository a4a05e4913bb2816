//! Upgrade of apps from the npm build of Ruby to the one built from source, while they serve.

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use corundum_pack::ruby::{Series, pack_path};
use corundum_test_support::node::{TestNode, pack_cache};

/// An app that answers with the build that it runs on.
const APP: &str = "run ->(e) { [200, {}, [defined?(Dyno::Native) ? 'source' : 'npm']] }\n";

#[test]
fn apps_move_to_the_pack_built_from_source_without_a_failed_request() {
    // The slow parts of the build come from the cache of this machine; the rest takes seconds.
    assert!(
        pack_path(Series::DEFAULT.best(), &pack_cache()).exists(),
        "corundum pack build ruby"
    );
    let own = tempfile::tempdir().unwrap();
    let npm = pack_path(Series::DEFAULT.quickest(), &pack_cache());
    let packs = own.path().join("packs");
    std::fs::create_dir(&packs).unwrap();
    let mut copy = Command::new("cp");
    copy.arg("-r").arg(pack_cache().join("mri")).arg(own.path());
    assert!(copy.status().unwrap().success());
    if npm.exists() {
        let copied = Command::new("cp").arg("-r").args([&npm, &packs]).status();
        assert!(copied.unwrap().success());
    }
    let mut node = TestNode::start_with_cache(own.path().to_owned(), &["--build-ruby", "false"]);
    let app = node.create("moving");
    app.write("config.ru", APP);
    let push = app.push("main");
    push.assert_success();
    assert_eq!(node.get("moving", "/"), (200, "npm".to_owned()));
    assert!(
        node.cli(&["packs"])
            .text
            .contains("corundum pack build ruby")
    );

    node.restart_with(&["--build-ruby", "true"]);
    let node = &node;
    let (moved, failed) = (AtomicBool::new(false), AtomicUsize::new(0));
    let served = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let started = Instant::now();
                let mut left = 200;
                while left > 0 && started.elapsed() < Duration::from_secs(180) {
                    let (status, body) = node.get("moving", "/");
                    served.fetch_add(1, Ordering::Relaxed);
                    if status != 200 {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                    if body == "source" {
                        moved.store(true, Ordering::Relaxed);
                        left -= 1;
                    }
                    std::thread::sleep(Duration::from_millis(2));
                }
            });
        }
    });
    let served = served.load(Ordering::Relaxed);
    assert!(
        moved.load(Ordering::Relaxed),
        "{}",
        node.cli(&["packs"]).text
    );
    assert_eq!(failed.load(Ordering::Relaxed), 0, "of {served}");
    // The slug and the release are unchanged; the old image is removed.
    let releases = node.cli(&["releases", "--app", "moving"]).text;
    assert!(
        releases.contains("v1") && !releases.contains("v2"),
        "{releases}"
    );
    assert_eq!(
        std::fs::read_dir(node.data().join("images"))
            .unwrap()
            .count(),
        1
    );
}
