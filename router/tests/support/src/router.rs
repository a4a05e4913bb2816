//! A router that listens on a free port, with requests for it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use corundum_abi::names::ReleaseVersion;
use corundum_router::cache::Cache;
use corundum_router::limits::Limits;
use corundum_router::router::Router;
use corundum_router::server::{self, ServerLimits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::grid::{AppSettings, FakeApp, FakeGrid, ServedHosts};
use crate::response::ClientResponse;
use crate::scripted;
use crate::wait::poll;

/// A router that listens. It stops when it is dropped.
pub struct TestRouter {
    /// The grid behind the router.
    pub grid: Arc<FakeGrid>,
    /// The cache of the router.
    pub cache: Arc<Cache>,
    /// Address of its HTTP listener.
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
}

/// Size of the cache in bytes, if a test does not choose one.
const CACHE_SIZE: u64 = 64 << 20;

impl TestRouter {
    /// Starts a router with the scripted app.
    pub async fn start() -> Self {
        Self::start_with(ServerLimits::default(), Limits::default()).await
    }

    /// Starts a router with the scripted app and these limits.
    pub async fn start_with(server: ServerLimits, limits: Limits) -> Self {
        Self::start_with_settings(AppSettings::default(), server, limits).await
    }

    /// Starts a router with the scripted app, these settings and these limits.
    pub async fn start_with_settings(
        settings: AppSettings,
        server: ServerLimits,
        limits: Limits,
    ) -> Self {
        let grid = FakeGrid::new(scripted::app(), ServedHosts::Example, settings);
        Self::listen(grid, Cache::new(CACHE_SIZE), server, limits).await
    }

    /// Starts a router with `app` at all host names.
    pub async fn with_app(app: FakeApp) -> Self {
        Self::with_cache(app, Cache::new(CACHE_SIZE)).await
    }

    /// Starts a router with `app` at all host names and these limits.
    pub async fn with_limits(app: FakeApp, limits: Limits) -> Self {
        let grid = FakeGrid::new(app, ServedHosts::All, AppSettings::default());
        Self::listen(
            grid,
            Cache::new(CACHE_SIZE),
            ServerLimits::default(),
            limits,
        )
        .await
    }

    /// Starts a router with `app` at all host names and this cache.
    pub async fn with_cache(app: FakeApp, cache: Cache) -> Self {
        // Without a release, requests would bypass the cache.
        let settings = AppSettings {
            release: Some((ReleaseVersion(1), None)),
            ..AppSettings::default()
        };
        let grid = FakeGrid::new(app, ServedHosts::All, settings);
        Self::listen(grid, cache, ServerLimits::default(), Limits::default()).await
    }

    async fn listen(grid: FakeGrid, cache: Cache, server: ServerLimits, limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (grid, cache) = (Arc::new(grid), Arc::new(cache));
        let router = Router::with_limits(grid.clone(), limits).with_cache(cache.clone());
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(server::run(listener, Arc::new(router), server, async {
            let _ = stopped.await;
        }));
        Self {
            grid,
            cache,
            address,
            stop: Some(stop),
        }
    }

    /// Stops the router. Running requests are completed.
    pub fn stop(&mut self) {
        self.stop.take();
    }

    /// Connects to the router.
    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends raw bytes, and returns all bytes that arrive until the router closes the connection.
    pub async fn raw(&self, request: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_ref()).await.unwrap();
        read_to_close(&mut stream).await
    }

    /// Sends a GET with these header lines, each ending in CRLF, and returns the response as text.
    pub async fn get_raw(&self, path: &str, headers: &str) -> String {
        self.raw(format!(
            "GET {path} HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n{headers}\r\n"
        ))
        .await
    }

    /// Sends a GET to `app.example`.
    pub async fn get(&self, target: &str) -> ClientResponse {
        self.send("GET", target, &[], "").await
    }

    /// Sends a GET with these header fields.
    pub async fn get_with(&self, target: &str, headers: &[(&str, &str)]) -> ClientResponse {
        self.send("GET", target, headers, "").await
    }

    /// Sends a request to `app.example`, or to the host that a header field names.
    pub async fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> ClientResponse {
        let mut stream = self.open(method, target, headers, body).await;
        let mut response = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut response));
        read.await.expect("a response within 20 s").unwrap();
        ClientResponse::parse(&response)
    }

    /// Sends a request. The caller reads the response.
    pub async fn open(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> TcpStream {
        let mut request = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n");
        if !headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("host"))
        {
            request.push_str("Host: app.example\r\n");
        }
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        request.push_str(body);
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    /// Counts the requests that reached an app.
    pub fn requests(&self) -> usize {
        self.grid.requests()
    }

    /// Waits until the log has `number` lines, and returns the last of these.
    pub async fn line(&self, number: usize) -> String {
        let line = poll(|| self.grid.log().get(number - 1).cloned()).await;
        line.unwrap_or_else(|| panic!("too few lines: {:#?}", self.grid.log()))
    }

    /// Waits until the log has a line that contains `text`, and returns the first such line.
    pub async fn line_with(&self, text: &str) -> String {
        let found = || self.grid.log().into_iter().find(|line| line.contains(text));
        let line = poll(found).await;
        line.unwrap_or_else(|| panic!("{text:?} is missing in {:#?}", self.grid.log()))
    }

    /// Waits until the log has a line, and returns the first one.
    pub async fn first_line(&self) -> String {
        self.line(1).await
    }
}

/// Reads until the peer closes the connection.
///
/// # Panics
///
/// Panics if the connection is open after 5 s.
pub async fn read_to_close(stream: &mut TcpStream) -> String {
    let mut response = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut response));
    let _ = read.await.expect("the connection closes within 5 s");
    String::from_utf8_lossy(&response).into_owned()
}
