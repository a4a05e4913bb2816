//! The grid of a node: its metrics, its behaviour under overload, the circuit breaker and autoscaling.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use corundum_test_support::node::{StopOnDrop, TestNode};
use corundum_test_support::wait::{poll, wait_until};

/// Returns the value of a sample on a page of metrics.
fn sample(page: &str, name: &str) -> f64 {
    let found = page
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    found
        .unwrap_or_else(|| panic!("{name} is missing in:\n{page}"))
        .parse()
        .unwrap()
}

#[test]
fn requests_are_counted_in_metrics_info_and_ps() {
    let node = TestNode::start();
    let code = "run ->(e) { e['PATH_INFO'] == '/exit' ? exit!(3) : [200, {}, ['hello']] }\n";
    node.deploy("counted", code);
    for _ in 0..5 {
        assert_eq!(node.get("counted", "/").0, 200);
    }
    assert_eq!(node.get("counted", "/exit").0, 503);
    // The response arrives before the dyno has ended, and the next dyno reuses its name.
    wait_until("the dyno has ended", Duration::from_secs(10), || {
        sample(&node.admin("/metrics").1, "corundum_live_dynos") == 0.0
    });
    assert_eq!(node.get("counted", "/").0, 200);
    assert_eq!(node.get("nobody", "/").0, 404);

    let (status, page) = node.admin("/metrics");
    assert_eq!(status, 200);
    for (name, value) in [
        (
            "corundum_requests_total{app=\"counted\",status=\"2xx\"}",
            6.0,
        ),
        (
            "corundum_requests_total{app=\"counted\",status=\"5xx\"}",
            1.0,
        ),
        (
            "corundum_request_failures_total{app=\"counted\",code=\"H13\"}",
            1.0,
        ),
        (
            "corundum_request_duration_seconds_count{app=\"counted\"}",
            7.0,
        ),
        ("corundum_queue_wait_seconds_count{app=\"counted\"}", 6.0),
        ("corundum_dynos{app=\"counted\",state=\"idle\"}", 1.0),
        ("corundum_unrouted_requests_total", 1.0),
        ("corundum_live_dynos", 1.0),
    ] {
        assert_eq!(sample(&page, name), value, "{name}");
    }
    assert!(sample(&page, "corundum_dyno_cpu_seconds_total{app=\"counted\"}") > 0.0);
    assert!(sample(&page, "process_resident_memory_bytes") > 1e7);
    assert_eq!(node.admin("/healthz").0, 200);
    assert_eq!(node.admin("/readyz"), (200, "ready\n".to_owned()));
    assert_eq!(node.admin("/other").0, 404);

    let info = node.cli(&["apps:info", "--app", "counted"]).text;
    let minute = info.lines().find(|line| line.starts_with("1m ")).unwrap();
    let cells: Vec<&str> = minute.split_whitespace().collect();
    assert_eq!(cells[1..3], ["7", "1"], "{info}");
    let ps = node.cli(&["ps", "--app", "counted"]).text;
    assert!(
        ps.contains("p95") && ps.lines().any(|line| line.starts_with("web.1 ")),
        "{ps}"
    );
    let ps = node.cli(&["ps", "--app", "counted", "--json"]).text;
    assert!(
        ps.contains("\"requests\":6") || ps.contains("\"requests\": 6"),
        "{ps}"
    );
}

/// Sends `count` requests and keeps them open.
fn occupy(node: &TestNode, app: &str, line: &str, count: usize) -> Vec<TcpStream> {
    (0..count).map(|_| node.open(app, line, "")).collect()
}

#[test]
fn the_admin_listener_and_the_api_answer_while_the_router_is_overloaded() {
    let node = TestNode::start_with_open_files(700, &["--build-ruby", "false"]);
    let code = "run ->(e) { loop {} if e['PATH_INFO'] == '/loop'; [200, {}, ['x']] }\n";
    node.deploy("drowned", code);
    // All connections of the router are taken, each dyno is in an endless loop, and more clients wait.
    let looping = occupy(&node, "drowned", "GET /loop", 40);
    let mut idle: Vec<TcpStream> = Vec::new();
    for _ in 0..220 {
        let Ok(stream) = TcpStream::connect(("127.0.0.1", node.http())) else {
            break;
        };
        idle.push(stream);
    }
    std::thread::sleep(Duration::from_millis(300));
    let mut unanswered = TcpStream::connect(("127.0.0.1", node.http())).unwrap();
    unanswered
        .write_all(b"GET / HTTP/1.1\r\nHost: drowned.localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    unanswered
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    assert!(
        unanswered.read(&mut [0]).is_err(),
        "the router accepts a connection over its limit"
    );
    let (_, page) = node.admin("/metrics");
    assert_eq!(
        sample(&page, "corundum_connections"),
        sample(&page, "corundum_connections_limit")
    );
    let began = Instant::now();
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(node.admin(path).0, 200, "{path}");
    }
    let apps = node.cli(&["apps"]);
    assert!(
        apps.success && apps.text.contains("drowned"),
        "{}",
        apps.text
    );
    println!(
        "with an overloaded router: three admin pages and a command in {:?}",
        began.elapsed()
    );
    // This is far below the timeouts of the router.
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    drop((looping, idle));
}

#[test]
fn a_crash_looping_app_opens_its_circuit_breaker_until_the_next_release() {
    let node = TestNode::start();
    node.deploy("broken", "run ->(e) { exit!(1) }\n");
    node.deploy("whole", "run ->(e) { [200, {}, ['calm']] }\n");
    for _ in 0..10 {
        assert!(node.get("broken", "/").1.contains("H13"));
    }
    let refused = node.raw("broken", "GET /", "", "");
    assert!(
        refused.contains("H10") && refused.contains("\r\nretry-after: "),
        "{refused}"
    );
    let (_, page) = node.admin("/metrics");
    assert_eq!(sample(&page, "corundum_circuit_open{app=\"broken\"}"), 1.0);

    let cpu = |node: &TestNode| sample(&node.admin("/metrics").1, "process_cpu_seconds_total");
    let (began, before, mut requests) = (Instant::now(), cpu(&node), 0);
    while began.elapsed() < Duration::from_secs(3) {
        requests += 1;
        assert_eq!(node.get("broken", "/").0, 503);
        // The log keeps 1,500 lines, and the test counts lines of the whole loop.
        std::thread::sleep(Duration::from_millis(4));
    }
    let spent = cpu(&node) - before;
    println!("{requests} requests to an app that crashes: {spent:.2} s of CPU time");
    assert_eq!(node.get("whole", "/"), (200, "calm".to_owned()));
    let log = node.cli(&["logs", "--app", "broken", "-n", "1500"]).text;
    let starts = log.matches("Process exited with status 1").count();
    // Ten crashes open the circuit; after each of a few pauses, one more dyno is tried.
    assert!(starts <= 14, "{starts} of {requests}");
    let changes = log.matches("Circuit opened").count();
    assert!((1..=4).contains(&changes), "{log}");

    let changed = node.cli(&["config:set", "A=1", "--app", "broken"]);
    changed.assert_success();
    // A new release closes the circuit.
    assert!(node.get("broken", "/").1.contains("H13"));
}

#[test]
fn autoscaling_adds_dynos_while_requests_queue() {
    let mut node = TestNode::start();
    node.deploy("waited", "run ->(e) { sleep 0.1; [200, {}, ['x']] }\n");
    assert!(node.cli(&["ps:scale", "web=1", "-a", "waited"]).success);
    let wrong = node.cli(&[
        "ps:autoscale",
        "web",
        "--min",
        "3",
        "--max",
        "2",
        "-a",
        "waited",
    ]);
    wrong.assert_failure("--min is not above --max");
    let on = [
        "ps:autoscale",
        "web",
        "--min",
        "1",
        "--max",
        "6",
        "--p95-queue",
        "20",
        "-a",
        "waited",
    ];
    let on = node.cli(&on);
    assert!(
        on.success && on.text.contains("1 to 6 dynos"),
        "{}",
        on.text
    );
    // The rule survives a restart of the node.
    node.kill_and_restart();
    let formation = |node: &TestNode| {
        sample(
            &node.admin("/metrics").1,
            "corundum_formation{app=\"waited\"}",
        )
    };
    assert_eq!(formation(&node), 1.0);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    assert_eq!(node.get("waited", "/").0, 200);
                }
            });
        }
        let _stop = StopOnDrop(&stop);
        poll(Duration::from_secs(60), || {
            (formation(&node) > 3.0).then_some(())
        });
    });
    assert!(formation(&node) > 3.0);
    let log = node.cli(&["logs", "-a", "waited", "-n", "1500"]).text;
    assert!(
        log.contains("corundum[autoscale]: Scaled web from 1 to 2"),
        "{log}"
    );
    let ps = node.cli(&["ps", "-a", "waited"]).text;
    assert!(ps.contains("autoscaled: 1 to 6 dynos"), "{ps}");
    assert!(node.cli(&["ps:autoscale", "--off", "-a", "waited"]).success);
    assert!(
        !node
            .cli(&["ps", "-a", "waited"])
            .text
            .contains("autoscaled")
    );
}
