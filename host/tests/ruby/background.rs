//! Threads of real Ruby that run between requests.

use std::time::{Duration, Instant};

use corundum_host::grid::GridLimits;

use crate::harness::{Options, TestApp};

/// Longest time that a test waits for something that takes milliseconds on a quiet machine.
const PATIENCE: Duration = Duration::from_secs(40);

async fn boot(source: &str, limits: GridLimits) -> TestApp {
    let options = Options {
        limits,
        formation: 1,
        ..Options::default()
    };
    TestApp::boot_with(source, options).await
}

/// Requests `path` until the answer is `expected`.
async fn wait_for(app: &TestApp, path: &str, expected: impl Fn(&str) -> bool) {
    let started = Instant::now();
    loop {
        let (status, body) = app.get(path).await.unwrap();
        assert_eq!(status, 200, "{:?}", app.log_lines());
        if expected(&body) {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{path} is {body}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

fn number(text: &str) -> u32 {
    text.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sleeping_thread_works_between_requests() {
    let app = boot(
        "FLUSHED = []
         run ->(env) {
           Thread.new { loop { sleep 0.01; FLUSHED << Thread.current } } if env['PATH_INFO'] == '/start'
           before = FLUSHED.size
           100_000.times { } if env['PATH_INFO'] == '/start'
           [200, {}, [before.to_s]]
         }",
        GridLimits::default(),
    )
    .await;
    assert_eq!(app.get("/start").await.unwrap().1, "0");
    wait_for(&app, "/", |body| number(body) >= 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn computing_thread_does_not_delay_requests() {
    let app = boot(
        "COUNT = [0]
         run ->(env) {
           Thread.new { loop { COUNT[0] += 1 } } if env['PATH_INFO'] == '/start'
           [200, {}, [(COUNT[0] / 1000).to_s]]
         }",
        GridLimits::default(),
    )
    .await;
    app.get("/start").await.unwrap();
    wait_for(&app, "/", |body| number(body) > 0).await;
    let (_, before) = app.get("/").await.unwrap();
    let started = Instant::now();
    for _ in 0..20 {
        assert_eq!(app.get("/").await.unwrap().0, 200);
    }
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
    wait_for(&app, "/", |body| number(body) > number(&before)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn threads_that_wait_take_no_processor_time() {
    let app = boot(
        "run ->(env) {
           3.times { Thread.new { Queue.new.pop } ; Thread.new { sleep 3600 } } if env['PATH_INFO'] == '/start'
           Thread.pass
           [200, {}, [(Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID) * 1000).round.to_s]]
         }",
        GridLimits::default(),
    )
    .await;
    app.get("/start").await.unwrap();
    let (_, before) = app.get("/").await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (_, after) = app.get("/").await.unwrap();
    let used = number(&after) - number(&before);
    assert!(used < 500, "{used} ms of processor time in three seconds");
}

#[tokio::test(flavor = "multi_thread")]
async fn dyno_ends_when_a_thread_ends_its_process() {
    let app = boot(
        "run ->(env) {
           Thread.new { Thread.current.abort_on_exception = true; sleep 0.05; raise 'fatal to the process' } if env['PATH_INFO'] == '/start'
           [200, {}, [Process.pid.to_s]]
         }",
        GridLimits::default(),
    )
    .await;
    let (_, first) = app.get("/start").await.unwrap();
    wait_for(&app, "/", |body| body != first).await;
    let lines = app.log_lines().join("\n");
    assert!(lines.contains("fatal to the process"), "{lines}");
    assert!(lines.contains("Process exited with status 1"), "{lines}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dyno_with_threads_ends_when_no_request_uses_it() {
    let limits = GridLimits {
        idle: Duration::from_secs(1),
        idle_heavy: Duration::from_secs(1),
        ..GridLimits::default()
    };
    let app = boot(
        "run ->(env) {
           Thread.new { loop { sleep 0.05 } } if env['PATH_INFO'] == '/start'
           [200, {}, [Process.pid.to_s]]
         }",
        limits,
    )
    .await;
    let (_, first) = app.get("/start").await.unwrap();
    let started = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_secs(3)).await;
        if app.get("/").await.unwrap().1 != first {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "the dyno stays");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_in_a_thread_between_requests_ends_the_thread_alone() {
    let app = boot(
        "DONE = []
         run ->(env) {
           if env['PATH_INFO'] == '/start'
             Thread.new { sleep 0.05; begin; Thread.exit; ensure; DONE << 1; end }
             Thread.new { sleep 0.05; begin; raise 'ignored'; ensure; DONE << 2; end }
           end
           [200, {}, [DONE.sort.inspect]]
         }",
        GridLimits::default(),
    )
    .await;
    app.get("/start").await.unwrap();
    wait_for(&app, "/", |body| body == "[1, 2]").await;
}
