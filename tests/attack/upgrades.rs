//! Nodes with many apps: their start, and the upgrade to another version while they are served.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use corundum_host::image::forget_engine;
use corundum_pack::ruby::{Series, pack_path};
use corundum_test_support::node::{StopOnDrop, TestNode, pack_cache};
use corundum_test_support::wait::{poll, wait_until};

const APP: &str = "run ->(e) { [200, {'content-length' => '5'}, ['hello']] }\n";

/// Adds `count` copies of an app to the store of a stopped node, each with an image of its own. Returns their names.
fn add_copies(node: &TestNode, of: &str, count: usize) -> Vec<String> {
    let data = node.data();
    let mut store = rusqlite::Connection::open(data.join("corundum.sqlite")).unwrap();
    let image: String = store
        .query_row("select image from releases where app = ?1", [of], |row| {
            row.get(0)
        })
        .unwrap();
    let images = data.join("images");
    let patch = files_in(&images.join(&image)).remove(0);
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let transaction = store.transaction().unwrap();
    let names: Vec<String> = (0..count).map(|index| format!("copy-{index}")).collect();
    for (index, name) in names.iter().enumerate() {
        let id = |kind: u32| format!("{kind:08x}-0000-4000-8000-{index:012x}");
        transaction
            .execute(
                "insert into apps (name, created_at, formation, id, last_used) \
                 select ?1, created_at, formation, ?2, ?3 from apps where name = ?4",
                rusqlite::params![name, id(1), now, of],
            )
            .unwrap();
        transaction
            .execute(
                "insert into releases (app, version, description, created_at, git_commit, slug, image, about, config, id) \
                 select ?1, version, description, created_at, git_commit, slug, ?2, about, config, ?3 \
                 from releases where app = ?4 order by version desc limit 1",
                rusqlite::params![name, id(2), id(3), of],
            )
            .unwrap();
        let copy = images.join(id(2));
        fs::create_dir(&copy).unwrap();
        fs::copy(&patch, copy.join(patch.file_name().unwrap())).unwrap();
        fs::create_dir(data.join(format!("repos/{name}.git"))).unwrap();
    }
    transaction.commit().unwrap();
    names
}

fn files_in(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Returns the KiB that a file or directory takes on disk.
fn disk_kib(path: &Path) -> u64 {
    let output = Command::new("du").arg("-sk").arg(path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

/// Starts a stopped node and returns the time until it is ready.
fn start(node: &mut TestNode) -> Duration {
    let began = Instant::now();
    node.restart();
    let ready = poll(Duration::from_secs(120), || {
        (node.admin("/readyz").0 == 200).then(|| began.elapsed())
    });
    ready.unwrap_or_else(|| panic!("{:?}", node.admin("/readyz")))
}

/// Removes the full files of a node's images.
fn forget_full_files(node: &TestNode) {
    for file in files_in(&node.data().join("full-images")) {
        fs::remove_file(file).unwrap();
    }
}

/// Requests apps one after another, and returns the times in ascending order.
fn first_requests(node: &TestNode, names: &[String]) -> Vec<Duration> {
    let mut times: Vec<Duration> = names
        .iter()
        .map(|name| {
            let began = Instant::now();
            assert_eq!(node.get(name, "/").0, 200, "{name}");
            began.elapsed()
        })
        .collect();
    times.sort();
    times
}

#[test]
#[ignore = "takes minutes; script/attack runs it"]
fn ten_thousand_apps_start_in_seconds_and_cost_little() {
    const APPS: usize = 10_000;
    let mut node = TestNode::start();
    node.deploy("bare", APP);
    node.kill();
    start(&mut node);
    let alone = node.memory();
    node.kill();
    let copies = add_copies(&node, "bare", APPS - 1);
    forget_full_files(&node);

    let ready = start(&mut node);
    let each = node.memory().saturating_sub(alone) as f64 / APPS as f64;
    let token = node.token();
    let mut listing = Duration::MAX;
    for _ in 0..3 {
        let began = Instant::now();
        let mut body = Vec::new();
        node.open_api("GET /v1/apps", &token, "")
            .read_to_end(&mut body)
            .unwrap();
        listing = listing.min(began.elapsed());
        let entries = String::from_utf8_lossy(&body)
            .matches("\"web_url\"")
            .count();
        assert_eq!(entries, APPS);
    }
    let times = first_requests(&node, &copies[..40]);
    println!("start to ready: {ready:?}; memory per idle app: {each:.1} kB");
    println!("listing of {APPS} apps: {listing:?}");
    println!(
        "first request, image made: median {:?}, worst {:?}",
        times[20], times[39]
    );
    assert!(ready < Duration::from_secs(30), "{ready:?}");
    assert!(each < 40.0, "{each} kB");
    assert!(times[20] < Duration::from_secs(2), "{times:?}");
}

#[test]
#[ignore = "takes minutes; script/attack runs it"]
fn idle_app_takes_little_disk() {
    let mut node = TestNode::start();
    let images = node.data().join("images");
    let disk = |node: &TestNode, name: &str, before: &[PathBuf]| {
        let new = files_in(&images);
        let new = new.iter().find(|path| !before.contains(path)).unwrap();
        let repository = disk_kib(&node.data().join(format!("repos/{name}.git")));
        (disk_kib(new), repository)
    };
    node.deploy("bare", APP);
    let (bare, bare_repository) = disk(&node, "bare", &[]);
    let before = files_in(&images);
    let slugs = disk_kib(&node.data().join("slugs"));
    let sinatra = node.create("sinatra");
    sinatra.copy(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/bench/apps/sinatra"
    ));
    sinatra.assert_pushed();
    let (sinatra, sinatra_repository) = disk(&node, "sinatra", &before);
    let sinatra_slug = disk_kib(&node.data().join("slugs")) - slugs;
    println!("bare: image {bare} KiB, repository {bare_repository} KiB, slug {slugs} KiB");
    println!(
        "sinatra: image {sinatra} KiB, repository {sinatra_repository} KiB, slug {sinatra_slug} KiB"
    );
    node.kill();
    forget_full_files(&node);
    start(&mut node);
    let times = ["bare", "sinatra"].map(|name| {
        let began = Instant::now();
        assert_eq!(node.get(name, "/").0, 200);
        began.elapsed()
    });
    println!("first request, image made: {times:?}");
    let [bare, sinatra] = [
        bare + bare_repository + slugs,
        sinatra + sinatra_repository + sinatra_slug,
    ];
    // Measured: 148 KiB, of which the hash tables with a seed of their own take 80, and 2,624 KiB.
    assert!(bare < 192, "{bare} KiB");
    assert!(sinatra < 3 << 10, "{sinatra} KiB");
}

/// Clients that request random apps.
struct RandomLoad {
    stop: AtomicBool,
    answered: AtomicUsize,
    failed: Mutex<Vec<String>>,
}

impl RandomLoad {
    fn request_until_stopped(&self, node: &TestNode, names: &[String], seed: usize) {
        let mut next = seed;
        while !self.stop.load(Ordering::Relaxed) {
            next = next
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(seed | 1);
            let name = &names[(next >> 33) % names.len()];
            let answer =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| node.get(name, "/")));
            match answer {
                Ok((200, body)) if body == "hello" => {
                    self.answered.fetch_add(1, Ordering::Relaxed);
                }
                other => self
                    .failed
                    .lock()
                    .unwrap()
                    .push(format!("{name}: {other:?}")),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Copies the pack of this machine into a cache of its own.
fn own_cache(directory: &Path) -> PathBuf {
    let packs = directory.join("packs");
    fs::create_dir(&packs).unwrap();
    let pack = pack_path(Series::DEFAULT.best(), &pack_cache());
    assert!(pack.exists(), "corundum pack build ruby");
    let copied = Command::new("cp").arg("-r").args([&pack, &packs]).status();
    assert!(copied.unwrap().success());
    packs.join(pack.file_name().unwrap())
}

/// Renames everything that an engine has compiled for a pack, and forgets what it knows of images, as if it had another
/// version than this one.
fn pretend_another_engine(node: &TestNode, pack: &Path) {
    for path in files_in(pack) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.contains(".cwasm") || name.starts_with("base-") {
            fs::rename(&path, pack.join(format!("other-engine-{name}"))).unwrap();
        }
    }
    for image in files_in(&node.data().join("images")) {
        for patch in files_in(&image) {
            forget_engine(&patch).unwrap();
        }
    }
    forget_full_files(node);
}

fn upgrade_under_load(apps: usize, clients: usize) {
    let own = tempfile::tempdir().unwrap();
    let pack = own_cache(own.path());
    let arguments = ["--build-ruby", "false", "--image-cache", "12000"];
    let mut node = TestNode::start_with_cache(own.path().to_owned(), &arguments);
    node.deploy("bare", APP);
    node.kill();
    let names = add_copies(&node, "bare", apps);
    start(&mut node);
    first_requests(&node, &names);
    pretend_another_engine(&node, &pack);

    let load = RandomLoad {
        stop: AtomicBool::new(false),
        answered: AtomicUsize::new(0),
        failed: Mutex::default(),
    };
    let seen = Mutex::new(Vec::new());
    let mut successor = node.successor();
    std::thread::scope(|scope| {
        for client in 0..clients {
            let (node, names, load) = (&node, &names, &load);
            scope.spawn(move || load.request_until_stopped(node, names, client + 1));
        }
        let _stop = StopOnDrop(&load.stop);
        wait_until("requests are answered", Duration::from_secs(60), || {
            load.answered.load(Ordering::Relaxed) > 50
        });
        let began = Instant::now();
        successor.spawn();
        wait_until("the new process serves", Duration::from_secs(900), || {
            let status = node.cli(&["upgrade:status"]).text;
            let is_finished = status.contains("State    finished");
            let mut seen = seen.lock().unwrap();
            if seen.last() != Some(&status) {
                seen.push(status);
            }
            std::thread::sleep(Duration::from_millis(200));
            is_finished
        });
        println!("upgrade of {apps} apps: {:?}", began.elapsed());
        let served = load.answered.load(Ordering::Relaxed);
        wait_until("the new process answers", Duration::from_secs(60), || {
            load.answered.load(Ordering::Relaxed) > served + 200
        });
    });
    node.replaced_by(successor);
    let (answered, failed) = (
        load.answered.into_inner(),
        load.failed.into_inner().unwrap(),
    );
    println!("{answered} requests answered, {} failed", failed.len());
    let seen = seen.into_inner().unwrap();
    println!("{}", seen.last().unwrap());
    assert!(failed.is_empty(), "{:?}", &failed[..failed.len().min(5)]);
    assert!(
        seen.iter()
            .any(|status| status.contains("State    preparing")),
        "{seen:?}"
    );
    let json = node.cli(&["upgrade:status", "--json"]).text;
    let expected = format!("\"total\": {}", apps + 1);
    assert!(
        json.contains("\"finished\"") && json.contains(&expected),
        "{json}"
    );
}

#[test]
#[ignore = "takes minutes; script/attack runs it"]
fn upgrade_to_another_engine_fails_no_request_of_500_apps() {
    upgrade_under_load(500, 4);
}

#[test]
#[ignore = "compiles a pack, which takes a minute; script/attack runs it"]
fn upgrade_to_another_engine_fails_no_request_of_a_few_apps() {
    upgrade_under_load(5, 2);
}

#[test]
#[ignore = "takes a minute; script/attack runs it"]
fn image_whose_base_is_gone_is_booted_again() {
    let own = tempfile::tempdir().unwrap();
    let pack = own_cache(own.path());
    let mut node = TestNode::start_with_cache(own.path().to_owned(), &["--build-ruby", "false"]);
    node.deploy("bare", APP);
    node.kill();
    // The pack starts its runtime again, and the new base has other bytes.
    for path in files_in(&pack) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        match () {
            () if name == "sample.pages" => fs::remove_file(path).unwrap(),
            () if name.starts_with("base-") => fs::remove_dir_all(path).unwrap(),
            () => {}
        }
    }
    forget_full_files(&node);
    start(&mut node);
    assert_eq!(node.get("bare", "/"), (200, "hello".to_owned()));
    node.kill_and_restart();
    assert_eq!(node.get("bare", "/"), (200, "hello".to_owned()));
}
