//! Attacks by builds: several at once, their memory, and what a tree asks for.

use std::path::PathBuf;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use corundum_test_support::http1::RepeatingClient;
use corundum_test_support::node::{StopOnDrop, TestNode};
use corundum_test_support::wait::wait_until;

/// An app that takes a while to load.
const SLOW: &str = "sleep 8\nrun ->(e) { [200, {}, ['slow']] }\n";

/// More memory than the machine has, so that one build runs at a time.
const ONE_AT_A_TIME: [&str; 4] = ["--build-memory", "200000", "--build-ruby", "false"];

/// Returns the folders in `/proc` of the node's build processes.
fn builds(node: &TestNode) -> Vec<PathBuf> {
    let work = node.data().join("work");
    let in_work = |process: &PathBuf| {
        std::fs::read_link(process.join("cwd")).is_ok_and(|directory| directory.starts_with(&work))
    };
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let processes = processes.map(|process| process.path());
    processes.filter(in_work).collect()
}

/// Returns the niceness of a process's first thread.
fn niceness(process: &std::path::Path) -> i32 {
    let stat = std::fs::read_to_string(process.join("stat")).unwrap();
    // The name may contain spaces, and ends with the last parenthesis.
    let fields = stat.rsplit_once(") ").unwrap().1;
    fields.split(' ').nth(16).unwrap().parse().unwrap()
}

fn output(push: Child) -> String {
    let output = push.wait_with_output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}");
    text
}

#[test]
fn builds_wait_for_memory_in_a_visible_queue() {
    let node = TestNode::start_with(&ONE_AT_A_TIME);
    let apps = ["one-app", "two-app"].map(|name| {
        let app = node.create(name);
        app.write("config.ru", SLOW);
        app
    });
    let first = apps[0].push_in_background("main");
    wait_until("the first build runs", Duration::from_secs(30), || {
        !builds(&node).is_empty()
    });
    let build = builds(&node).remove(0);
    let own = niceness(&PathBuf::from(format!("/proc/{}", node.id())));
    wait_until("the build limits itself", Duration::from_secs(10), || {
        let score = std::fs::read_to_string(build.join("oom_score_adj")).unwrap_or_default();
        niceness(&build) == (own + 5).min(19) && score.trim() == "500"
    });
    let second = apps[1].push_in_background("main");
    wait_until("the second build waits", Duration::from_secs(20), || {
        let listed = apps[1].cli(&node, &["builds"]).text;
        listed.contains("waits for 1 build")
    });
    assert_eq!(builds(&node).len(), 1);
    assert!(apps[0].cli(&node, &["builds"]).text.contains("running"));
    // A waiting build leaves no trace when its pusher goes away.
    let third = node.create("three-app");
    third.write("config.ru", SLOW);
    let mut aborted = third.push_in_background("main");
    wait_until("the third build waits", Duration::from_secs(20), || {
        third
            .cli(&node, &["builds"])
            .text
            .contains("waits for 2 builds")
    });
    third.kill_group(&mut aborted);
    wait_until("the third build is gone", Duration::from_secs(20), || {
        third.cli(&node, &["builds"]).text.contains("failed")
    });
    assert!(!output(first).contains("Waiting for"));
    let second = output(second);
    assert!(second.contains("Waiting for 1 build..."), "{second}");
    for name in ["one-app", "two-app"] {
        assert_eq!(node.get(name, "/"), (200, "slow".to_owned()));
    }
}

#[test]
fn build_cannot_take_more_memory_than_its_share() {
    let limit = ["--build-memory", "700", "--build-ruby", "false"];
    let node = TestNode::start_with(&limit);
    let app = node.create("greedy");
    let code = "BIG = Array.new(300) { Random.bytes(1_000_000) }\nrun ->(e) { [200, {}, ['x']] }\n";
    app.write("config.ru", code);
    let push = app.push("main");
    push.assert_failure("Push rejected");
    assert!(push.text.contains("memory"), "{}", push.text);
    app.deploy("run ->(e) { [200, {}, ['small']] }\n");
    assert_eq!(node.get("greedy", "/").1, "small");
}

#[test]
fn dynos_that_a_tree_asks_for_are_capped_and_the_push_says_so() {
    let limit = ["--formation-limit", "20", "--build-ruby", "false"];
    let node = TestNode::start_with(&limit);
    let app = node.create("many");
    let web = "{\"quantity\": 2000, \"size\": \"Performance-L\"}";
    app.write(
        "app.json",
        &format!("{{\"formation\": {{\"web\": {web}}}}}"),
    );
    let push = app.deploy("run ->(e) { [200, {}, ['x']] }\n");
    let lines = [
        "app.json asks for 2000 web dynos, and gets 20, this node's limit for app.json",
        "app.json asks for dynos of the size \"Performance-L\"; web dynos of this node have 512 MB",
    ];
    for line in lines {
        assert!(push.text.contains(line), "{}", push.text);
    }
    let listed = app.cli(&node, &["ps"]).text;
    assert!(listed.contains("web: 20 dynos at most"), "{listed}");
    // The operator's users may ask for more.
    app.cli(&node, &["ps:scale", "web=30"]).assert_success();
}

#[test]
#[ignore = "takes minutes; script/attack runs it"]
fn config_change_is_quick_while_requests_saturate_the_processors() {
    let node = &TestNode::start();
    let code = "run ->(e) { [200, {'content-length' => '3'}, ['one']] }\n";
    node.deploy("busy", code);
    let app = &node.deploy("changed", code);
    let change = |index: u32| {
        let began = Instant::now();
        app.cli(node, &["config:set", &format!("A={index}")])
            .assert_success();
        began.elapsed()
    };
    let quickest = |changes: std::ops::Range<u32>| changes.map(change).min().unwrap();
    let alone = quickest(0..5);
    let stop = AtomicBool::new(false);
    let busy = std::thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        for _ in 0..16 {
            scope.spawn(|| {
                let mut client =
                    RepeatingClient::connect(node.http(), "busy.localhost", "").unwrap();
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(client.get().unwrap().status, 200);
                }
            });
        }
        std::thread::sleep(Duration::from_secs(2));
        quickest(5..10)
    });
    println!("config:set takes {alone:?} alone, {busy:?} while requests saturate the processors");
    // A quarter of a processor for the build, and the load takes its part of the rest.
    assert!(busy < alone * 6 + Duration::from_secs(1), "{busy:?}");
}

/// Returns a field of a file such as `/proc/meminfo` in KiB; 0 if the process has ended.
fn kilobytes(path: &std::path::Path, field: &str) -> u64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.map_or(0, |number| number.parse().unwrap())
}

#[test]
#[ignore = "takes minutes; script/attack runs it"]
fn builds_at_once_stay_within_the_memory_for_builds() {
    let node = TestNode::start();
    let code = "BIG = Array.new(240) { Random.bytes(1_000_000) }\nrun ->(e) { [200, {}, ['x']] }\n";
    let mut pushes = ["a-app", "b-app", "c-app", "d-app"].map(|name| {
        let app = node.create(name);
        app.write("config.ru", code);
        app.push_in_background("main")
    });
    let (mut peak, mut at_once) = (0, 0);
    while pushes
        .iter_mut()
        .any(|push| push.try_wait().unwrap().is_none())
    {
        let builds = builds(&node);
        let memory = |build: &PathBuf| kilobytes(&build.join("status"), "VmRSS:");
        peak = peak.max(builds.iter().map(memory).sum());
        at_once = at_once.max(builds.len());
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("{at_once} builds at once took {} MiB", peak >> 10);
    let machine = kilobytes(std::path::Path::new("/proc/meminfo"), "MemTotal:");
    assert!(peak < machine / 8 * 3, "{peak} KiB");
    pushes.into_iter().map(output).for_each(drop);
}
