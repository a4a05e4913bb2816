//! What router tests share: a router in front of a grid of a few lines, and what speaks to it.

#![allow(dead_code, reason = "each test uses its part")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

pub(crate) mod grid;
pub(crate) mod http1;
#[path = "../../../tests/support/ports.rs"]
mod ports;
pub(crate) mod process;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use corundum_router::limits::Limits;
use corundum_router::router::Router as Served;
use corundum_router::server::{self, ServerLimits};
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use grid::FakeGrid;

/// Runs the cases of a corpus, so many at once, and asserts that all hold. `what` names a case.
pub(crate) async fn assert_all_hold<C>(
    cases: impl IntoIterator<Item = C>,
    at_once: usize,
    what: impl Fn(&C) -> String,
    run: impl AsyncFn(&C) -> Result<(), String>,
) {
    let (what, run) = (&what, &run);
    let failures: Vec<String> = futures_util::stream::iter(cases)
        .map(|case| async move {
            let failed = run(&case).await.err();
            failed.map(|why| format!("{}: {why}", what(&case)))
        })
        .buffer_unordered(at_once)
        .filter_map(|failed| async { failed })
        .collect()
        .await;
    assert!(
        failures.is_empty(),
        "{} cases failed:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// A router that listens.
pub(crate) struct Router {
    pub(crate) grid: Arc<FakeGrid>,
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
}

impl Router {
    pub(crate) async fn start() -> Self {
        Self::start_with(ServerLimits::default(), Limits::default()).await
    }

    pub(crate) async fn start_with(server: ServerLimits, limits: Limits) -> Self {
        Self::start_on(FakeGrid::default(), server, limits).await
    }

    pub(crate) async fn start_on(grid: FakeGrid, server: ServerLimits, limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let grid = Arc::new(grid);
        let router = Arc::new(Served::with_limits(grid.clone(), limits));
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(server::run(listener, router, server, async {
            let _ = stopped.await;
        }));
        Self {
            grid,
            address,
            stop: Some(stop),
        }
    }

    /// Stops it; running requests end.
    pub(crate) fn stop(&mut self) {
        self.stop.take();
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends raw bytes, and returns all that comes until the connection closes.
    pub(crate) async fn raw(&self, request: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_ref()).await.unwrap();
        until_closed(&mut stream).await
    }

    /// A GET over a connection of its own.
    pub(crate) async fn get(&self, path: &str, headers: &str) -> String {
        self.raw(format!(
            "GET {path} HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n{headers}\r\n"
        ))
        .await
    }

    /// The first line of the router's log that has `part`.
    pub(crate) async fn line_with(&self, part: &str) -> String {
        for _ in 0..300 {
            let lines = self.grid.lines.lock().unwrap().clone();
            if let Some(line) = lines.iter().find(|line| line.contains(part)) {
                return line.clone();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let lines = self.grid.lines.lock().unwrap().clone();
        panic!("no line with {part:?} was logged: {lines:#?}");
    }

    /// The first line of the router's log.
    pub(crate) async fn last_line(&self) -> String {
        self.line_with("").await
    }
}

/// All that comes until the connection closes, which it has to.
pub(crate) async fn until_closed(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer));
    let _ = read.await.expect("the connection closes");
    String::from_utf8_lossy(&answer).into_owned()
}
