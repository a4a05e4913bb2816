//! Slow clients do not occupy dynos.

use std::sync::atomic::Ordering;
use std::time::Duration;

use corundum_router::limits::Limits;
use corundum_router::server::ServerLimits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use corundum_router_test_support::http1::{AnswerTo, ResponseReader};
use corundum_router_test_support::router::{TestRouter, read_to_close};
use corundum_router_test_support::wait::wait_until;

/// Connects with a small receive buffer, so that unread bytes stay in the router.
async fn connect_narrow(router: &TestRouter) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(router.address).await.unwrap()
}

#[tokio::test]
async fn a_request_body_is_buffered_before_dispatch() {
    let router = TestRouter::start().await;
    let mut stream = router.connect().await;
    let head = "POST /echo HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\nContent-Length: 10\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    for piece in ["slow", "ly", "now"] {
        stream.write_all(piece.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(
            router.grid.observed.busy.load(Ordering::SeqCst),
            0,
            "a dyno has an incomplete body"
        );
    }
    stream.write_all(b"!").await.unwrap();
    let answer = read_to_close(&mut stream).await;
    assert!(answer.ends_with("slowlynow!"), "{answer}");
}

#[tokio::test]
async fn a_body_larger_than_the_request_buffer_is_streamed_to_a_dyno() {
    let limits = Limits {
        request_buffer: 4,
        ..Limits::default()
    };
    let router = TestRouter::start_with(ServerLimits::default(), limits).await;
    let mut stream = router.connect().await;
    let head = "POST /echo HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\nContent-Length: 10\r\n\r\n12345";
    stream.write_all(head.as_bytes()).await.unwrap();
    wait_until("a dyno is busy", || {
        router.grid.observed.busy.load(Ordering::SeqCst) == 1
    })
    .await;
    stream.write_all(b"67890").await.unwrap();
    let answer = read_to_close(&mut stream).await;
    assert!(answer.ends_with("1234567890"), "{answer}");
}

#[tokio::test]
async fn a_client_idle_in_a_streamed_body_gets_408_and_frees_the_dyno() {
    let limits = Limits {
        request_buffer: 4,
        client_idle: Duration::from_millis(150),
        ..Limits::default()
    };
    let router = TestRouter::start_with(ServerLimits::default(), limits).await;
    let head = "POST /echo HTTP/1.1\r\nHost: app.example\r\nContent-Length: 10\r\n\r\n12345";
    let answer = router.raw(head).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    router.line_with("code=H28").await;
    wait_until("the dyno is free", || {
        router.grid.observed.busy.load(Ordering::SeqCst) == 0
    })
    .await;
}

#[tokio::test]
async fn bodies_are_streamed_when_the_memory_budget_is_used_up() {
    let limits = Limits {
        buffers: 8,
        ..Limits::default()
    };
    let router = TestRouter::start_with(ServerLimits::default(), limits).await;
    let mut stream = router.connect().await;
    let head = "POST /echo HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\nContent-Length: 20\r\n\r\n12345";
    stream.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(router.grid.observed.busy.load(Ordering::SeqCst), 0);
    stream.write_all(b"67890").await.unwrap();
    wait_until("a dyno is busy", || {
        router.grid.observed.busy.load(Ordering::SeqCst) == 1
    })
    .await;
    stream.write_all(b"1234567890").await.unwrap();
    let answer = read_to_close(&mut stream).await;
    assert!(answer.ends_with("12345678901234567890"), "{answer}");
}

#[tokio::test]
async fn a_response_in_the_buffer_frees_its_dyno() {
    let limits = Limits {
        response_buffer: 32 << 20,
        ..Limits::default()
    };
    let router = TestRouter::start_with(ServerLimits::default(), limits).await;
    let mut stream = connect_narrow(&router).await;
    stream
        .write_all(b"GET /large HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    wait_until("the dyno has written all", || {
        router.grid.observed.written.load(Ordering::SeqCst) == 16 << 20
    })
    .await;
    wait_until("the dyno is free", || {
        router.grid.observed.busy.load(Ordering::SeqCst) == 0
    })
    .await;
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.unwrap();
    assert!(all.len() > 16 << 20 && all.ends_with(b"0\r\n\r\n"));
}

#[tokio::test]
async fn a_client_that_does_not_read_is_disconnected_and_its_dyno_freed() {
    let limits = Limits {
        response_buffer: 256 << 10,
        client_idle: Duration::from_millis(200),
        ..Limits::default()
    };
    let router = TestRouter::start_with(ServerLimits::default(), limits).await;
    let mut stream = connect_narrow(&router).await;
    stream
        .write_all(b"GET /large HTTP/1.1\r\nHost: app.example\r\n\r\n")
        .await
        .unwrap();
    let line = router.line_with("code=H28").await;
    assert!(
        line.starts_with("at=warning") && line.contains(" status=499 "),
        "{line}"
    );
    wait_until("the dyno is free", || {
        router.grid.observed.busy.load(Ordering::SeqCst) == 0
    })
    .await;
    assert!(router.grid.observed.written.load(Ordering::SeqCst) < 16 << 20);
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all).await;
    assert!(
        !all.ends_with(b"0\r\n\r\n"),
        "the truncated response looks complete"
    );
}

#[tokio::test]
async fn a_client_that_does_not_read_a_compressed_response_frees_its_dyno() {
    const REQUEST: &[u8] =
        b"GET /noise HTTP/1.1\r\nHost: app.example\r\nAccept-Encoding: gzip\r\n\r\n";
    let bounded = |response_buffer| Limits {
        response_buffer,
        client_idle: Duration::from_millis(500),
        ..Limits::default()
    };
    let free = async |router: &TestRouter| {
        let idle = || router.grid.observed.busy.load(Ordering::SeqCst) == 0;
        wait_until("the dyno is free", idle).await;
        router.grid.observed.written.load(Ordering::SeqCst)
    };
    let router = TestRouter::start_with(ServerLimits::default(), bounded(8 << 20)).await;
    let mut stream = connect_narrow(&router).await;
    stream.write_all(REQUEST).await.unwrap();
    wait_until("the response starts", || {
        router.grid.observed.written.load(Ordering::SeqCst) > 0
    })
    .await;
    assert_eq!(free(&router).await, 4 << 20);
    // A client with a response larger than the buffer is disconnected, and its response has no last chunk.
    let router = TestRouter::start_with(ServerLimits::default(), bounded(256 << 10)).await;
    let mut stream = connect_narrow(&router).await;
    stream.write_all(REQUEST).await.unwrap();
    let line = router.line_with("code=H28").await;
    assert!(line.contains(" status=499 "), "{line}");
    assert!(free(&router).await < 4 << 20);
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all).await;
    assert!(all.len() < 4 << 20 && !all.ends_with(b"0\r\n\r\n"));
    assert!(String::from_utf8_lossy(&all).contains("content-encoding: gzip"));
}

#[tokio::test]
async fn a_head_that_arrives_byte_by_byte_gets_408() {
    let limits = ServerLimits {
        head: Duration::from_millis(300),
        ..ServerLimits::default()
    };
    let router = TestRouter::start_with(limits, Limits::default()).await;
    let mut stream = router.connect().await;
    let (mut reading, mut writing) = stream.split();
    let send = async {
        for byte in b"GET / HTTP/1.1\r\nHost: app.example\r\nX: and so on and so on and so on"
            .iter()
            .cycle()
        {
            if writing.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let mut answer = vec![0; 12];
    let receive = reading.read_exact(&mut answer);
    tokio::select! {
        () = send => panic!("the head was accepted"),
        read = receive => read.unwrap(),
    };
    assert_eq!(answer, b"HTTP/1.1 408");
}

#[tokio::test]
async fn a_parked_connection_serves_further_requests() {
    let limits = ServerLimits {
        park: Duration::from_millis(20),
        ..ServerLimits::default()
    };
    let router = TestRouter::start_with(limits, Limits::default()).await;
    let stream = router.connect().await;
    let mut reader = ResponseReader::new(stream, Duration::from_secs(5));
    for _ in 0..3 {
        let request = b"GET / HTTP/1.1\r\nHost: app.example\r\n\r\n";
        // The first half wakes the parked connection.
        reader.stream().write_all(&request[..20]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(60)).await;
        reader.stream().write_all(&request[20..]).await.unwrap();
        let response = reader.next(AnswerTo::Other).await.unwrap();
        assert_eq!((response.status, &response.body[..]), (200, &b"hello"[..]));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
