//! Kills of the node at random moments, under pushes, config changes, rollbacks, prunes and backups at once.
//!
//! `CORUNDUM_KILL_RUNS` sets the number of kills, `CORUNDUM_ATTACK_SEED` makes their moments again.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use corundum_test_support::node::{ProcessOutput, Repository, StopOnDrop, TestNode, corundum};
use corundum_test_support::wait::poll;

use crate::dice::{Dice, runs};

/// A counter of changes: those that were tried, and the last one that the node has acknowledged.
#[derive(Default)]
struct Changes {
    tried: AtomicU64,
    acknowledged: AtomicU64,
    made: AtomicU64,
}

impl Changes {
    /// Makes changes until `stop` is set. The node may refuse one while another change of the app is in progress.
    fn make(&self, stop: &AtomicBool, mut change: impl FnMut(u64) -> ProcessOutput) {
        while !stop.load(Ordering::Relaxed) {
            let number = self.tried.fetch_add(1, Ordering::Relaxed) + 1;
            let output = change(number);
            if output.success {
                self.acknowledged.store(number, Ordering::Relaxed);
                self.made.fetch_add(1, Ordering::Relaxed);
            } else if !stop.load(Ordering::Relaxed) && !output.text.contains("is being built") {
                println!("refused: {}", output.text);
            }
        }
    }

    fn assert_kept(&self, found: u64, what: &str) {
        let [acknowledged, tried] =
            [&self.acknowledged, &self.tried].map(|number| number.load(Ordering::Relaxed));
        assert!(
            (acknowledged..=tried).contains(&found),
            "{what}: found {found}, acknowledged {acknowledged}, tried {tried}"
        );
        // The next change must be another one.
        self.acknowledged.store(found, Ordering::Relaxed);
    }
}

fn app(number: u64) -> String {
    format!("run ->(e) {{ [200, {{}}, [\"{number} #{{ENV['NUMBER']}}\"]] }}\n")
}

/// Returns the number of the push and of the config var that an app runs with.
fn running(node: &TestNode, name: &str) -> (u64, u64) {
    let answer = poll(Duration::from_secs(60), || {
        Some(node.get(name, "/").1).filter(|body| body.contains(' '))
    });
    let answer =
        answer.unwrap_or_else(|| panic!("{name} does not answer: {:?}", node.get(name, "/")));
    let (push, config) = answer.split_once(' ').unwrap();
    let number = |text: &str| text.trim().parse().unwrap_or_else(|_| panic!("{answer}"));
    (
        number(push),
        if config.trim().is_empty() {
            0
        } else {
            number(config)
        },
    )
}

/// Runs a command of the node's machine in the background until `stop` is set, and then kills it.
fn until(stop: &AtomicBool, command: &mut Command) -> bool {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.success();
        }
        if stop.load(Ordering::Relaxed) {
            child.kill().unwrap();
            child.wait().unwrap();
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn backup(data: &Path, file: &Path) -> Command {
    let mut command = Command::new(corundum());
    command.arg("backup").arg(file).arg("--data-dir").arg(data);
    command
}

/// Checks every backup that has its name: it can be restored.
fn check_backups(folder: &Path) -> usize {
    let mut restored = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "zst") {
            let data = tempfile::tempdir().unwrap();
            let mut restore = Command::new(corundum());
            restore
                .arg("restore")
                .arg(&path)
                .arg("--data-dir")
                .arg(data.path());
            ProcessOutput::of(&mut restore).assert_success();
            restored += 1;
        }
        std::fs::remove_file(path).unwrap();
    }
    restored
}

#[test]
fn kills_at_random_moments_lose_nothing_that_was_acknowledged() {
    let mut dice = Dice::new();
    let runs = runs("CORUNDUM_KILL_RUNS", 2);
    let backups = tempfile::tempdir().unwrap();
    let mut node = TestNode::start_with(&["--build-ruby", "false", "--keep-releases", "5"]);
    let pushed = node.deploy("pushed", &app(0));
    let pushed: &Repository = &pushed;
    for name in ["changed", "rolled"] {
        node.deploy(name, &app(0));
    }
    node.cli(&["config:set", "NUMBER=1", "--app", "rolled"])
        .assert_success();
    let (pushes, changes, rollbacks) = (Changes::default(), Changes::default(), Changes::default());
    let mut restored = 0;
    for run in 0..runs {
        let stop = AtomicBool::new(false);
        let moment = Duration::from_millis(dice.below(3000));
        // On a loaded machine a push takes seconds: let some pass before the moment.
        let awaited = pushes.made.load(Ordering::Relaxed) + dice.below(3);
        std::thread::scope(|scope| {
            let stopped = StopOnDrop(&stop);
            let (node, stop) = (&node, &stop);
            scope.spawn(|| {
                pushes.make(stop, |number| {
                    pushed.write("config.ru", &app(number));
                    pushed.push("main")
                });
            });
            scope.spawn(|| {
                changes.make(stop, |number| {
                    let set = format!("NUMBER={number}");
                    node.cli(&["config:set", &set, "--app", "changed"])
                });
            });
            scope.spawn(|| {
                rollbacks.make(stop, |_| node.cli(&["rollback", "--app", "rolled"]));
            });
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    node.cli(&["storage:prune", "--keep", "3"]);
                    std::thread::sleep(Duration::from_millis(100));
                }
            });
            scope.spawn(|| {
                for number in 0.. {
                    let file = backups.path().join(format!("{number}.tar.zst"));
                    if stop.load(Ordering::Relaxed)
                        || !until(stop, &mut backup(&node.data(), &file))
                    {
                        return;
                    }
                }
            });
            poll(Duration::from_secs(30), || {
                (pushes.made.load(Ordering::Relaxed) >= awaited).then_some(())
            });
            std::thread::sleep(moment);
            node.signal("KILL");
            drop(stopped);
        });
        node.kill();
        node.restart();
        let what = format!("run {run}, killed after {moment:?} ({dice})");
        let ready = poll(Duration::from_secs(120), || {
            Some(node.admin("/readyz")).filter(|(_, body)| body != "starting\n")
        });
        assert_eq!(ready, Some((200, "ready\n".to_owned())), "{what}");
        pushes.assert_kept(running(&node, "pushed").0, &what);
        changes.assert_kept(running(&node, "changed").1, &what);
        // A rollback exchanges the two releases with and without the config var: one more or one less.
        assert!(running(&node, "rolled").1 <= 1, "{what}");
        let storage: serde_json::Value =
            serde_json::from_str(&node.cli(&["storage", "--json"]).text).unwrap();
        assert_eq!(storage["problems"], serde_json::json!([]), "{what}");
        for name in ["pushed", "changed", "rolled"] {
            node.assert_pushes_cleaned_up(name);
            let mut fsck = Command::new("git");
            fsck.arg("-C")
                .arg(node.data().join(format!("repos/{name}.git")))
                .args(["fsck", "--connectivity-only"]);
            ProcessOutput::of(&mut fsck).assert_success();
        }
        restored += check_backups(backups.path());
    }
    let made = |changes: &Changes| changes.made.load(Ordering::Relaxed);
    println!(
        "{runs} kills ({dice}): {} pushes, {} config changes and {} rollbacks acknowledged, {restored} backups restored",
        made(&pushes),
        made(&changes),
        made(&rollbacks)
    );
}
