//! Fair shares of the router's pools: apps with slow clients leave the others theirs.

use std::sync::atomic::Ordering;
use std::time::Duration;

use corundum_router::limits::Limits;
use corundum_router::server::ServerLimits;
use corundum_router_test_support::router::TestRouter;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bytes that an encoder occupies.
const ENCODER: usize = 352 << 10;

async fn start(limits: Limits) -> TestRouter {
    TestRouter::start_with(ServerLimits::default(), limits).await
}

/// Reads the head of a response, and nothing after it.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let read = async {
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
    };
    let read = tokio::time::timeout(Duration::from_secs(20), read);
    read.await.expect("a head within 20 s");
    String::from_utf8(head).unwrap().to_ascii_lowercase()
}

async fn ask(router: &TestRouter, host: &str, path: &str) -> (TcpStream, String) {
    let mut stream = router.connect().await;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {host}.example\r\nAccept-Encoding: gzip\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let head = head(&mut stream).await;
    (stream, head)
}

#[tokio::test]
async fn slow_clients_of_one_app_leave_encoders_for_another() {
    let router = start(Limits {
        encoders: 9 * ENCODER,
        ..Limits::default()
    })
    .await;
    let mut held = Vec::new();
    for host in ["hog", "second"] {
        let mut encoded = 0;
        for _ in 0..8 {
            // Its client reads nothing, so the encoder stays in use.
            let (stream, head) = ask(&router, host, "/noise").await;
            encoded += usize::from(head.contains("content-encoding: gzip"));
            held.push(stream);
        }
        assert_eq!(encoded, if host == "hog" { 6 } else { 2 });
    }
    drop(held);
}

#[tokio::test]
async fn slow_clients_of_one_app_leave_buffers_for_the_bodies_of_another() {
    let router = start(Limits {
        buffers: 30_000,
        ..Limits::default()
    })
    .await;
    let mut held = Vec::new();
    let busy = || router.grid.observed.busy.load(Ordering::SeqCst);
    let post = |host: &'static str| {
        let router = &router;
        async move {
            let mut stream = router.connect().await;
            let head = format!(
                "POST /echo HTTP/1.1\r\nHost: {host}.example\r\nConnection: close\r\nContent-Length: 8000\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&[b'x'; 6000]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(200)).await;
            stream
        }
    };
    // The first bodies wait in the router, the next one occupies a dyno.
    while busy() == 0 {
        held.push(post("hog").await);
        assert!(held.len() < 20, "bodies beyond the share are streamed");
    }
    let hogged = busy();
    held.push(post("other").await);
    assert_eq!(busy(), hogged, "the other app's body waits in the router");
}

#[tokio::test]
async fn requests_of_two_apps_leave_places_for_a_third() {
    let router = start(Limits {
        requests: 8,
        ..Limits::default()
    })
    .await;
    let mut held = Vec::new();
    for host in ["one", "two"] {
        for _ in 0..12 {
            let mut stream = router.connect().await;
            let request = format!("GET /slow HTTP/1.1\r\nHost: {host}.example\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            held.push(stream);
        }
        router.line_with(&format!("code=H22 desc=\"Connection limit reached\" method=GET path=\"/slow\" host={host}.example")).await;
    }
    for _ in 0..2 {
        let (stream, head) = ask(&router, "third", "/head").await;
        assert!(head.starts_with("http/1.1 200 "), "{head}");
        held.push(stream);
    }
}
