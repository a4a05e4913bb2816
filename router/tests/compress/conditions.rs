//! Conditional and range requests of clients that have a compressed or an uncompressed response.

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

/// Starts a router whose cache has a page.
async fn cached() -> TestRouter {
    let router = TestRouter::with_app(app(|_| AppResponse::new(200, &HEADERS, &text(5000)))).await;
    router.get("/").await;
    router
}

#[tokio::test]
async fn the_etag_of_a_compressed_response_is_revalidated() {
    let router = cached().await;
    // The first round is before the cache has stored the compressed variant, the second one after.
    for _ in 0..2 {
        let got = router
            .get_with("/", &[GZIP, ("If-None-Match", "W/\"a;gzip\"")])
            .await;
        assert_eq!((got.status, got.header("etag")), (304, "W/\"a;gzip\""));
        assert_eq!(
            (got.header("vary"), got.bytes.len()),
            ("accept-encoding", 0)
        );
        let got = router.get_with("/", &[GZIP]).await;
        assert_eq!((got.coding(), got.header("etag")), ("gzip", "W/\"a;gzip\""));
    }
    // A client with the uncompressed response gets a 304 with its ETag, although it would get gzip now.
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
async fn a_304_has_the_matching_etag_of_the_list() {
    let router = cached().await;
    for (list, tag) in [
        ("W/\"b;gzip\", \"a\"", "\"a\""),
        ("\"b\", W/\"a;gzip\"", "W/\"a;gzip\""),
    ] {
        let got = router.get_with("/", &[GZIP, ("If-None-Match", list)]).await;
        assert_eq!((got.status, got.header("etag")), (304, tag), "{list}");
    }
}

#[tokio::test]
async fn the_etag_of_a_coding_that_is_no_longer_accepted_does_not_match() {
    let router = cached().await;
    let tag = ("If-None-Match", "W/\"a;gzip\"");
    let identity = ("Accept-Encoding", "identity");
    let no_transform = ("Cache-Control", "no-transform");
    for headers in [&[tag, identity][..], &[tag, GZIP, no_transform], &[tag]] {
        let got = router.get_with("/", headers).await;
        assert_eq!((got.status, got.coding()), (200, ""), "{headers:?}");
    }
}

#[tokio::test]
async fn if_match_with_the_etag_of_a_compressed_response_reaches_the_app_unchanged() {
    let router = TestRouter::with_app(app(|asked| {
        let condition = asked.get("HTTP_IF_MATCH");
        AppResponse::new(206, &[("X-Condition", &condition)], "")
    }))
    .await;
    let tag = "W/\"a;gzip\"";
    let headers = [GZIP, ("Range", "bytes=100-"), ("If-Match", tag)];
    // If-Match never matches a weak ETag, so the app will answer 412.
    let got = router.get_with("/", &headers).await;
    assert_eq!(got.header("x-condition"), tag);
}

#[tokio::test]
async fn the_app_sees_its_own_etag_and_the_client_the_one_of_the_compressed_response() {
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
    // ETags of the app itself pass unchanged.
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
async fn if_range_never_combines_compressed_and_uncompressed_parts() {
    let router = cached().await;
    let rest = |condition, accept| {
        let router = &router;
        async move {
            let headers = [("Range", "bytes=100-"), ("If-Range", condition), accept];
            router.get_with("/", &headers).await
        }
    };
    for condition in ["W/\"a;gzip\"", LONG_AGO] {
        let got = rest(condition, GZIP).await;
        assert_eq!((got.status, got.coding()), (200, "gzip"), "{condition}");
        assert_eq!(got.text(), text(5000));
    }
    // A client with the first bytes of the uncompressed page gets the rest.
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
async fn if_range_with_a_date_is_removed_for_clients_that_accept_a_coding() {
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

#[tokio::test]
async fn each_coding_has_its_own_etag_and_a_304_is_never_for_an_unacceptable_one() {
    for tag in ["\"a\"", "W/\"a\"", "a"] {
        let headers = [
            ("Content-Type", "text/html"),
            ("Cache-Control", "max-age=60"),
            ("ETag", tag),
        ];
        let router =
            TestRouter::with_app(app(move |_| AppResponse::new(200, &headers, &text(5000)))).await;
        let get = |accept: &str, condition: &str| {
            let (router, accept, condition) = (&router, accept.to_owned(), condition.to_owned());
            async move {
                let headers = [
                    ("Accept-Encoding", accept.as_str()),
                    ("If-None-Match", condition.as_str()),
                ];
                router.get_with("/", &headers).await
            }
        };
        let mut tags = vec![router.get("/").await.header("etag").to_owned()];
        // The first round compresses each response, the second one uses the stored variants.
        for _ in 0..2 {
            for coding in ["gzip", "br", "zstd"] {
                let got = router.get_with("/", &[("Accept-Encoding", coding)]).await;
                assert_eq!((got.status, got.coding()), (200, coding), "{tag}");
                let coded = got.header("etag").to_owned();
                let own = get(coding, &coded).await;
                assert_eq!((own.status, own.header("etag")), (304, coded.as_str()));
                for other in ["gzip", "br", "zstd"].into_iter().filter(|c| *c != coding) {
                    let got = get(other, &coded).await;
                    assert_eq!((got.status, got.coding()), (200, other), "{tag} {coded}");
                    let both = format!("{coding}, {other}");
                    let got = get(&both, &format!("\"x\", {coded}")).await;
                    assert_eq!((got.status, got.header("etag")), (304, coded.as_str()));
                }
                tags.push(coded);
            }
        }
        tags.sort();
        tags.dedup();
        assert_eq!(tags.len(), 4, "{tags:?}");
    }
}

#[tokio::test]
async fn an_encoded_response_never_has_an_etag_that_it_shares() {
    // No client can return this tag inside of quotes.
    let headers = [("Content-Type", "text/html"), ("ETag", "a b")];
    let router =
        TestRouter::with_app(app(move |_| AppResponse::new(200, &headers, &text(5000)))).await;
    assert_eq!(router.get("/").await.header("etag"), "a b");
    let got = router.get_with("/", &[GZIP]).await;
    assert_eq!((got.coding(), got.header("etag")), ("gzip", ""));
}
