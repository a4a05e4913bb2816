//! Failures: error pages and log lines.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use corundum_router_test_support::router::TestRouter;

#[tokio::test]
async fn clients_that_accept_json_get_json_errors_and_others_a_page() {
    let router = TestRouter::start().await;
    let html = router
        .get_raw("/none", "Accept: text/html,application/json;q=0.5\r\n")
        .await;
    assert!(
        html.starts_with("HTTP/1.1 503 ") && html.contains("<code>H14</code>"),
        "{html}"
    );
    let json = router
        .get_raw("/crashed", "Accept: application/json\r\n")
        .await;
    assert!(json.contains("\"code\":\"H10\""), "{json}");
    let line = router.grid.log().last().cloned().unwrap();
    assert!(
        line.starts_with("at=error code=H10 desc=\"App crashed\""),
        "{line}"
    );
}

#[tokio::test]
async fn a_malformed_response_header_is_h17() {
    let router = TestRouter::start().await;
    assert!(
        router
            .get_raw("/garbled", "")
            .await
            .starts_with("HTTP/1.1 503 ")
    );
    let line = router.first_line().await;
    assert!(
        line.contains("code=H17") && line.contains("response="),
        "{line}"
    );
}

#[tokio::test]
async fn a_response_that_breaks_off_has_no_last_chunk() {
    let router = TestRouter::start().await;
    let answer = router.get_raw("/broken", "").await;
    assert!(
        answer.contains("one") && !answer.ends_with("0\r\n\r\n"),
        "{answer}"
    );
    assert!(router.first_line().await.contains("code=H18"));
}

#[tokio::test]
async fn a_client_that_resets_its_connection_is_h27() {
    let router = TestRouter::start().await;
    let mut stream = router.connect().await;
    stream
        .write_all(b"GET /slow HTTP/1.1\r\nHost: app.example\r\n\r\n")
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    stream.set_zero_linger().unwrap();
    drop(stream);
    let line = router.first_line().await;
    assert!(
        line.starts_with("at=warning code=H27") && line.contains("status=499"),
        "{line}"
    );
}
