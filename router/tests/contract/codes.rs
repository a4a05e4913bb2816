//! Error codes: the response to the client and the line in the log of the app, for each code.

use std::sync::atomic::Ordering;
use std::time::Duration;

use corundum_router::limits::Limits;
use corundum_router::server::ServerLimits;
use tokio::io::AsyncWriteExt;

use corundum_router_test_support::router::TestRouter;
use corundum_router_test_support::wait::wait_until;

/// Asserts the response and the log line of a path at which the grid fails.
async fn assert_failure(path: &str, status: u16, level: &str, code: &str, description: &str) {
    let router = TestRouter::start().await;
    let answer = router.get_raw(path, "").await;
    assert!(
        answer.starts_with(&format!("HTTP/1.1 {status} ")),
        "{answer}"
    );
    assert!(answer.contains("cache-control: no-store"), "{answer}");
    assert!(answer.contains(&format!("<code>{code}</code>")), "{answer}");
    let line = router.first_line().await;
    let start = format!("at={level} code={code} desc=\"{description}\" method=GET path=\"{path}\"");
    assert!(line.starts_with(&start), "{line}");
    assert!(line.contains(&format!(" status={status} ")), "{line}");
}

/// Returns limits with short timeouts.
fn short_timeouts() -> Limits {
    Limits {
        client_idle: Duration::from_millis(150),
        dyno_idle: Duration::from_millis(150),
        ..Limits::default()
    }
}

#[tokio::test]
async fn h10_app_crashed_is_503() {
    assert_failure("/H10", 503, "error", "H10", "App crashed").await;
}

#[tokio::test]
async fn h11_backlog_too_deep_is_503() {
    assert_failure("/H11", 503, "error", "H11", "Backlog too deep").await;
}

#[tokio::test]
async fn h12_request_timeout_is_503() {
    assert_failure("/H12", 503, "error", "H12", "Request timeout").await;
}

#[tokio::test]
async fn h13_connection_closed_without_response_is_503() {
    let description = "Connection closed without response";
    assert_failure("/H13", 503, "error", "H13", description).await;
}

#[tokio::test]
async fn h14_no_web_processes_is_503() {
    assert_failure("/H14", 503, "error", "H14", "No web processes running").await;
}

#[tokio::test]
async fn h15_a_dyno_idle_in_its_response_ends_the_request() {
    let router = TestRouter::start_with(ServerLimits::default(), short_timeouts()).await;
    let answer = router.get_raw("/stuck", "").await;
    assert!(
        answer.contains("one") && !answer.ends_with("0\r\n\r\n"),
        "{answer}"
    );
    let line = router.first_line().await;
    assert!(
        line.starts_with("at=error code=H15 desc=\"Idle connection\""),
        "{line}"
    );
    assert!(
        line.contains(" dyno=web.1 ") && line.contains(" status=503 bytes=3 "),
        "{line}"
    );
}

#[tokio::test]
async fn h17_a_malformed_response_is_503_and_logged_with_its_line() {
    let description = "Poorly formatted HTTP response";
    assert_failure("/H17", 503, "error", "H17", description).await;
    let router = TestRouter::start().await;
    router.get_raw("/H17", "").await;
    let line = router.first_line().await;
    assert!(
        line.ends_with("response=\"not a header line: \\\"Hello\\\"\""),
        "{line}"
    );
    // The client did not request an upgrade, so 101 is malformed.
    router.get_raw("/interim", "").await;
    assert!(
        router
            .line_with("path=\"/interim\"")
            .await
            .contains("code=H17")
    );
}

#[tokio::test]
async fn h18_a_dyno_that_ends_in_its_response_is_logged() {
    let router = TestRouter::start().await;
    router.get_raw("/broken", "").await;
    let line = router.first_line().await;
    assert!(
        line.starts_with("at=error code=H18 desc=\"Server Request Interrupted\""),
        "{line}"
    );
    assert!(line.contains(" status=503 bytes=3 "), "{line}");
}

#[tokio::test]
async fn h20_app_boot_timeout_is_503() {
    assert_failure("/H20", 503, "error", "H20", "App boot timeout").await;
}

#[tokio::test]
async fn h22_requests_over_the_limit_of_the_app_are_503() {
    let limits = Limits {
        requests: 1,
        ..Limits::default()
    };
    let router = TestRouter::start_with(ServerLimits::default(), limits).await;
    let mut first = router.connect().await;
    first
        .write_all(b"GET /slow HTTP/1.1\r\nHost: app.example\r\n\r\n")
        .await
        .unwrap();
    wait_until("a dyno is busy", || {
        router.grid.observed.busy.load(Ordering::SeqCst) > 0
    })
    .await;
    let answer = router.get_raw("/", "").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    let line = router.first_line().await;
    assert!(
        line.starts_with("at=error code=H22 desc=\"Connection limit reached\""),
        "{line}"
    );
    // The limit is per app, and a disconnect frees its slot.
    let other = "GET / HTTP/1.1\r\nHost: other.example\r\nConnection: close\r\n\r\n";
    assert!(router.raw(other).await.starts_with("HTTP/1.1 200 "));
    first.set_zero_linger().unwrap();
    drop(first);
    router.line_with("code=H27").await;
    assert!(router.get_raw("/", "").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn h25_a_too_large_response_head_is_502() {
    let description = "HTTP restriction: response head too large";
    for path in ["/long-head", "/many-headers", "/H25"] {
        assert_failure(path, 502, "error", "H25", description).await;
    }
}

#[tokio::test]
async fn h26_request_errors_are_400_or_417_and_logged() {
    let router = TestRouter::start().await;
    let answer = router.get_raw("/a", "Expect: magic\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 417 "), "{answer}");
    let line = router.first_line().await;
    assert!(
        line.starts_with("at=error code=H26 desc=\"Request Error\""),
        "{line}"
    );
    assert!(
        line.contains("host=app.example") && line.contains("status=417"),
        "{line}"
    );
    assert!(
        router
            .get_raw("/a%00", "")
            .await
            .starts_with("HTTP/1.1 400 ")
    );
}

#[tokio::test]
async fn h27_a_disconnected_client_is_logged_as_a_warning_with_499() {
    let router = TestRouter::start().await;
    let mut stream = router.connect().await;
    stream
        .write_all(b"GET /slow HTTP/1.1\r\nHost: app.example\r\n\r\n")
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(stream);
    let line = router.first_line().await;
    let start = "at=warning code=H27 desc=\"Client Request Interrupted\"";
    assert!(
        line.starts_with(start) && line.contains(" status=499 "),
        "{line}"
    );
}

#[tokio::test]
async fn h28_a_client_idle_in_its_body_is_logged_as_a_warning_with_499() {
    let router = TestRouter::start_with(ServerLimits::default(), short_timeouts()).await;
    let request = "POST /echo HTTP/1.1\r\nHost: app.example\r\nContent-Length: 10\r\n\r\nhalf";
    let answer = router.raw(request).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    let line = router.first_line().await;
    let start = "at=warning code=H28 desc=\"Client Connection Idle\"";
    assert!(
        line.starts_with(start) && line.contains(" status=499 "),
        "{line}"
    );
    assert!(
        router.grid.observed.requests.lock().unwrap().is_empty(),
        "a dyno got the request"
    );
}

/// `tests/tls.rs` tests the check itself with real certificates.
#[test]
fn h31_misdirected_request_is_421() {
    let failure = corundum_router::failure::Failure::Misdirected;
    assert_eq!((failure.code(), failure.status().as_u16()), ("H31", 421));
    assert_eq!(failure.description(), "Misdirected Request");
}

#[tokio::test]
async fn h80_maintenance_mode_is_503_and_logged_as_info() {
    assert_failure("/H80", 503, "info", "H80", "Maintenance mode").await;
}

#[tokio::test]
async fn h81_blank_app_is_503_and_logged_as_info() {
    assert_failure("/H81", 503, "info", "H81", "Blank app").await;
}
