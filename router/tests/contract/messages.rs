//! Bodies, methods and connections.

use corundum_router_test_support::router::{TestRouter, read_to_close};

#[tokio::test]
async fn a_request_is_dispatched_and_logged() {
    let router = TestRouter::start().await;
    let answer = router.get_raw("/a?b=c", "X-Request-Id: mine\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
    assert!(answer.contains("x-request-id: mine\r\n"), "{answer}");
    let line = router.first_line().await;
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
async fn chunked_bodies_are_passed_in_both_directions() {
    let router = TestRouter::start().await;
    let chunked = "POST /echo HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
                   5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n";
    assert!(router.raw(chunked).await.ends_with("\r\n\r\nhello!"));
    let answer = router.get_raw("/stream", "").await;
    assert!(
        answer.contains("3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_head_response_has_no_body() {
    let router = TestRouter::start().await;
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
    let router = TestRouter::start().await;
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
async fn responses_of_204_and_304_have_no_body_and_no_length() {
    let router = TestRouter::start().await;
    for path in ["/204", "/304"] {
        let answer = router.get_raw(path, "").await;
        assert!(answer.ends_with("\r\n\r\n"), "{answer}");
        assert!(!answer.contains("transfer-encoding"), "{answer}");
        assert!(!answer.contains("content-length: 14"), "{answer}");
    }
}

#[tokio::test]
async fn http_1_0_responses_are_not_chunked_and_close_the_connection() {
    let router = TestRouter::start().await;
    let request = "GET /stream HTTP/1.0\r\nHost: app.example\r\n\r\n";
    let answer = router.raw(request).await;
    assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\nonetwo"), "{answer}");
    assert!(!answer.contains("transfer-encoding"), "{answer}");
}

#[tokio::test]
async fn trailers_are_dropped() {
    let router = TestRouter::start().await;
    let request = "POST /echo HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
                   5\r\nhello\r\n0\r\nX: trailer\r\n\r\n";
    let answer = router.raw(request).await;
    assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
    assert_eq!(
        *router.grid.observed.requests.lock().unwrap(),
        ["POST /echo|hello|"]
    );
}

#[tokio::test]
async fn a_chunked_body_has_a_content_length_for_the_app() {
    let router = TestRouter::start().await;
    let request = "POST /head HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
                   5\r\nhello\r\n0\r\n\r\n";
    assert!(router.raw(request).await.contains("CONTENT_LENGTH\x005\0"));
}

#[tokio::test]
async fn expect_100_continue_is_answered_before_the_body() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let router = TestRouter::start().await;
    let mut stream = router.connect().await;
    let head = "POST /echo HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hello").await.unwrap();
    let answer = read_to_close(&mut stream).await;
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("hello"),
        "{answer}"
    );
}

#[tokio::test]
async fn an_early_response_reaches_a_client_that_is_still_sending() {
    use tokio::io::AsyncWriteExt;
    let router = TestRouter::start().await;
    let mut stream = router.connect().await;
    let head = "POST /early HTTP/1.1\r\nHost: app.example\r\nContent-Length: 100000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    // The body exceeds the request buffer, so the app gets the request before the body is complete.
    for _ in 0..3 {
        let _ = stream.write_all(&vec![b'x'; 1 << 20]).await;
    }
    let answer = read_to_close(&mut stream).await;
    assert!(answer.ends_with("\r\n\r\nearly"), "{answer}");
}

#[tokio::test]
async fn a_websocket_that_the_app_does_not_take_is_any_request() {
    let router = TestRouter::start().await;
    let upgrade = "GET /chat HTTP/1.1\r\nHost: app.example\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let answer = router.raw(upgrade).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(!answer.to_lowercase().contains("upgrade"), "{answer}");
    router.line_with("status=200").await;
}
