//! Header fields that the router removes, passes on and adds.

use corundum_router_test_support::router::TestRouter;

#[tokio::test]
async fn hop_by_hop_headers_are_removed_in_both_directions() {
    let router = TestRouter::start().await;
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
        assert!(!answer.contains(name), "{name} passes: {answer}");
    }
    assert!(
        answer.contains("HTTP_X_KEPT") && answer.contains("HTTP_HOST\0app.example"),
        "{answer}"
    );
}

#[tokio::test]
async fn forwarding_headers_are_appended_or_replaced() {
    let router = TestRouter::start().await;
    let headers = "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n";
    let answer = router.get_raw("/head", headers).await;
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
async fn an_invalid_request_id_is_replaced() {
    let router = TestRouter::start().await;
    for bad in ["a b", &"x".repeat(201), "a\"b"] {
        let answer = router
            .get_raw("/", &format!("X-Request-Id: {bad}\r\n"))
            .await;
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
async fn the_app_sees_the_host_of_the_absolute_target_in_place_of_host() {
    let router = TestRouter::start().await;
    let answer = router
        .raw("GET http://user@app.example/head HTTP/1.1\r\nHost: other.example\r\nConnection: close\r\n\r\n")
        .await;
    assert!(
        answer.contains("HTTP_HOST\0app.example\0") && !answer.contains("other.example"),
        "{answer}"
    );
}
