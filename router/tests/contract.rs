//! The router's contract over real connections, with a grid of a few lines behind it.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use corundum_router::failure::Failure;
use corundum_router::grid::{Dispatched, DynoBody, DynoGone, Figures, Grid, RequestBody};
use corundum_router::server::{self, ServerLimits};
use corundum_router::site::Site;
use corundum_sdk::abi::cgi::ResponseHead;
use corundum_sdk::abi::scgi::Head;
use corundum_sdk::names::{AppName, ReleaseVersion};
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// A grid whose one app answers by the request's path.
#[derive(Default)]
struct FakeGrid {
    lines: Mutex<Vec<String>>,
}

struct NoFigures;

impl Figures for NoFigures {
    fn cpu(&self) -> Duration {
        Duration::from_millis(3)
    }
    fn memory(&self) -> u64 {
        4096
    }
}

fn field(head: &Head, key: &str) -> String {
    let text = String::from_utf8_lossy(head.as_bytes()).into_owned();
    let fields: Vec<&str> = text.split_once(':').unwrap().1.split('\0').collect();
    let found = fields.chunks_exact(2).find(|pair| pair[0] == key);
    found.map(|pair| pair[1].to_owned()).unwrap_or_default()
}

impl Grid for FakeGrid {
    fn route(&self, host: &str) -> Option<Arc<Site>> {
        let app = host.strip_suffix(".example")?.parse().ok()?;
        Some(Arc::new(Site::new(app)))
    }

    async fn dispatch(
        &self,
        _app: &AppName,
        head: Head,
        body: RequestBody,
    ) -> Result<Dispatched, Failure> {
        let mut headers: Vec<(Bytes, Bytes)> = vec![("Connection".into(), "X-Gone".into())];
        headers.push(("X-Gone".into(), "1".into()));
        let body = match field(&head, "PATH_INFO").as_str() {
            "/head" => DynoBody::Full(head.as_bytes().to_vec().into()),
            "/echo" => {
                let mut all = Vec::new();
                if let RequestBody::Full(bytes) = &body {
                    all.extend_from_slice(bytes);
                }
                if let RequestBody::Stream(mut stream) = body {
                    while let Some(part) = stream.next().await {
                        all.extend_from_slice(&part.map_err(|_| Failure::ClientInterrupted)?);
                    }
                }
                DynoBody::Full(all.into())
            }
            "/stream" | "/broken" => {
                let (sender, receiver) = mpsc::channel(1);
                let broken = field(&head, "PATH_INFO") == "/broken";
                tokio::spawn(async move {
                    sender.send(Ok("one".into())).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    let last = if broken {
                        Err(DynoGone)
                    } else {
                        Ok("two".into())
                    };
                    sender.send(last).await.unwrap();
                });
                DynoBody::Stream(receiver)
            }
            "/slow" => {
                tokio::time::sleep(Duration::from_secs(60)).await;
                DynoBody::Full(Bytes::new())
            }
            "/crashed" => return Err(Failure::AppCrashed),
            "/none" => return Err(Failure::NoWebProcesses),
            "/garbled" => {
                headers.push(("X".into(), "a\rb".into()));
                DynoBody::Full(Bytes::new())
            }
            _ => DynoBody::Full("hello".into()),
        };
        Ok(Dispatched {
            head: ResponseHead {
                status: 200,
                headers,
            },
            body,
            dyno: "web.1".parse().unwrap(),
            release: ReleaseVersion(6),
            queue: Duration::ZERO,
            figures: Arc::new(NoFigures),
        })
    }

    fn log(&self, _app: &AppName, line: String) {
        self.lines.lock().unwrap().push(line);
    }
}

struct Router {
    grid: Arc<FakeGrid>,
    address: std::net::SocketAddr,
}

impl Router {
    async fn start() -> Self {
        Self::start_with(ServerLimits::default()).await
    }

    async fn start_with(limits: ServerLimits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let grid = Arc::new(FakeGrid::default());
        tokio::spawn(server::run(
            listener,
            Arc::new(corundum_router::router::Router::new(grid.clone())),
            limits,
            std::future::pending(),
        ));
        Self { grid, address }
    }

    /// Sends raw bytes, and returns all that comes until the connection closes.
    async fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        let _ = tokio::time::timeout(Duration::from_secs(5), read)
            .await
            .expect("the connection closes");
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn get(&self, path: &str, headers: &str) -> String {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n{headers}\r\n"
        );
        self.raw(&request).await
    }

    async fn last_line(&self) -> String {
        for _ in 0..100 {
            if let Some(line) = self.grid.lines.lock().unwrap().last() {
                return line.clone();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("nothing was logged");
    }
}

#[tokio::test]
async fn a_request_is_answered_and_logged() {
    let router = Router::start().await;
    let answer = router.get("/a?b=c", "X-Request-Id: mine\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
    assert!(answer.contains("x-request-id: mine\r\n"), "{answer}");
    let line = router.last_line().await;
    assert!(
        line.starts_with("at=info method=GET path=\"/a?b=c\" host=app.example request_id=mine"),
        "{line}"
    );
    assert!(line.ends_with("cpu=3ms mem=4kB release=v6"), "{line}");
    assert!(
        line.contains(" dyno=web.1 ") && line.contains(" status=200 bytes=5 "),
        "{line}"
    );
}

#[tokio::test]
async fn hop_by_hop_headers_pass_in_neither_direction() {
    let router = Router::start().await;
    let headers = "Connection: close, x-secret, host\r\nX-Secret: 1\r\nKeep-Alive: 1\r\nTE: trailers\r\nX-Kept: 1\r\n";
    let request = format!("GET /head HTTP/1.1\r\nHost: app.example\r\n{headers}\r\n");
    let answer = router.raw(&request).await;
    for name in [
        "HTTP_X_SECRET",
        "HTTP_KEEP_ALIVE",
        "HTTP_TE",
        "HTTP_CONNECTION",
        "x-gone",
    ] {
        assert!(!answer.contains(name), "{name} must not pass: {answer}");
    }
    assert!(
        answer.contains("HTTP_X_KEPT") && answer.contains("HTTP_HOST\0app.example"),
        "{answer}"
    );
}

#[tokio::test]
async fn forwarding_headers_are_appended_or_set() {
    let router = Router::start().await;
    let headers = "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n";
    let answer = router.get("/head", headers).await;
    assert!(
        answer.contains("HTTP_X_FORWARDED_FOR\x001.2.3.4, 127.0.0.1\0"),
        "{answer}"
    );
    assert!(
        answer.contains("HTTP_X_FORWARDED_PROTO\0http\0"),
        "{answer}"
    );
    assert!(answer.contains("HTTP_VIA\x001.1 corundum\0"), "{answer}");
    assert!(answer.contains("HTTP_X_REQUEST_START\0"), "{answer}");
}

#[tokio::test]
async fn an_unsafe_request_id_is_replaced() {
    let router = Router::start().await;
    for bad in ["a b", &"x".repeat(201), "a\"b"] {
        let answer = router.get("/", &format!("X-Request-Id: {bad}\r\n")).await;
        let id = answer
            .split("x-request-id: ")
            .nth(1)
            .unwrap()
            .split("\r\n")
            .next()
            .unwrap();
        assert_eq!(id.len(), 36, "{bad:?} gave {id}");
    }
}

#[tokio::test]
async fn what_no_dyno_should_see_has_its_own_status() {
    let router = Router::start().await;
    let long = "x".repeat(9000);
    for (request, status) in [
        (
            "CONNECT app.example:80 HTTP/1.1\r\nHost: app.example\r\n".to_owned(),
            "405",
        ),
        (
            "GET / HTTP/1.1\r\nHost: app.example\r\nExpect: magic\r\n".to_owned(),
            "417",
        ),
        (
            format!("GET /{long} HTTP/1.1\r\nHost: app.example\r\n"),
            "414",
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: app.example\r\nX: {long}\r\n"),
            "431",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n".to_owned(),
            "400",
        ),
        ("GET / HTTP/1.1\r\nHost: nobody.test\r\n".to_owned(), "404"),
        (
            "GET / HTTP/1.1\r\nHost: app.example\r\nContent-Length: 1\r\nContent-Length: 2\r\n"
                .to_owned(),
            "400",
        ),
        ("NONSENSE\r\n".to_owned(), "400"),
    ] {
        let request = format!("{request}Connection: close\r\n\r\n");
        let answer = router.raw(&request).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{status}: {answer}"
        );
    }
}

#[tokio::test]
async fn many_headers_are_431() {
    let router = Router::start().await;
    let headers: String = (0..150).map(|index| format!("X-{index}: 1\r\n")).collect();
    assert!(router.get("/", &headers).await.starts_with("HTTP/1.1 431 "));
}

#[tokio::test]
async fn a_failure_is_a_page_in_the_form_the_client_asks_for() {
    let router = Router::start().await;
    let html = router
        .get("/none", "Accept: text/html,application/json;q=0.5\r\n")
        .await;
    assert!(
        html.starts_with("HTTP/1.1 503 ") && html.contains("<code>H14</code>"),
        "{html}"
    );
    let json = router.get("/crashed", "Accept: application/json\r\n").await;
    assert!(json.contains("\"code\":\"H10\""), "{json}");
    let line = router.grid.lines.lock().unwrap().last().cloned().unwrap();
    assert!(
        line.starts_with("at=error code=H10 desc=\"App crashed\""),
        "{line}"
    );
}

#[tokio::test]
async fn a_dynos_malformed_response_is_h17() {
    let router = Router::start().await;
    assert!(
        router
            .get("/garbled", "")
            .await
            .starts_with("HTTP/1.1 503 ")
    );
    let line = router.last_line().await;
    assert!(
        line.contains("code=H17") && line.contains("response="),
        "{line}"
    );
}

#[tokio::test]
async fn bodies_are_streamed_both_ways() {
    let router = Router::start().await;
    let chunked = "POST /echo HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
                   5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n";
    assert!(router.raw(chunked).await.ends_with("\r\n\r\nhello!"));
    let answer = router.get("/stream", "").await;
    assert!(
        answer.contains("3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_broken_response_does_not_look_complete() {
    let router = Router::start().await;
    let answer = router.get("/broken", "").await;
    assert!(
        answer.contains("one") && !answer.ends_with("0\r\n\r\n"),
        "{answer}"
    );
    assert!(router.last_line().await.contains("code=H18"));
}

#[tokio::test]
async fn head_has_no_body() {
    let router = Router::start().await;
    let answer = router
        .raw("HEAD / HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n\r\n")
        .await;
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let router = Router::start().await;
    let one = "POST /echo HTTP/1.1\r\nHost: app.example\r\nContent-Length: 1\r\n\r\n1";
    let two = "POST /echo HTTP/1.1\r\nHost: app.example\r\nContent-Length: 1\r\nConnection: close\r\n\r\n2";
    let answer = router.raw(&format!("{one}{two}")).await;
    let bodies: Vec<&str> = answer
        .split("\r\n\r\n")
        .skip(1)
        .map(|part| &part[..1])
        .collect();
    assert_eq!(bodies, ["1", "2"], "{answer}");
}

#[tokio::test]
async fn a_slow_head_is_timed_out() {
    let limits = ServerLimits {
        head: Duration::from_millis(200),
        ..ServerLimits::default()
    };
    let router = Router::start_with(limits).await;
    // The connection closes by itself, or this fails after five seconds.
    let answer = router.raw("GET / HTTP/1.1\r\nHost: app").await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 408 "),
        "{answer}"
    );
}

#[tokio::test]
async fn a_client_that_says_nothing_or_no_more_loses_its_connection() {
    let limits = ServerLimits {
        head: Duration::from_millis(100),
        idle: Duration::from_millis(100),
        park: Duration::from_millis(30),
        ..ServerLimits::default()
    };
    let router = Router::start_with(limits).await;
    let http2 = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let once = "GET / HTTP/1.1\r\nHost: app.example\r\n\r\n";
    for start in ["", "PRI * HTTP", http2, once] {
        // The connection closes by itself, or this fails after five seconds.
        router.raw(start).await;
    }
}

#[tokio::test]
async fn a_request_that_names_its_host_twice_shows_the_app_the_one_it_was_routed_by() {
    let router = Router::start().await;
    let answer = router
        .raw("GET http://user@app.example/head HTTP/1.1\r\nHost: other.example\r\nConnection: close\r\n\r\n")
        .await;
    assert!(
        answer.contains("HTTP_HOST\0app.example\0") && !answer.contains("other.example"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_client_that_goes_away_is_h27() {
    let router = Router::start().await;
    let mut stream = TcpStream::connect(router.address).await.unwrap();
    stream
        .write_all(b"GET /slow HTTP/1.1\r\nHost: app.example\r\n\r\n")
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    stream.set_zero_linger().unwrap();
    drop(stream);
    let line = router.last_line().await;
    assert!(
        line.starts_with("at=warning code=H27") && line.contains("status=499"),
        "{line}"
    );
}
