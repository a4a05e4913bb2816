//! Nodes with little: few kernel mappings, little memory, room for few images.

use std::sync::Arc;
use std::time::Duration;

use corundum_host::engine::{Allocation, Engine, EngineConfig};
use corundum_host::grid::{DispatchError, GridLimits, NodeShortage};
use tokio::task::JoinSet;

use crate::harness::{Options, TestApp, request};

const MB: usize = 1 << 20;

fn options(config: EngineConfig) -> Options {
    let engine = Engine::new(EngineConfig {
        allocation: Allocation::Pooled { dynos: 40 },
        ..config
    });
    Options {
        engine: Some(engine.unwrap()),
        limits: GridLimits {
            queue: Duration::from_secs(20),
            idle_heavy: Duration::from_secs(1),
            ..GridLimits::default()
        },
        formation: 8,
        ..Options::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn node_without_spare_mappings_serves_all_apps_in_turn() {
    // The app's image and four dynos. The budget does not cover the pack's own image.
    let config = EngineConfig {
        mappings: 4 + 4 * 6,
        ..EngineConfig::default()
    };
    let source = "run ->(e) { sleep 0.005; [200, {}, ['x']] }";
    let first = TestApp::boot_with(source, options(config)).await;
    let apps: Vec<_> = (0..10)
        .map(|number| Arc::new(first.again(&format!("app-{number}"), 8)))
        .collect();
    let mut clients = JoinSet::new();
    for number in 0..100 {
        let app = apps[number % 10].clone();
        clients.spawn(async move { app.get("/").await });
    }
    while let Some(answer) = clients.join_next().await {
        assert_eq!(answer.unwrap().unwrap().0, 200);
        assert!(first.grid().live() <= 4, "{}", first.grid().live());
    }
    assert_eq!(first.grid().mappings(), (28, 28));
    assert_eq!(first.grid().shortage(), None, "dynos take turns");
}

#[tokio::test(flavor = "multi_thread")]
async fn node_without_mappings_for_any_dyno_says_so() {
    let config = EngineConfig {
        mappings: 4 + 2,
        ..EngineConfig::default()
    };
    let mut options = options(config);
    options.limits.queue = Duration::from_millis(200);
    let app = TestApp::boot_with("run ->(e) { [200, {}, ['x']] }", options).await;
    assert_eq!(app.get("/").await, Err(DispatchError::QueueTimeout));
    let shortage = app.grid().shortage();
    assert_eq!(shortage, Some(NodeShortage::Mappings));
    assert!(shortage.unwrap().to_string().contains("vm.max_map_count"));
}

/// Writes files until the node gives no more, and returns the megabytes and the error.
const FILES: &str = "
    run ->(e) {
      written = 0
      begin
        File.open('/tmp/f', 'wb') { |file| 60.times { file.write('x' * (1 << 20)); written += 1 } }
      rescue SystemCallError => error
      end
      sleep 0.2
      [200, {}, [\"#{written} #{error.class}\"]]
    }";

#[tokio::test(flavor = "multi_thread")]
async fn files_of_dynos_are_refused_when_the_reserve_is_used_up() {
    let config = EngineConfig {
        reserve: 120 * MB,
        ..EngineConfig::default()
    };
    let app = Arc::new(TestApp::boot_with(FILES, options(config)).await);
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        let app = app.clone();
        clients.spawn(async move { app.send(request("POST", "/", "")).await });
    }
    let (mut written, mut refused) = (0, 0);
    while let Some(answer) = clients.join_next().await {
        let (held, reserve) = app.grid().reserve();
        assert!(held <= reserve, "{held}");
        // Some do not survive that they get no more memory.
        let Ok((_, body)) = answer.unwrap() else {
            continue;
        };
        if let Some((megabytes, error)) = body.split_once(' ') {
            written += megabytes.parse::<usize>().unwrap_or(0);
            refused += usize::from(error == "Errno::ENOSPC");
        }
    }
    assert!(refused > 0 && written <= 120, "{written} MB were written");
    // Dynos that hold much give it back when they have been idle for a while, and all do while the reserve is scarce.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (held, reserve) = app.grid().reserve();
    assert!(held <= reserve / 4 * 3, "{held}");
}

/// Writes to each page of a string in the image, which the kernel copies then.
const PAGES: &str = "
    $shared = 'x' * (64 << 20)
    run ->(e) {
      if e['PATH_INFO'] == '/copy'
        0.step($shared.bytesize - 1, 4096) { |at| $shared.setbyte(at, 65) }
        sleep 1
      end
      [200, {}, ['x']]
    }";

#[tokio::test(flavor = "multi_thread")]
async fn copied_pages_of_an_image_are_drawn_from_the_reserve() {
    let config = EngineConfig {
        reserve: 400 * MB,
        ..EngineConfig::default()
    };
    let app = TestApp::boot_with(PAGES, options(config)).await;
    assert_eq!(app.get("/").await.unwrap().0, 200);
    let (before, _) = app.grid().reserve();
    assert!(before < 8 * MB, "{before}");
    assert_eq!(app.get("/copy").await.unwrap().0, 200);
    let (after, _) = app.grid().reserve();
    // The last look may be some milliseconds of copying before the end of the request.
    assert!(after >= 40 * MB, "{after}");
    // There is no room for the pages of eight dynos at once.
    let app = Arc::new(app);
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        let app = app.clone();
        clients.spawn(async move { app.get("/copy").await });
    }
    let answers = clients.join_all().await;
    let served = answers.iter().filter(|answer| answer.is_ok()).count();
    assert!((1..=5).contains(&served), "{answers:?}");
    let log = app.log_lines().join("\n");
    assert!(log.contains("R15"), "{log}");
    assert_eq!(app.get("/").await.unwrap().0, 200);
}
