//! Graceful shutdown: open connections serve their last request.

use std::time::Duration;

use corundum_router::limits::Limits;
use corundum_router::server::ServerLimits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use corundum_router_test_support::router::{TestRouter, read_to_close};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: app.example\r\n\r\n";

/// Opens a connection and sends a request over it.
async fn connect_and_request(router: &TestRouter) -> TcpStream {
    let mut stream = router.connect().await;
    stream.write_all(REQUEST).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"hello") {
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0);
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(!answer.contains("connection: close"), "{answer}");
    stream
}

#[tokio::test]
async fn a_stopped_router_answers_one_more_request_per_connection_and_closes_it() {
    let mut router = TestRouter::start().await;
    let (mut old, mut new) = (connect_and_request(&router).await, router.connect().await);
    // The router accepts the new connection before it is stopped.
    tokio::time::sleep(Duration::from_millis(100)).await;
    router.stop();
    tokio::time::sleep(Duration::from_millis(100)).await;
    for stream in [&mut old, &mut new] {
        stream.write_all(REQUEST).await.unwrap();
        let answer = read_to_close(stream).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
        assert!(answer.ends_with("hello"), "{answer}");
    }
    assert!(TcpStream::connect(router.address).await.is_err());
}

#[tokio::test]
async fn a_stopped_router_closes_idle_connections() {
    let server = ServerLimits {
        linger: Duration::from_millis(200),
        park: Duration::from_millis(50),
        ..ServerLimits::default()
    };
    let mut router = TestRouter::start_with(server, Limits::default()).await;
    let (mut old, mut new) = (connect_and_request(&router).await, router.connect().await);
    let mut parked = connect_and_request(&router).await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    router.stop();
    for stream in [&mut old, &mut new, &mut parked] {
        assert_eq!(read_to_close(stream).await, "");
    }
}
