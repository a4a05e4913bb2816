//! Slow clients: none keeps a dyno.

use std::sync::atomic::Ordering;
use std::time::Duration;

use corundum_router::limits::Limits;
use corundum_router::server::ServerLimits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use corundum_router_test_support::http1::{AnswerTo, ResponseReader};
use corundum_router_test_support::router::{TestRouter, read_to_close};
use corundum_router_test_support::wait::wait_until;

/// A client whose kernel takes little, so that what it does not read stays with the router.
async fn narrow(router: &TestRouter) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(router.address).await.unwrap()
}

#[tokio::test]
async fn a_body_is_gathered_before_a_dyno_is_taken() {
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
            "no dyno has half a body"
        );
    }
    stream.write_all(b"!").await.unwrap();
    let answer = read_to_close(&mut stream).await;
    assert!(answer.ends_with("slowlynow!"), "{answer}");
}

#[tokio::test]
async fn a_body_longer_than_the_bound_goes_on_while_a_dyno_has_it() {
    let limits = Limits {
        request_buffer: 4,
        ..Limits::default()
    };
    let router = TestRouter::start_with(ServerLimits::default(), limits).await;
    let mut stream = router.connect().await;
    let head = "POST /echo HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\nContent-Length: 10\r\n\r\n12345";
    stream.write_all(head.as_bytes()).await.unwrap();
    wait_until("a dyno has it", || {
        router.grid.observed.busy.load(Ordering::SeqCst) == 1
    })
    .await;
    stream.write_all(b"67890").await.unwrap();
    let answer = read_to_close(&mut stream).await;
    assert!(answer.ends_with("1234567890"), "{answer}");
}

#[tokio::test]
async fn a_client_that_stops_while_a_dyno_reads_its_body_is_given_up() {
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
async fn without_room_on_the_node_bodies_pass_as_they_come() {
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
    wait_until("a dyno has it", || {
        router.grid.observed.busy.load(Ordering::SeqCst) == 1
    })
    .await;
    stream.write_all(b"1234567890").await.unwrap();
    let answer = read_to_close(&mut stream).await;
    assert!(answer.ends_with("12345678901234567890"), "{answer}");
}

#[tokio::test]
async fn a_dyno_is_free_when_its_response_waits_for_a_slow_client() {
    let limits = Limits {
        response_buffer: 32 << 20,
        ..Limits::default()
    };
    let router = TestRouter::start_with(ServerLimits::default(), limits).await;
    let mut stream = narrow(&router).await;
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
async fn a_client_that_reads_nothing_loses_its_connection_and_the_dyno_is_free() {
    let limits = Limits {
        response_buffer: 256 << 10,
        client_idle: Duration::from_millis(200),
        ..Limits::default()
    };
    let router = TestRouter::start_with(ServerLimits::default(), limits).await;
    let mut stream = narrow(&router).await;
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
        "what was cut off does not look complete"
    );
}

#[tokio::test]
async fn nor_does_one_keep_a_dyno_whose_response_is_compressed() {
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
    let mut stream = narrow(&router).await;
    stream.write_all(REQUEST).await.unwrap();
    wait_until("it begins", || {
        router.grid.observed.written.load(Ordering::SeqCst) > 0
    })
    .await;
    assert_eq!(free(&router).await, 4 << 20);
    // One with more than may wait loses its connection, and what was cut off does not look complete.
    let router = TestRouter::start_with(ServerLimits::default(), bounded(256 << 10)).await;
    let mut stream = narrow(&router).await;
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
async fn a_slow_head_gets_408_however_steadily_it_comes() {
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
        () = send => panic!("never answered"),
        read = receive => read.unwrap(),
    };
    assert_eq!(answer, b"HTTP/1.1 408");
}

#[tokio::test]
async fn a_connection_between_requests_serves_again_after_it_was_parked() {
    let limits = ServerLimits {
        park: Duration::from_millis(20),
        ..ServerLimits::default()
    };
    let router = TestRouter::start_with(limits, Limits::default()).await;
    let stream = router.connect().await;
    let mut reader = ResponseReader::new(stream, Duration::from_secs(5));
    for _ in 0..3 {
        let request = b"GET / HTTP/1.1\r\nHost: app.example\r\n\r\n";
        // In two halves, so that it is woken by one.
        reader.stream().write_all(&request[..20]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(60)).await;
        reader.stream().write_all(&request[20..]).await.unwrap();
        let response = reader.next(AnswerTo::Other).await.unwrap();
        assert_eq!((response.status, &response.body[..]), (200, &b"hello"[..]));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
