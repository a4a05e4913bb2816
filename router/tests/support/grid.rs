//! A grid whose one app answers by the request's path.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use corundum_abi::cgi::ResponseHead;
use corundum_abi::names::{AppName, ReleaseVersion};
use corundum_abi::scgi::RequestHead;
use corundum_exchange::{BodyInterrupted, DynoBody, RequestBody, RequestUsage};
use corundum_router::failure::Failure;
use corundum_router::grid::{Dispatched, Grid};
use corundum_router::log_line::Line;
use corundum_router::site::Site;
use futures_util::StreamExt;
use tokio::sync::mpsc;

/// What the tests see of it.
#[derive(Default)]
pub(crate) struct FakeGrid {
    /// The router's log.
    pub(crate) lines: Mutex<Vec<String>>,
    /// Requests in the order in which they came, as `METHOD target|body|value of X`.
    pub(crate) seen: Mutex<Vec<String>>,
    /// Requests that a dyno has.
    pub(crate) busy: Arc<AtomicU32>,
    /// Bytes that dynos have got rid of in their responses.
    pub(crate) written: Arc<AtomicU32>,
    /// Bytes that a request's body may have, where a test says so.
    pub(crate) max_body: Option<u64>,
    /// The same for as long as the grid lives, as a node's are.
    pub(crate) sites: Mutex<HashMap<String, Arc<Site>>>,
}

/// A dyno in use.
struct Busy(Arc<AtomicU32>);

impl Busy {
    fn new(count: &Arc<AtomicU32>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A field of the dyno ABI's head.
pub(crate) fn field(head: &RequestHead, key: &str) -> String {
    let text = String::from_utf8_lossy(head.as_bytes()).into_owned();
    let fields: Vec<&str> = text.split_once(':').unwrap().1.split('\0').collect();
    let found = fields.chunks_exact(2).find(|pair| pair[0] == key);
    found.map(|pair| pair[1].to_owned()).unwrap_or_default()
}

async fn read(body: RequestBody) -> Result<Bytes, Failure> {
    let mut all = Vec::new();
    match body {
        RequestBody::Empty => {}
        RequestBody::Full(bytes) => return Ok(bytes),
        RequestBody::Stream(mut stream) => {
            while let Some(part) = stream.next().await {
                all.extend_from_slice(&part.map_err(|_| Failure::ClientInterrupted)?);
            }
        }
    }
    Ok(all.into())
}

/// A text that cannot be made smaller.
fn noise(bytes: usize) -> Bytes {
    let mut state = 1u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005);
        state = state.wrapping_add(1);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

/// A stream of pieces, `pause` apart, that ends well or with its dyno.
fn stream(
    grid: &FakeGrid,
    pieces: Vec<Bytes>,
    pause: Duration,
    end: Result<(), BodyInterrupted>,
) -> DynoBody {
    let (sender, receiver) = mpsc::channel(1);
    let (busy, written) = (Busy::new(&grid.busy), grid.written.clone());
    tokio::spawn(async move {
        for piece in pieces {
            let length = piece.len() as u32;
            if sender.send(Ok(piece)).await.is_err() {
                return;
            }
            written.fetch_add(length, Ordering::SeqCst);
            tokio::time::sleep(pause).await;
        }
        if end.is_err() {
            let _ = sender.send(Err(BodyInterrupted)).await;
        }
        drop(busy);
    });
    DynoBody::Stream(receiver)
}

impl Grid for FakeGrid {
    fn route(&self, host: &str) -> Option<Arc<Site>> {
        let app: AppName = host.strip_suffix(".example")?.parse().ok()?;
        let mut sites = self.sites.lock().unwrap();
        let new = || {
            let mut site = Site::new(app);
            site.max_body = self.max_body.unwrap_or(site.max_body);
            Arc::new(site)
        };
        Some(sites.entry(host.to_owned()).or_insert_with(new).clone())
    }

    async fn dispatch(
        &self,
        _app: &AppName,
        head: RequestHead,
        body: RequestBody,
    ) -> Result<Dispatched, Failure> {
        let busy = Busy::new(&self.busy);
        let mut headers: Vec<(Bytes, Bytes)> = vec![("Connection".into(), "X-Gone".into())];
        headers.push(("X-Gone".into(), "1".into()));
        let path = field(&head, "PATH_INFO");
        let mut status = 200;
        // This one answers before it reads.
        let got = if path == "/early" {
            Bytes::new()
        } else {
            read(body).await?
        };
        self.seen.lock().unwrap().push(format!(
            "{} {}|{}|{}",
            field(&head, "REQUEST_METHOD"),
            field(&head, "REQUEST_URI"),
            String::from_utf8_lossy(&got).escape_debug(),
            field(&head, "HTTP_X")
        ));
        let soon = Duration::from_millis(20);
        let never = Duration::from_secs(60);
        let body = match path.as_str() {
            "/head" => DynoBody::Full(head.as_bytes().to_vec().into()),
            "/echo" => DynoBody::Full(got),
            "/early" => DynoBody::Full("early".into()),
            "/204" | "/304" => {
                status = path[1..].parse().unwrap();
                DynoBody::Full("not to be sent".into())
            }
            "/stream" => stream(self, vec!["one".into(), "two".into()], soon, Ok(())),
            "/broken" => stream(self, vec!["one".into()], soon, Err(BodyInterrupted)),
            "/stuck" => stream(self, vec!["one".into()], never, Ok(())),
            "/large" => {
                let piece = Bytes::from(vec![b'x'; 64 << 10]);
                stream(self, vec![piece; 256], Duration::ZERO, Ok(()))
            }
            "/noise" => {
                headers.push(("Content-Type".into(), "text/html".into()));
                stream(self, vec![noise(64 << 10); 64], Duration::ZERO, Ok(()))
            }
            "/slow" => {
                tokio::time::sleep(never).await;
                DynoBody::Full(Bytes::new())
            }
            "/garbled" => {
                headers.push(("X".into(), "a\rb".into()));
                DynoBody::Full(Bytes::new())
            }
            "/interim" => {
                status = 101;
                DynoBody::Full(Bytes::new())
            }
            "/long-head" => {
                headers.push(("X".into(), "a".repeat(100_000).into()));
                DynoBody::Full(Bytes::new())
            }
            "/many-headers" => {
                headers.extend((0..300).map(|_| ("X".into(), "a".into())));
                DynoBody::Full(Bytes::new())
            }
            path => match failure(path) {
                Some(failure) => return Err(failure),
                None => DynoBody::Full("hello".into()),
            },
        };
        drop(busy);
        let usage = Arc::new(RequestUsage::default());
        usage.record(Duration::from_millis(3), 4096);
        Ok(Dispatched {
            head: ResponseHead { status, headers },
            body,
            dyno: "web.1".parse().unwrap(),
            release: ReleaseVersion(6),
            queue: Duration::ZERO,
            usage,
        })
    }

    fn log(&self, _app: &AppName, line: Line) {
        self.lines.lock().unwrap().push(line.to_string());
    }
}

/// What the grid fails with at this path.
fn failure(path: &str) -> Option<Failure> {
    Some(match path {
        "/H10" | "/crashed" => Failure::AppCrashed,
        "/H11" => Failure::BacklogTooDeep,
        "/H12" => Failure::RequestTimeout,
        "/H13" => Failure::ClosedWithoutResponse,
        "/H14" | "/none" => Failure::NoWebProcesses,
        "/H17" => Failure::PoorlyFormatted("not a header line: \"Hello\"".into()),
        "/H20" => Failure::BootTimeout,
        "/H25" => Failure::HEAD_TOO_LARGE,
        "/H80" => Failure::Maintenance,
        "/H81" => Failure::BlankApp,
        "/H99" => Failure::Platform,
        _ => return None,
    })
}
