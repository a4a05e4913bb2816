//! Behaviour of the cache: hits, validation, stale responses, purges, and header fields.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use corundum_router::cache::PurgeScope;
use corundum_router::failure::Failure;

use corundum_abi::names::ReleaseVersion;
use corundum_router_test_support::grid::{AppRequest, AppResponse, FakeApp, app, async_app};
use corundum_router_test_support::router::TestRouter;

/// Makes an app whose response depends on the number of earlier requests.
fn counting_app(
    answer: impl Fn(usize, &AppRequest) -> AppResponse + Send + Sync + 'static,
) -> FakeApp {
    let turn = AtomicUsize::new(0);
    app(move |asked| answer(turn.fetch_add(1, Ordering::SeqCst), asked))
}

async fn seconds(number: u64) {
    tokio::time::sleep(Duration::from_millis(1000 * number + 100)).await;
}

#[tokio::test]
async fn a_hit_has_an_age_and_is_logged() {
    let router = TestRouter::with_app(app(|_| AppResponse::page("page"))).await;
    let miss = router.get("/").await;
    assert_eq!(
        (miss.x_cache(), miss.header("cache-status")),
        ("MISS", "corundum; fwd=uri-miss; stored")
    );
    seconds(1).await;
    let hit = router.get("/").await;
    assert_eq!(
        (hit.x_cache(), hit.header("age"), hit.header("cache-status")),
        ("HIT", "1", "corundum; hit; ttl=59")
    );
    assert_eq!(
        (hit.header("date"), hit.body.as_str()),
        (miss.header("date"), "page")
    );
    assert_ne!(hit.header("x-request-id"), miss.header("x-request-id"));
    let line = router.line(2).await;
    assert!(
        line.contains(" dyno= ") && line.contains(" bytes=4 ") && line.contains(" cache=hit "),
        "{line}"
    );
    assert!(router.line(1).await.contains(" cache=miss "));
}

#[tokio::test]
async fn a_head_request_hits_the_stored_get_response() {
    let router = TestRouter::with_app(app(|_| AppResponse::page("page"))).await;
    router.get("/").await;
    let head = router.send("HEAD", "/", &[], "").await;
    assert_eq!(
        (
            head.x_cache(),
            head.header("content-length"),
            head.body.as_str()
        ),
        ("HIT", "4", "")
    );
}

#[tokio::test]
async fn conditional_and_range_requests_are_answered_from_the_stored_response() {
    let router = TestRouter::with_app(app(|_| {
        AppResponse::new(
            200,
            &[
                ("Cache-Control", "max-age=60"),
                ("ETag", "\"a\""),
                ("Content-Type", "text/plain"),
            ],
            "0123456789",
        )
    }))
    .await;
    router.get("/").await;
    let got = router.get_with("/", &[("If-None-Match", "\"a\"")]).await;
    assert_eq!(
        (got.status, got.header("etag"), got.body.as_str()),
        (304, "\"a\"", "")
    );
    let got = router.get_with("/", &[("Range", "bytes=2-4")]).await;
    assert_eq!(
        (got.status, got.header("content-range"), got.body.as_str()),
        (206, "bytes 2-4/10", "234")
    );
    let got = router.get_with("/", &[("Range", "bytes=20-")]).await;
    assert_eq!(
        (got.status, got.header("content-range")),
        (416, "bytes */10")
    );
    let got = router
        .get_with("/", &[("Range", "bytes=2-4"), ("If-Range", "\"b\"")])
        .await;
    assert_eq!((got.status, got.body.as_str()), (200, "0123456789"));
    let got = router.get_with("/", &[("Range", "bytes=0-1,-2")]).await;
    let boundary = got
        .header("content-type")
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap();
    let part = |range: &str, text: &str| {
        format!(
            "\r\n--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes {range}/10\r\n\r\n{text}"
        )
    };
    assert_eq!(
        got.body,
        format!(
            "{}{}\r\n--{boundary}--\r\n",
            part("0-1", "01"),
            part("8-9", "89")
        )
    );
    assert_eq!(router.requests(), 1);
}

#[tokio::test]
async fn failed_precondition_gets_412_from_a_stored_response() {
    let modified = "Wed, 01 Jan 2020 00:00:00 GMT";
    let router = TestRouter::with_app(app(move |_| {
        AppResponse::new(
            200,
            &[
                ("Cache-Control", "max-age=60"),
                ("ETag", "\"a\""),
                ("Last-Modified", modified),
            ],
            "page",
        )
    }))
    .await;
    router.get("/").await;
    let earlier = "Tue, 31 Dec 2019 00:00:00 GMT";
    for (condition, status, body) in [
        (("If-Match", "\"b\""), 412, ""),
        (("If-Match", "\"a\""), 200, "page"),
        (("If-Unmodified-Since", earlier), 412, ""),
        (("If-Unmodified-Since", modified), 200, "page"),
    ] {
        let got = router.get_with("/", &[condition]).await;
        assert_eq!(
            (got.status, got.body.as_str()),
            (status, body),
            "{condition:?}"
        );
    }
    assert_eq!(router.requests(), 1);
}

#[tokio::test]
async fn a_conditional_request_hits_once_the_response_is_stored() {
    let router = TestRouter::with_app(app(|asked| {
        let headers = [("Cache-Control", "max-age=60"), ("ETag", "\"a\"")];
        match asked.get("HTTP_IF_NONE_MATCH").as_str() {
            "" => AppResponse::new(200, &headers, "page"),
            _ => AppResponse::new(304, &headers, ""),
        }
    }))
    .await;
    let asks = [("If-None-Match", "\"a\"")];
    // The 304 of the app passes; then a request without conditions fills the cache.
    assert_eq!(router.get_with("/", &asks).await.status, 304);
    assert_eq!(router.get("/").await.body, "page");
    let got = router.get_with("/", &asks).await;
    assert_eq!(
        (got.status, got.x_cache(), router.requests()),
        (304, "HIT", 2)
    );
}

#[tokio::test]
async fn a_stale_response_is_revalidated_with_its_validators() {
    let router = TestRouter::with_app(counting_app(|turn, asked| {
        let fresh = ["max-age=1", "max-age=60"][turn.min(1)];
        match asked.get("HTTP_IF_NONE_MATCH").as_str() {
            "\"a\"" => AppResponse::new(
                304,
                &[("Cache-Control", fresh), ("ETag", "\"a\""), ("X-New", "1")],
                "",
            ),
            _ => AppResponse::new(200, &[("Cache-Control", fresh), ("ETag", "\"a\"")], "page"),
        }
    }))
    .await;
    router.get("/").await;
    seconds(1).await;
    for x_cache in ["REVALIDATED", "HIT"] {
        let got = router.get("/").await;
        assert_eq!(
            (
                got.status,
                got.body.as_str(),
                got.x_cache(),
                got.header("x-new")
            ),
            (200, "page", x_cache, "1")
        );
    }
    assert_eq!(router.requests(), 2);
    assert!(router.line(2).await.contains(" dyno=web.1 "));
}

#[tokio::test]
async fn a_stale_response_is_served_while_it_is_revalidated() {
    let router = TestRouter::with_app(counting_app(|turn, _| {
        AppResponse::new(
            200,
            &[("Cache-Control", "max-age=1, stale-while-revalidate=60")],
            &turn.to_string(),
        )
    }))
    .await;
    router.get("/").await;
    seconds(1).await;
    let got = router.get("/").await;
    assert_eq!((got.body.as_str(), got.x_cache()), ("0", "STALE"));
    // The third line is the background refresh.
    router.line(3).await;
    let got = router.get("/").await;
    assert_eq!(
        (got.body.as_str(), got.x_cache(), router.requests()),
        ("1", "HIT", 2)
    );
}

#[tokio::test]
async fn a_stale_response_replaces_an_error_if_its_directives_allow_it() {
    for (cache_control, with_503, crashed) in [
        ("max-age=1, stale-if-error=60", 200, 200),
        ("max-age=1", 503, 200),
        ("max-age=1, must-revalidate", 503, 503),
        ("s-maxage=1", 503, 503),
    ] {
        let turn = AtomicUsize::new(0);
        let answers = async_app(move |_| {
            let turn = turn.fetch_add(1, Ordering::SeqCst);
            async move {
                match turn {
                    0 => Ok(AppResponse::new(
                        200,
                        &[("Cache-Control", cache_control)],
                        "page",
                    )),
                    1 => Ok(AppResponse::new(503, &[], "down")),
                    _ => Err(Failure::AppCrashed),
                }
            }
        });
        let router = TestRouter::with_app(answers).await;
        router.get("/").await;
        seconds(1).await;
        assert_eq!(router.get("/").await.status, with_503, "{cache_control}");
        if with_503 == 200 {
            assert_eq!(router.get("/").await.status, crashed, "{cache_control}");
        }
    }
}

#[tokio::test]
async fn an_unsafe_method_invalidates_its_target_and_location() {
    let router = TestRouter::with_app(app(|asked| match asked.get("REQUEST_METHOD").as_str() {
        "GET" => AppResponse::page("page"),
        _ if asked.get("PATH_INFO") == "/fails" => AppResponse::new(500, &[], ""),
        _ => AppResponse::new(
            303,
            &[
                ("Location", "/there"),
                ("Content-Location", "http://other.example/elsewhere"),
            ],
            "",
        ),
    }))
    .await;
    let targets = ["/here", "/there", "/elsewhere", "/fails"];
    for target in targets {
        router.get(target).await;
    }
    router.send("POST", "/here", &[], "x").await;
    router.send("DELETE", "/fails", &[], "").await;
    let mut got = Vec::new();
    for target in targets {
        got.push(router.get(target).await.x_cache().to_owned());
    }
    assert_eq!(got, ["MISS", "MISS", "HIT", "HIT"]);
}

#[tokio::test]
async fn an_app_purges_by_tag_url_and_everything_with_a_hidden_header() {
    let router = TestRouter::with_app(app(|asked| match asked.get("PATH_INFO").as_str() {
        "/purge" => AppResponse::new(200, &[("Cache-Purge", &asked.get("QUERY_STRING"))], "done"),
        path => AppResponse::new(
            200,
            &[
                ("Cache-Control", "max-age=60"),
                (
                    "Cache-Tag",
                    &format!("all-pages,page{}", path.replace('/', "-")),
                ),
            ],
            path,
        ),
    }))
    .await;
    let all = ["/a", "/b", "/c"];
    for (order, left) in [
        ("tag=page-a", &["/b", "/c"][..]),
        ("url=\"/b\"", &["/a", "/c"]),
        ("tag=all-pages", &[]),
        ("all", &[]),
        ("tag=other", &all),
    ] {
        for target in all {
            assert_eq!(router.get(target).await.header("cache-tag"), "");
        }
        let got = router
            .get(&format!("/purge?{}", order.replace('"', "%22")))
            .await;
        assert_eq!(got.header("cache-purge"), "");
        // The query keeps its percent-encoding, so a quoted order has no effect here.
        let _ = order;
        let mut hits = Vec::new();
        for target in all {
            if router.get(target).await.x_cache() == "HIT" {
                hits.push(target);
            }
        }
        if !order.contains('"') {
            assert_eq!(hits, left, "{order}");
        }
    }
}

#[tokio::test]
async fn the_operator_purges_and_reads_statistics() {
    let router = TestRouter::with_app(app(|_| {
        AppResponse::new(
            200,
            &[
                ("Cache-Control", "max-age=60"),
                ("Surrogate-Key", "one two"),
            ],
            "page",
        )
    }))
    .await;
    let app = "app".parse().unwrap();
    for target in ["/", "/", "/b?c", "/d"] {
        router.get(target).await;
    }
    router.send("POST", "/z", &[], "").await;
    let stats = router.cache.stats(&app);
    assert_eq!(
        (stats.hits, stats.misses, stats.bypassed, stats.entries),
        (1, 3, 1, 3)
    );
    assert!((stats.hit_ratio().unwrap() - 0.25).abs() < 1e-9 && stats.bytes > 0);
    let url = |target: &str| PurgeScope::Url {
        host: "app.example".into(),
        target: target.into(),
    };
    assert_eq!(router.cache.purge(&app, &url("/b?c")), 1);
    assert_eq!(
        router
            .cache
            .purge(&"other".parse().unwrap(), &PurgeScope::Tag("two".into())),
        0
    );
    assert_eq!(router.cache.purge(&app, &PurgeScope::Tag("two".into())), 2);
    assert_eq!(router.cache.stats(&app).entries, 0);
    router.get("/").await;
    router.cache.remove_app(&app);
    assert_eq!(router.cache.all_stats(), []);
}

#[tokio::test]
async fn a_response_purged_while_it_is_fetched_is_not_stored() {
    let (started, go) = (
        std::sync::Arc::new(tokio::sync::Notify::new()),
        std::sync::Arc::new(tokio::sync::Notify::new()),
    );
    let (starts, goes) = (started.clone(), go.clone());
    let answers = async_app(move |_| {
        let (starts, goes) = (starts.clone(), goes.clone());
        async move {
            starts.notify_one();
            goes.notified().await;
            Ok(AppResponse::page("page"))
        }
    });
    let router = TestRouter::with_app(answers).await;
    let purge = async {
        started.notified().await;
        router
            .cache
            .purge(&"app".parse().unwrap(), &PurgeScope::App);
        go.notify_one();
    };
    let (got, ()) = tokio::join!(router.get("/"), purge);
    assert_eq!(
        got.header("cache-status"),
        "corundum; fwd=uri-miss; detail=purged"
    );
    assert_eq!(router.cache.stats(&"app".parse().unwrap()).entries, 0);
}

#[tokio::test]
async fn a_rollback_hits_the_responses_of_its_content() {
    let router =
        TestRouter::with_app(counting_app(|turn, _| AppResponse::page(&turn.to_string()))).await;
    router
        .grid
        .configure(|app| app.release = Some((ReleaseVersion(1), Some(11))));
    assert_eq!(router.get("/").await.body, "0");
    router
        .grid
        .configure(|app| app.release = Some((ReleaseVersion(2), Some(12))));
    assert_eq!(router.get("/").await.body, "1");
    router
        .grid
        .configure(|app| app.release = Some((ReleaseVersion(3), Some(11))));
    let got = router.get("/").await;
    assert_eq!((got.body.as_str(), got.x_cache()), ("0", "HIT"));
}

#[tokio::test]
async fn cache_specific_headers_take_precedence_and_are_removed() {
    let router = TestRouter::with_app(app(|_| {
        AppResponse::new(
            200,
            &[
                ("Surrogate-Control", "max-age=60"),
                ("Cache-Control", "no-store"),
                ("Surrogate-Key", "a"),
            ],
            "page",
        )
    }))
    .await;
    for x_cache in ["MISS", "HIT"] {
        let got = router.get("/").await;
        assert_eq!(
            (got.x_cache(), got.header("cache-control")),
            (x_cache, "no-store")
        );
        assert_eq!(
            (got.header("surrogate-control"), got.header("surrogate-key")),
            ("", "")
        );
    }
}

#[tokio::test]
async fn only_if_cached_starts_no_dyno() {
    let router = TestRouter::with_app(app(|_| AppResponse::page("page"))).await;
    let got = router
        .get_with("/", &[("Cache-Control", "only-if-cached")])
        .await;
    assert_eq!((got.status, router.requests()), (504, 0));
}

#[tokio::test]
async fn a_cache_of_size_zero_stores_nothing() {
    let router = TestRouter::with_cache(
        app(|_| AppResponse::page("page")),
        corundum_router::cache::Cache::new(0),
    )
    .await;
    for _ in 0..2 {
        assert_eq!(router.get("/").await.x_cache(), "BYPASS");
    }
    assert_eq!(router.requests(), 2);
}
