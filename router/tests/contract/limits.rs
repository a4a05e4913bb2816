//! Limits on the size and the duration of requests.

use std::time::Duration;

use corundum_router::limits::Limits;
use corundum_router::server::ServerLimits;

use corundum_router_test_support::grid::AppSettings;
use corundum_router_test_support::router::TestRouter;

#[tokio::test]
async fn invalid_requests_get_their_status_without_a_dyno() {
    let router = TestRouter::start().await;
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
async fn too_many_headers_are_431() {
    let router = TestRouter::start().await;
    let headers: String = (0..150).map(|index| format!("X-{index}: 1\r\n")).collect();
    assert!(
        router
            .get_raw("/", &headers)
            .await
            .starts_with("HTTP/1.1 431 ")
    );
}

#[tokio::test]
async fn an_incomplete_head_times_out() {
    let limits = ServerLimits {
        head: Duration::from_millis(200),
        ..ServerLimits::default()
    };
    let router = TestRouter::start_with(limits, Limits::default()).await;
    // `raw` fails unless the router closes the connection within 5 s.
    let answer = router.raw("GET / HTTP/1.1\r\nHost: app").await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 408 "),
        "{answer}"
    );
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let limits = ServerLimits {
        head: Duration::from_millis(100),
        idle: Duration::from_millis(100),
        park: Duration::from_millis(30),
        ..ServerLimits::default()
    };
    let router = TestRouter::start_with(limits, Limits::default()).await;
    let http2 = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let once = "GET / HTTP/1.1\r\nHost: app.example\r\n\r\n";
    for start in ["", "PRI * HTTP", http2, once] {
        // `raw` fails unless the router closes the connection within 5 s.
        router.raw(start).await;
    }
}

#[tokio::test]
async fn a_body_over_the_limit_of_the_app_is_413_with_and_without_a_length() {
    let settings = AppSettings {
        max_body: Some(10),
        ..AppSettings::default()
    };
    let router =
        TestRouter::start_with_settings(settings, ServerLimits::default(), Limits::default()).await;
    let chunk = "b\r\n12345678901\r\n0\r\n\r\n";
    for (headers, body) in [
        ("Content-Length: 11\r\n", "12345678901"),
        ("Transfer-Encoding: chunked\r\n", chunk),
    ] {
        let answer = router
            .raw(format!("POST /echo HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n{headers}\r\n{body}"))
            .await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    }
    assert!(router.line_with("code=H26").await.contains("status=413"));
    assert!(router.grid.observed.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_streamed_body_over_the_limit_of_the_app_is_413() {
    let settings = AppSettings {
        max_body: Some(100_000),
        ..AppSettings::default()
    };
    let limits = Limits {
        request_buffer: 1000,
        ..Limits::default()
    };
    let router = TestRouter::start_with_settings(settings, ServerLimits::default(), limits).await;
    let chunk = format!("2710\r\n{}\r\n", "x".repeat(10_000)).repeat(11);
    let answer = router
        .raw(format!("POST /echo HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n"))
        .await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}
