//! A router with a cache in front of an app of a few lines, and a client.

#![allow(dead_code, reason = "each test uses its part")]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use corundum_abi::cgi::ResponseHead;
use corundum_abi::names::{AppName, ReleaseVersion};
use corundum_abi::scgi::RequestHead;
use corundum_exchange::{DynoBody, RequestBody};
use corundum_router::cache::Cache;
use corundum_router::compress::Compression;
use corundum_router::failure::Failure;
use corundum_router::grid::{Dispatched, Grid};
use corundum_router::log_line::Line;
use corundum_router::router::Router;
use corundum_router::server::{self, ServerLimits};
use corundum_router::site::Site;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A request as the app sees it.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// The app.
    pub app: String,
    /// CGI's names and values.
    pub fields: HashMap<String, Vec<u8>>,
    /// The body.
    pub body: Vec<u8>,
}

impl Asked {
    /// A field's value, empty if it is not there.
    pub fn get(&self, name: &str) -> String {
        let value = self.fields.get(name).map(Vec::as_slice).unwrap_or_default();
        String::from_utf8_lossy(value).into_owned()
    }
}

/// The app's answer.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(Bytes, Bytes)>,
    pub body: DynoBody,
}

impl Answer {
    pub fn new(status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        let owned = |text: &str| Bytes::from(text.to_owned());
        Self {
            status,
            headers: headers
                .iter()
                .map(|(name, value)| (owned(name), owned(value)))
                .collect(),
            body: DynoBody::Full(owned(body)),
        }
    }

    /// A page that is fresh for a minute.
    pub fn page(body: &str) -> Self {
        Self::new(200, &[("Cache-Control", "max-age=60")], body)
    }
}

/// An app.
pub type App = Box<dyn Fn(Asked) -> BoxFuture<'static, Result<Answer, Failure>> + Send + Sync>;

/// An app that answers at once.
pub fn app(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> App {
    Box::new(move |asked| {
        let answer = answer(&asked);
        Box::pin(async move { Ok(answer) })
    })
}

struct FakeGrid {
    app: App,
    asked: AtomicUsize,
    release: Mutex<(ReleaseVersion, Option<u64>)>,
    compression: Mutex<Compression>,
    lines: Mutex<Vec<String>>,
}

impl Grid for FakeGrid {
    fn route(&self, host: &str) -> Option<Arc<Site>> {
        let name = host.split('.').next().unwrap_or_default();
        let app: AppName = name.parse().unwrap_or_else(|_| "app".parse().unwrap());
        let (release, edition) = *self.release.lock().unwrap();
        Some(Arc::new(Site {
            release: Some(release),
            edition,
            compression: *self.compression.lock().unwrap(),
            ..Site::new(app)
        }))
    }

    async fn dispatch(
        &self,
        app: &AppName,
        head: RequestHead,
        body: RequestBody,
    ) -> Result<Dispatched, Failure> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let release = self.release.lock().unwrap().0;
        let mut asked = Asked {
            app: app.to_string(),
            fields: fields(&head),
            body: Vec::new(),
        };
        match body {
            RequestBody::Empty => {}
            RequestBody::Full(bytes) => asked.body = bytes.to_vec(),
            RequestBody::Stream(mut stream) => {
                while let Some(part) = stream.next().await {
                    asked
                        .body
                        .extend_from_slice(&part.map_err(|_| Failure::ClientInterrupted)?);
                }
            }
        }
        let answer = (self.app)(asked).await?;
        Ok(Dispatched {
            head: ResponseHead {
                status: answer.status,
                headers: answer.headers,
            },
            body: answer.body,
            dyno: "web.1".parse().unwrap(),
            release,
            queue: Duration::ZERO,
            usage: Arc::default(),
        })
    }

    fn log(&self, _app: &AppName, line: Line) {
        self.lines.lock().unwrap().push(line.to_string());
    }
}

/// The fields of an SCGI head.
fn fields(head: &RequestHead) -> HashMap<String, Vec<u8>> {
    let bytes = head.as_bytes();
    let colon = bytes.iter().position(|byte| *byte == b':').unwrap();
    let parts: Vec<&[u8]> = bytes[colon + 1..].split(|byte| *byte == 0).collect();
    let pairs = parts.chunks_exact(2);
    pairs
        .map(|pair| {
            (
                String::from_utf8_lossy(pair[0]).into_owned(),
                pair[1].to_vec(),
            )
        })
        .collect()
}

/// The router.
pub struct Rig {
    grid: Arc<FakeGrid>,
    pub cache: Arc<Cache>,
    pub address: SocketAddr,
}

impl Rig {
    pub async fn start(app: App) -> Self {
        Self::with_cache(app, Cache::new(64 << 20)).await
    }

    pub async fn with_cache(app: App, cache: Cache) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let grid = Arc::new(FakeGrid {
            app,
            asked: AtomicUsize::new(0),
            release: Mutex::new((ReleaseVersion(1), None)),
            compression: Mutex::default(),
            lines: Mutex::default(),
        });
        let cache = Arc::new(cache);
        let router = Router::new(grid.clone()).with_cache(cache.clone());
        let limits = ServerLimits::default();
        tokio::spawn(server::run(
            listener,
            Arc::new(router),
            limits,
            std::future::pending(),
        ));
        Self {
            grid,
            cache,
            address,
        }
    }

    /// How often the app was asked.
    pub fn asked(&self) -> usize {
        self.grid.asked.load(Ordering::SeqCst)
    }

    /// The app has another release from now on.
    pub fn release(&self, number: u64, edition: Option<u64>) {
        *self.grid.release.lock().unwrap() = (ReleaseVersion(number), edition);
    }

    /// Whether the app's answers are compressed from now on.
    pub fn compression(&self, compression: Compression) {
        *self.grid.compression.lock().unwrap() = compression;
    }

    /// The last line of the log, once there are `lines`.
    pub async fn line(&self, lines: usize) -> String {
        for _ in 0..500 {
            if let Some(line) = self.grid.lines.lock().unwrap().get(lines - 1) {
                return line.clone();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("too few lines: {:?}", self.grid.lines.lock().unwrap());
    }

    pub async fn get(&self, target: &str) -> Got {
        self.send("GET", target, &[], "").await
    }

    pub async fn get_with(&self, target: &str, headers: &[(&str, &str)]) -> Got {
        self.send("GET", target, headers, "").await
    }

    /// Sends a request to `app.example`, unless a header names another host.
    pub async fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Got {
        let mut stream = self.open(method, target, headers, body).await;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer));
        read.await.expect("an answer in time").unwrap();
        Got::parse(&answer)
    }

    /// Sends a request, whose answer is still to be read.
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
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }
}

/// What the client got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Got {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// The body as it came.
    pub bytes: Vec<u8>,
    /// Whether the body came to its end, as far as its framing says.
    pub complete: bool,
}

impl Got {
    /// What has come so far, or in all.
    pub fn parse(answer: &[u8]) -> Self {
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no head: {:?}", String::from_utf8_lossy(answer)));
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let body = &answer[end + 4..];
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let value = |wanted: &str| {
            let found = headers.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.as_str())
        };
        let (bytes, complete) = match (value("transfer-encoding"), value("content-length")) {
            (Some("chunked"), _) => unchunk(body),
            (_, Some(length)) => (body.to_vec(), length.parse() == Ok(body.len())),
            _ => (body.to_vec(), true),
        };
        Self {
            status: status.parse().unwrap(),
            headers,
            body: String::from_utf8_lossy(&bytes).into_owned(),
            bytes,
            complete,
        }
    }

    /// A header's value, empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    /// What the cache says that it made of the request.
    pub fn x_cache(&self) -> &str {
        self.header("x-cache")
    }
}

/// The bytes of a body in chunks, and whether the last one is there.
fn unchunk(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&rest[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        rest = &rest[end + 2..];
        body.extend_from_slice(&rest[..size.min(rest.len())]);
        if size == 0 {
            return (body, true);
        }
        rest = rest.get(size + 2..).unwrap_or_default();
    }
    (body, false)
}
