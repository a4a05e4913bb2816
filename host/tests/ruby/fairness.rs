//! Distribution of dynos: several apps on a small node, and apps that only crash.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use corundum_host::grid::{DispatchError, GridLimits};
use tokio::task::JoinSet;

use crate::harness::{Options, TestApp};

/// Boots an app on a node with `dynos` slots.
async fn boot_on_small_node(dynos: u32, source: &str) -> TestApp {
    let options = Options {
        limits: GridLimits {
            dynos,
            queue: Duration::from_secs(20),
            ..GridLimits::default()
        },
        formation: 16,
        ..Options::default()
    };
    TestApp::boot_with(source, options).await
}

/// Clients that send requests to an app without a pause.
struct Flood {
    app: Arc<TestApp>,
    answered: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

impl Flood {
    fn of(app: TestApp, clients: usize) -> Self {
        let mut flood = Self {
            app: Arc::new(app),
            answered: Arc::default(),
            stop: Arc::default(),
            clients: JoinSet::new(),
        };
        for _ in 0..clients {
            let (app, answered, stop) = (
                flood.app.clone(),
                flood.answered.clone(),
                flood.stop.clone(),
            );
            flood.clients.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(app.get("/").await.unwrap().0, 200);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        flood
    }

    /// Returns the number of responses within `span`.
    async fn within(&self, span: Duration) -> usize {
        let before = self.answered.load(Ordering::Relaxed);
        tokio::time::sleep(span).await;
        self.answered.load(Ordering::Relaxed) - before
    }

    async fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(client) = self.clients.join_next().await {
            client.unwrap();
        }
    }
}

const SLOW: &str = "run ->(e) { sleep 0.02; [200, {}, ['x']] }";

#[tokio::test(flavor = "multi_thread")]
async fn app_that_fills_the_node_shares_it_with_a_later_app() {
    let one = boot_on_small_node(4, SLOW).await;
    let two = one.again("later-app", 16);
    let first = Flood::of(one, 12);
    assert!(first.within(Duration::from_millis(500)).await > 0);
    assert_eq!(first.app.dyno_count(), 4);
    let second = Flood::of(two, 12);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!((first.app.dyno_count(), second.app.dyno_count()), (2, 2));
    let span = Duration::from_secs(1);
    let (ones, twos) = tokio::join!(first.within(span), second.within(span));
    assert!(ones > twos / 2 && twos > ones / 2, "{ones} and {twos}");
    // The first app gets back the slots that the second one no longer needs.
    second.end().await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(first.app.dyno_count(), 4);
    first.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_app_starves_when_apps_outnumber_slots() {
    let one = boot_on_small_node(2, SLOW).await;
    let names = ["app-b", "app-c", "app-d", "app-e", "app-f"];
    let others: Vec<TestApp> = names.iter().map(|name| one.again(name, 16)).collect();
    let floods: Vec<Flood> = [one]
        .into_iter()
        .chain(others)
        .map(|app| Flood::of(app, 4))
        .collect();
    tokio::time::sleep(Duration::from_secs(4)).await;
    let counts: Vec<usize> = floods
        .iter()
        .map(|flood| flood.answered.load(Ordering::Relaxed))
        .collect();
    let most = *counts.iter().max().unwrap();
    assert!(counts.iter().all(|count| *count > most / 6), "{counts:?}");
    for flood in floods {
        flood.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rare_request_is_served_soon_beside_a_flooding_app() {
    let one = boot_on_small_node(3, SLOW).await;
    let seldom = one.again("seldom-app", 1);
    let flood = Flood::of(one, 20);
    flood.within(Duration::from_millis(300)).await;
    for _ in 0..5 {
        let began = Instant::now();
        assert_eq!(seldom.get("/").await.unwrap().0, 200);
        // Each request of the flood itself waits for some seven others.
        assert!(
            began.elapsed() < Duration::from_secs(2),
            "{:?}",
            began.elapsed()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    flood.end().await;
}

const CRASHING: &str = "
    $broken = File.exist?('/app/config.ru')
    run ->(e) { e['PATH_INFO'] == '/' && $broken ? exit!(1) : [200, {}, ['whole']] }";

#[tokio::test(flavor = "multi_thread")]
async fn crashing_route_opens_its_own_circuit() {
    let app = TestApp::boot(CRASHING).await;
    let mut crashed = 0;
    let pause = loop {
        match app.get("/").await {
            Err(DispatchError::NoResponse(_)) => crashed += 1,
            Err(DispatchError::Crashing(pause)) => break pause,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(crashed, 10);
    assert!(pause <= Duration::from_millis(1250), "{pause:?}");
    for _ in 0..1000 {
        assert!(matches!(
            app.get("/").await,
            Err(DispatchError::Crashing(_))
        ));
    }
    let exits = |app: &TestApp| {
        let lines = app.log_lines();
        lines
            .iter()
            .filter(|line| line.contains("exited with status 1"))
            .count()
    };
    assert_eq!(exits(&app), 10);
    // Other routes are served while the circuit is open.
    assert_eq!(app.get("/well").await.unwrap().1, "whole");
    // After the pause, one request is tried. It crashes again, so the next pause is longer.
    tokio::time::sleep(pause).await;
    assert!(matches!(
        app.get("/").await,
        Err(DispatchError::NoResponse(_))
    ));
    assert!(matches!(
        app.get("/").await,
        Err(DispatchError::Crashing(longer)) if longer > pause
    ));
    let lines = app.log_lines();
    let circuit: Vec<_> = lines
        .iter()
        .filter(|line| line.contains("Circuit "))
        .collect();
    assert_eq!(circuit.len(), 2, "one line per change: {circuit:?}");
    assert!(
        circuit[0].contains("GET / crashes its dynos"),
        "{circuit:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_a_crashing_url_take_nothing_from_visitors() {
    let app = Arc::new(TestApp::boot(CRASHING).await);
    let stop = Arc::new(AtomicBool::new(false));
    // Each client sends its own query, so that no circuit stops it.
    let clients = (0..12).map(|client| {
        let (app, stop) = (app.clone(), stop.clone());
        tokio::spawn(async move {
            for number in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let _ = app.get(&format!("/?{client}-{number}")).await;
            }
        })
    });
    let clients: Vec<_> = clients.collect();
    for _ in 0..50 {
        assert_eq!(app.get("/well").await.unwrap().1, "whole");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
}

/// An app of which only the first dyno starts.
const STARTS_ONCE: &str = "
    Process.singleton_class.prepend(Module.new do
      def _fork = ENV.fetch('DYNO', 'web.1') == 'web.1' ? super : exit!(1)
    end)
    run ->(e) { sleep 0.3 if e['PATH_INFO'] == '/slow'; [200, {}, [ENV['DYNO']]] }";

#[tokio::test(flavor = "multi_thread")]
async fn started_dynos_serve_while_the_circuit_of_starts_is_open() {
    let app = Arc::new(TestApp::boot(STARTS_ONCE).await);
    assert_eq!(app.get("/").await.unwrap().1, "web.1");
    let slow = app.clone();
    let slow = tokio::spawn(async move { slow.get("/slow").await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    // The only dyno is busy, so these requests start others, which fail.
    let mut failed = 0;
    while let Err(error) = app.get("/").await {
        assert!(matches!(error, DispatchError::Crashed(_)), "{error}");
        failed += 1;
        assert!(failed < 100, "the circuit does not open");
    }
    assert_eq!(
        failed, 5,
        "the next request waits for the dyno that started"
    );
    assert_eq!(slow.await.unwrap().unwrap().1, "web.1");
    for _ in 0..100 {
        assert_eq!(app.get("/").await.unwrap().1, "web.1");
    }
    assert!(app.grid().app(app.name()).unwrap().circuit_open);
}

#[tokio::test(flavor = "multi_thread")]
async fn restart_closes_the_circuit() {
    let app = TestApp::boot(CRASHING).await;
    while !matches!(app.get("/").await, Err(DispatchError::Crashing(_))) {}
    app.grid().restart(app.name());
    assert_eq!(app.get("/well").await.unwrap().1, "whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_wait_while_an_app_is_loaded() {
    let app = TestApp::boot(SLOW).await;
    let name = "loading-app".parse().unwrap();
    app.grid().expect(&name);
    let waiting = app.again_later("loading-app");
    let answer = tokio::spawn(async move { waiting.get("/").await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!answer.is_finished());
    let loaded = app.again("loading-app", 4);
    assert_eq!(answer.await.unwrap().unwrap().0, 200);
    drop(loaded);
    // Requests fail at once when the release turns out to be missing.
    let name = "missing-app".parse().unwrap();
    app.grid().expect(&name);
    let waiting = app.again_later("missing-app");
    let answer = tokio::spawn(async move { waiting.get("/").await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    app.grid().give_up(&name);
    assert!(matches!(
        answer.await.unwrap(),
        Err(DispatchError::Crashed(_))
    ));
}
