//! WebSockets between clients and an app that takes connections over.

#![allow(
    clippy::unwrap_used,
    reason = "a fixture that fails has to fail its test"
)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use corundum_exchange::{ClientConnection, ConnectionLink, DynoBody, RequestBody};
use corundum_router::failure::Failure;
use corundum_router::limits::Limits;
use corundum_router_test_support::grid::{AppResponse, FakeApp, UnreadRequest, fields};
use corundum_router_test_support::router::TestRouter;
use http_body_util::Empty;
use hyper::ext::Protocol;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// The app's end of the last connection.
type TakenConnection = Arc<Mutex<Option<(UnixStream, Arc<ConnectionLink>)>>>;

/// An app that takes each connection over and writes `response` to it.
fn taking(response: &'static [u8], taken: &TakenConnection) -> FakeApp {
    let taken = taken.clone();
    Box::new(move |request: UnreadRequest| {
        let taken = taken.clone();
        Box::pin(async move {
            let fields = fields(&request.head);
            assert_eq!(fields["HTTP_UPGRADE"], b"websocket");
            assert_eq!(fields["REQUEST_METHOD"], b"GET");
            assert_eq!(fields["REQUEST_URI"], b"/chat?room=1");
            assert!(!fields["HTTP_SEC_WEBSOCKET_KEY"].is_empty());
            let RequestBody::Connection(ClientConnection { socket, link }) = request.body else {
                return Err(Failure::ClosedWithoutResponse);
            };
            socket.set_nonblocking(true).unwrap();
            let mut socket = UnixStream::from_std(socket).unwrap();
            socket.write_all(response).await.unwrap();
            *taken.lock().unwrap() = Some((socket, link));
            Ok(AppResponse {
                status: corundum_abi::CONNECTION_TAKEN,
                headers: Vec::new(),
                body: DynoBody::Full(Bytes::new()),
            })
        })
    })
}

const SWITCH: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: abc\r\nSec-WebSocket-Protocol: chat\r\n\r\n\x81\x02hi";

const REQUEST: &[u8] = b"GET /chat?room=1 HTTP/1.1\r\nHost: app.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

async fn router(response: &'static [u8], limits: Limits) -> (TestRouter, TakenConnection) {
    let taken = TakenConnection::default();
    let router = TestRouter::with_limits(taking(response, &taken), limits).await;
    (router, taken)
}

fn take(taken: &TakenConnection) -> (UnixStream, Arc<ConnectionLink>) {
    taken.lock().unwrap().take().unwrap()
}

/// Connects, and reads the response and the frame that follows it.
async fn open(router: &TestRouter) -> TcpStream {
    let mut client = router.connect().await;
    client.write_all(REQUEST).await.unwrap();
    let mut response = Vec::new();
    while !response.ends_with(b"\x81\x02hi") {
        let read = client.read_buf(&mut response).await.unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&response));
    }
    let head = String::from_utf8_lossy(&response).to_lowercase();
    for part in [
        "http/1.1 101 ",
        "connection: upgrade",
        "sec-websocket-accept: abc",
        "sec-websocket-protocol: chat",
    ] {
        assert!(head.contains(part), "{part} is missing in {head}");
    }
    client
}

async fn read(stream: &mut (impl AsyncReadExt + Unpin), length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await.unwrap();
    bytes
}

#[tokio::test]
async fn bytes_pass_both_ways_until_the_app_closes() {
    let (router, taken) = router(SWITCH, Limits::default()).await;
    let mut client = open(&router).await;
    let (mut app, link) = take(&taken);
    // Neither direction is read as HTTP, and both hold large messages.
    client
        .write_all(b"\x00GET / HTTP/1.1\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(read(&mut app, 19).await, b"\x00GET / HTTP/1.1\r\n\r\n");
    let large = vec![7; 3 << 20];
    let (_, received) = tokio::join!(
        async { app.write_all(&large).await.unwrap() },
        read(&mut client, large.len())
    );
    assert_eq!(received, large);
    drop(app);
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    let line = router.line_with("status=101").await;
    assert!(
        line.contains(&format!("bytes={}", large.len() + 4)),
        "{line}"
    );
    assert!(link.is_client_gone());
}

#[tokio::test]
async fn client_that_goes_is_the_end_of_the_apps_input() {
    let (router, taken) = router(SWITCH, Limits::default()).await;
    let client = open(&router).await;
    let (mut app, link) = take(&taken);
    drop(client);
    assert_eq!(app.read(&mut [0]).await.unwrap(), 0);
    assert!(!link.is_client_gone(), "the app may still write");
    drop(app);
    router.line_with("status=101").await;
    assert!(link.is_client_gone());
}

#[tokio::test]
async fn silent_connection_is_closed_and_one_with_traffic_is_not() {
    let limits = Limits {
        client_idle: Duration::from_secs(2),
        ..Limits::default()
    };
    let (router, taken) = router(SWITCH, limits).await;
    let mut client = open(&router).await;
    let (mut app, _) = take(&taken);
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        client.write_all(b"x").await.unwrap();
        read(&mut app, 1).await;
    }
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    router.line_with("code=H15").await;
}

#[tokio::test]
async fn retired_connection_is_closed_between_two_frames() {
    let (router, taken) = router(SWITCH, Limits::default()).await;
    let mut client = open(&router).await;
    let (mut app, link) = take(&taken);
    app.write_all(b"\x82\x05abc").await.unwrap();
    assert_eq!(read(&mut client, 5).await, b"\x82\x05abc");
    link.retire();
    tokio::time::sleep(Duration::from_millis(100)).await;
    app.write_all(b"de").await.unwrap();
    assert_eq!(read(&mut client, 6).await, b"de\x88\x02\x03\xe9");
    drop(client);
    router.line_with("status=101").await;
}

#[tokio::test]
async fn http2_opens_a_websocket_by_extended_connect() {
    let (router, taken) = router(SWITCH, Limits::default()).await;
    let stream = TokioIo::new(router.connect().await);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)
            .await
            .unwrap();
    tokio::spawn(connection);
    // The server has to say first that it knows the method.
    sender.ready().await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let request = http::Request::connect("http://app.example/chat?room=1")
        .extension(Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13");
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
    for name in ["sec-websocket-accept", "upgrade", "connection"] {
        assert!(!response.headers().contains_key(name), "{name}");
    }
    let mut client = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    assert_eq!(read(&mut client, 4).await, b"\x81\x02hi");
    let (mut app, link) = take(&taken);
    client.write_all(b"to the app").await.unwrap();
    assert_eq!(read(&mut app, 10).await, b"to the app");
    link.retire();
    assert_eq!(read(&mut client, 4).await, b"\x88\x02\x03\xe9");
    drop(client);
    let line = router.line_with("status=101").await;
    assert!(line.contains("protocol=http2"), "{line}");
}

#[tokio::test]
async fn app_that_writes_no_switch_of_protocols_fails() {
    for (response, code) in [
        (&b"HTTP/1.1 200 OK\r\n\r\n"[..], "code=H17"),
        (b"\x81\x02hi\r\n\r\n", "code=H17"),
    ] {
        let (router, _taken) = router(response, Limits::default()).await;
        let mut client = router.connect().await;
        client.write_all(REQUEST).await.unwrap();
        let head = read(&mut client, 12).await;
        assert_eq!(head, b"HTTP/1.1 503");
        router.line_with(code).await;
    }
}
