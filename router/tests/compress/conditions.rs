//! Conditions and ranges of clients that have one form or the other.

use std::sync::atomic::{AtomicUsize, Ordering};

use corundum_router_test_support::encoding::text;
use corundum_router_test_support::grid::{AppResponse, app};
use corundum_router_test_support::router::TestRouter;

const GZIP: (&str, &str) = ("Accept-Encoding", "gzip");
const LONG_AGO: &str = "Wed, 01 Jan 2020 00:00:00 GMT";

const HEADERS: [(&str, &str); 4] = [
    ("Content-Type", "text/html"),
    ("Cache-Control", "max-age=60"),
    ("ETag", "\"a\""),
    ("Last-Modified", LONG_AGO),
];

/// An app whose page the cache stores.
async fn cached() -> TestRouter {
    let router = TestRouter::with_app(app(|_| AppResponse::new(200, &HEADERS, &text(5000)))).await;
    router.get("/").await;
    router
}

#[tokio::test]
async fn a_client_with_the_encoded_form_is_told_that_it_is_still_good() {
    let router = cached().await;
    // Before a form is kept, and after.
    for _ in 0..2 {
        let got = router
            .get_with("/", &[GZIP, ("If-None-Match", "W/\"a;encoded\"")])
            .await;
        assert_eq!((got.status, got.header("etag")), (304, "W/\"a;encoded\""));
        assert_eq!(
            (got.header("vary"), got.bytes.len()),
            ("accept-encoding", 0)
        );
        let got = router.get_with("/", &[GZIP]).await;
        assert_eq!(
            (got.coding(), got.header("etag")),
            ("gzip", "W/\"a;encoded\"")
        );
    }
    // Who has what the app said is told of that, whatever it would get now.
    let got = router
        .get_with("/", &[GZIP, ("If-None-Match", "\"a\"")])
        .await;
    assert_eq!((got.status, got.header("etag")), (304, "\"a\""));
    assert_eq!(
        (got.header("vary"), router.requests()),
        ("accept-encoding", 1)
    );
}

#[tokio::test]
async fn of_a_list_of_tags_it_is_the_one_that_is_still_good_which_comes_back() {
    let router = cached().await;
    for (list, tag) in [
        ("W/\"b;encoded\", \"a\"", "\"a\""),
        ("\"b\", W/\"a;encoded\"", "W/\"a;encoded\""),
    ] {
        let got = router.get_with("/", &[GZIP, ("If-None-Match", list)]).await;
        assert_eq!((got.status, got.header("etag")), (304, tag), "{list}");
    }
}

#[tokio::test]
async fn a_form_that_a_client_does_not_take_any_more_is_not_said_to_be_good_for_it() {
    let router = cached().await;
    let tag = ("If-None-Match", "W/\"a;encoded\"");
    let identity = ("Accept-Encoding", "identity");
    let no_transform = ("Cache-Control", "no-transform");
    for headers in [&[tag, identity][..], &[tag, GZIP, no_transform], &[tag]] {
        let got = router.get_with("/", headers).await;
        assert_eq!((got.status, got.coding()), (200, ""), "{headers:?}");
    }
}

#[tokio::test]
async fn a_part_is_not_asked_for_on_the_condition_of_an_encoded_form() {
    let router = TestRouter::with_app(app(|asked| {
        let condition = asked.get("HTTP_IF_MATCH");
        AppResponse::new(206, &[("X-Condition", &condition)], "")
    }))
    .await;
    let tag = "W/\"a;encoded\"";
    let headers = [GZIP, ("Range", "bytes=100-"), ("If-Match", tag)];
    // No weak tag matches one: the app will say 412.
    let got = router.get_with("/", &headers).await;
    assert_eq!(got.header("x-condition"), tag);
}

#[tokio::test]
async fn an_app_that_compares_tags_as_strings_sees_its_own_and_the_client_gets_its_own_back() {
    let router = TestRouter::with_app(app(|asked| {
        let headers = [("Content-Type", "text/html"), ("ETag", "\"a\"")];
        match (asked.get("HTTP_IF_NONE_MATCH"), asked.get("HTTP_IF_MATCH")) {
            (none, _) if none == "\"a\"" => AppResponse::new(304, &headers, ""),
            (_, only) if only == "\"a\"" => AppResponse::new(204, &headers, ""),
            (none, only) if none.is_empty() && only.is_empty() => {
                AppResponse::new(200, &headers, &text(5000))
            }
            _ => AppResponse::new(412, &headers, ""),
        }
    }))
    .await;
    let encoded = router.get_with("/", &[GZIP]).await;
    let tag = encoded.header("etag");
    let got = router.get_with("/", &[GZIP, ("If-None-Match", tag)]).await;
    assert_eq!((got.status, got.header("etag")), (304, tag));
    assert_eq!(got.header("vary"), "accept-encoding");
    let put = router
        .send("PUT", "/", &[GZIP, ("If-Match", tag)], "x")
        .await;
    assert_eq!(put.status, 204);
    // One that the app has made itself is left alone.
    let got = router
        .get_with("/", &[GZIP, ("If-None-Match", "\"a\"")])
        .await;
    assert_eq!(
        (got.status, got.header("etag"), got.header("vary")),
        (304, "\"a\"", "")
    );
    let got = router
        .get_with("/", &[GZIP, ("If-None-Match", "W/\"a\"")])
        .await;
    assert_eq!(got.status, 412);
}

#[tokio::test]
async fn the_rest_of_a_page_is_never_put_behind_the_beginning_of_its_encoded_form() {
    let router = cached().await;
    let rest = |condition, accept| {
        let router = &router;
        async move {
            let headers = [("Range", "bytes=100-"), ("If-Range", condition), accept];
            router.get_with("/", &headers).await
        }
    };
    for condition in ["W/\"a;encoded\"", LONG_AGO] {
        let got = rest(condition, GZIP).await;
        assert_eq!((got.status, got.coding()), (200, "gzip"), "{condition}");
        assert_eq!(got.text(), text(5000));
    }
    // Who has the very bytes gets the rest of them.
    for (condition, accept) in [("\"a\"", GZIP), (LONG_AGO, ("Accept-Encoding", "identity"))] {
        let got = rest(condition, accept).await;
        assert_eq!((got.status, got.coding()), (206, ""), "{condition}");
        assert_eq!(
            (got.body.as_str(), got.header("etag")),
            (&text(5000)[100..], "\"a\"")
        );
        assert_eq!(got.header("vary"), "accept-encoding");
    }
}

#[tokio::test]
async fn a_range_by_date_does_not_reach_the_app_either() {
    let ranges = std::sync::Arc::new(AtomicUsize::new(0));
    let seen = ranges.clone();
    let router = TestRouter::with_app(app(move |asked| {
        let some = usize::from(!asked.get("HTTP_RANGE").is_empty());
        seen.fetch_add(some, Ordering::SeqCst);
        AppResponse::new(200, &[("Content-Type", "text/html")], &text(5000))
    }))
    .await;
    let range = ("Range", "bytes=100-");
    router
        .get_with("/", &[range, ("If-Range", LONG_AGO), GZIP])
        .await;
    assert_eq!(ranges.load(Ordering::SeqCst), 0);
    router.get_with("/", &[range, ("If-Range", LONG_AGO)]).await;
    router.get_with("/", &[range, GZIP]).await;
    assert_eq!(ranges.load(Ordering::SeqCst), 2);
}
