//! The router in front of a grid that answers immediately, in its own process on the core of the servers.

use std::future::Future;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use corundum_abi::cgi::ResponseHead;
use corundum_abi::names::{AppName, ReleaseVersion};
use corundum_abi::scgi::RequestHead;
use corundum_exchange::{DynoBody, RequestBody};
use corundum_router::failure::Failure;
use corundum_router::grid::{Dispatched, Grid};
use corundum_router::log_line::RouterLogLine;
use corundum_router::router::Router;
use corundum_router::server::{self, ServerLimits};
use corundum_router::virtual_host::VirtualHost;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::machine::{connections, on_core, resident_kib};
use crate::table::{Better, Row};
use crate::{LOAD, SERVERS};

const HELLO: &[u8] = b"Hello\n";
const REQUEST: &[u8] =
    b"GET / HTTP/1.1\r\nHost: app.localhost\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n";
/// A body larger than the buffers between the router and a slow reader.
static LARGE: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(vec![b'x'; 16 << 20]));
/// Concurrent slow clients.
const SLOW: usize = 500;

/// Server that the child process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ServerRole {
    /// The router.
    Router,
    /// A server that answers without parsing the request: its latency is that of a round trip.
    Bare,
}

/// A grid with one app of one page.
struct OnePageGrid(Arc<VirtualHost>);

impl Grid for OnePageGrid {
    fn route(&self, _host: &str) -> Option<Arc<VirtualHost>> {
        Some(self.0.clone())
    }

    async fn dispatch(
        &self,
        _app: &AppName,
        head: RequestHead,
        _body: RequestBody,
    ) -> Result<Dispatched, Failure> {
        let large = head.as_bytes().windows(6).any(|part| part == b"/large");
        let body = if large {
            LARGE.clone()
        } else {
            Bytes::from_static(HELLO)
        };
        let kind = (
            Bytes::from_static(b"Content-Type"),
            Bytes::from_static(b"text/plain"),
        );
        Ok(Dispatched {
            head: ResponseHead {
                status: 200,
                headers: vec![kind],
            },
            body: DynoBody::Full(body),
            dyno: "web.1".parse().unwrap(),
            release: ReleaseVersion(1),
            queue: Duration::ZERO,
            usage: Arc::default(),
        })
    }

    fn log(&self, _app: &AppName, line: RouterLogLine) {
        std::hint::black_box(line);
    }
}

/// Runs as the child process: prints its address and serves until it is killed.
pub(crate) fn serve(role: ServerRole) {
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        match role {
            ServerRole::Router => {
                let site = Arc::new(VirtualHost::new("app".parse().unwrap()));
                let router = Arc::new(Router::new(Arc::new(OnePageGrid(site))));
                let serving = server::run(listener, router, ServerLimits::default(), forever());
                tokio::spawn(serving).await.unwrap();
            }
            ServerRole::Bare => bare(listener).await,
        }
    });
}

fn forever() -> impl Future<Output = ()> + Send {
    std::future::pending()
}

async fn bare(listener: TcpListener) {
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{}",
        HELLO.len(),
        String::from_utf8_lossy(HELLO)
    );
    let answer: Arc<str> = answer.into();
    while let Ok((mut stream, _)) = listener.accept().await {
        let answer = answer.clone();
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let mut buffer = [0; 4096];
            while stream
                .read(&mut buffer)
                .await
                .is_ok_and(|length| length > 0)
            {
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        });
    }
}

fn raise_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}

/// A child process that serves.
struct ServerProcess {
    child: Child,
    address: SocketAddr,
}

impl ServerProcess {
    fn start(what: &str) -> Self {
        let mut child = on_core(SERVERS, || {
            Command::new(std::env::current_exe().unwrap())
                .args(["--serve", what])
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        });
        let mut line = String::new();
        let output = child.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        let address = line.trim().parse().unwrap();
        Self { child, address }
    }

    fn connect(&self) -> BenchConnection {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        BenchConnection {
            stream,
            buffer: vec![0; 4096],
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct BenchConnection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl BenchConnection {
    /// Sends a request. Returns the time until its response is complete.
    fn request(&mut self) -> Duration {
        let start = Instant::now();
        self.stream.write_all(REQUEST).unwrap();
        let mut length = 0;
        while !self.buffer[..length].ends_with(HELLO) {
            let read = self.stream.read(&mut self.buffer[length..]).unwrap();
            assert!(read > 0, "closed");
            length += read;
        }
        start.elapsed()
    }
}

fn request_all(connections: &mut [BenchConnection]) {
    for connection in connections {
        connection.request();
    }
}

/// Returns the 50th and the 99th percentile of `count` requests over one connection, in µs.
fn latencies(server: &ServerProcess, count: usize) -> [f64; 2] {
    on_core(LOAD, || {
        let mut connection = server.connect();
        for _ in 0..count / 10 {
            connection.request();
        }
        let mut times: Vec<Duration> = (0..count).map(|_| connection.request()).collect();
        times.sort();
        [50, 99].map(|percent| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e6)
    })
}

fn row(what: &'static str, unit: &'static str, corundum: f64, at_least: f64) -> Row {
    Row {
        what,
        unit,
        corundum,
        peer: None,
        at_least: Some(at_least),
        better: Better::Less,
    }
}

/// Measures the memory of connections that have served a request and wait for the next.
pub(crate) fn idle(count: usize) -> Vec<Row> {
    raise_open_files();
    let server = ServerProcess::start("router");
    // The first requests allocate memory that all later connections share.
    let mut first: Vec<BenchConnection> = (0..100).map(|_| server.connect()).collect();
    request_all(&mut first);
    drop(first);
    std::thread::sleep(Duration::from_secs(1));
    let before = resident_kib(server.child.id());
    // The clients connect one after another: if the accept queue overflows, a client waits for a second.
    let asked = |_| {
        let mut connection = server.connect();
        connection.request();
        connection
    };
    let mut all: Vec<BenchConnection> = (0..count).map(asked).collect();
    let fresh = resident_kib(server.child.id());
    // The allocator returns pages to the kernel about ten seconds after they were freed.
    std::thread::sleep(ServerLimits::default().park * 2 + Duration::from_secs(12));
    let parked = resident_kib(server.child.id());
    let each = |now: u64| now.saturating_sub(before) as f64 / count as f64;
    eprintln!(
        "  {count} connections: {:.2} KiB each when just served, {:.2} KiB when idle",
        each(fresh),
        each(parked)
    );
    request_all(&mut all[..100]);
    vec![row("idle connection", "KiB", each(parked), 20.0)]
}

/// Measures the latency that the router adds to a round trip.
pub(crate) fn miss(rounds: usize) -> Vec<Row> {
    let servers = ["router", "bare"].map(ServerProcess::start);
    let mut added: [Vec<f64>; 2] = Default::default();
    for _ in 0..rounds {
        let [router, bare] = [&servers[0], &servers[1]].map(|server| latencies(server, 20_000));
        eprintln!("  p50, p99 in µs: router {router:.1?}, bare {bare:.1?}");
        for (added, (router, bare)) in added.iter_mut().zip(router.into_iter().zip(bare)) {
            added.push(router - bare);
        }
    }
    let [p50, p99] = added.map(|added| crate::machine::median(&added));
    vec![
        row("added by the router, p50", "µs", p50, 50.0),
        row("added by the router, p99", "µs", p99, 300.0),
    ]
}

/// Measures by which factor the p99 of a client grows beside 500 slow clients of each kind.
pub(crate) fn slow(count: usize) -> Vec<Row> {
    if Command::new("slowhttptest").arg("-h").output().is_err() {
        eprintln!("!! SKIPPED: slowhttptest is missing (apt-get install slowhttptest)");
        return Vec::new();
    }
    let server = ServerProcess::start("router");
    let kinds: [(&'static str, &[&str], &str); 3] = [
        ("p99 beside slow headers", &["-H"], "/"),
        ("p99 beside slow bodies", &["-B", "-s", "100000"], "/"),
        (
            "p99 beside slow readers",
            &["-X", "-w", "10", "-y", "20", "-n", "5", "-z", "32"],
            "/large",
        ),
    ];
    let measured = kinds.into_iter().map(|(what, arguments, path)| {
        let alone = latencies(&server, count)[1];
        let mut slow = on_core(LOAD, || {
            // The slow clients share a core with the timed client, and run only while that core is idle.
            Command::new("chrt")
                .args(["--idle", "0", "slowhttptest"])
                .args([
                    "-c",
                    &SLOW.to_string(),
                    "-r",
                    "500",
                    "-i",
                    "5",
                    "-l",
                    "60",
                    "-p",
                    "2",
                ])
                .args(arguments)
                .args(["-u", &format!("http://{}{path}", server.address)])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        });
        // All slow clients are connected after a second.
        std::thread::sleep(Duration::from_secs(3));
        let slow_clients = connections(server.address.port());
        assert!(slow_clients >= SLOW, "{slow_clients} slow clients");
        let beside = latencies(&server, count)[1];
        assert!(slow.try_wait().unwrap().is_none(), "slowhttptest has ended");
        let _ = slow.kill();
        let _ = slow.wait();
        eprintln!("  {what}: {beside:.0} µs, alone {alone:.0} µs");
        row(what, "×", beside / alone, 1.5)
    });
    measured.collect()
}
