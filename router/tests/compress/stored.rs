//! Compressed variants of stored responses.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use corundum_router::cache::{Cache, CacheSnapshot, PurgeScope};
use corundum_router::compress::Compression;

use corundum_abi::names::ReleaseVersion;
use corundum_router_test_support::encoding::text;
use corundum_router_test_support::grid::{AppResponse, FakeApp, app};
use corundum_router_test_support::response::ClientResponse;
use corundum_router_test_support::router::TestRouter;

const GZIP: (&str, &str) = ("Accept-Encoding", "gzip");

/// Makes an app whose page contains the number of earlier requests and is fresh for a minute.
fn counting_app(bytes: usize) -> FakeApp {
    let turn = AtomicUsize::new(0);
    app(move |_| {
        let turn = turn.fetch_add(1, Ordering::SeqCst);
        let headers = [
            ("Content-Type", "text/html"),
            ("Cache-Control", "max-age=60"),
            ("ETag", "\"a\""),
        ];
        AppResponse::new(200, &headers, &format!("{turn} {}", text(bytes)))
    })
}

fn stats(router: &TestRouter) -> CacheSnapshot {
    router.cache.stats(&"app".parse().unwrap())
}

async fn hit(router: &TestRouter) -> ClientResponse {
    let got = router.get_with("/", &[GZIP]).await;
    assert_eq!((got.x_cache(), got.coding()), ("HIT", "gzip"));
    assert!(got.complete);
    got
}

#[tokio::test]
async fn a_page_is_compressed_once_for_all_hits() {
    let router = TestRouter::with_app(counting_app(20_000)).await;
    let own = router.get_with("/", &[GZIP]).await;
    assert_eq!((own.x_cache(), own.coding()), ("MISS", "gzip"));
    // The app saw this client's header, so the response is not stored. The next one is made without it.
    assert_eq!(stats(&router).entries, 0);
    let first = router.get_with("/", &[GZIP]).await;
    assert_eq!((first.x_cache(), first.coding()), ("MISS", "gzip"));
    let plain = stats(&router);
    assert_eq!((plain.entries, plain.compressed), (1, 0));
    let kept = hit(&router).await;
    assert_eq!(kept.header("content-length"), kept.bytes.len().to_string());
    assert_eq!(
        (kept.header("etag"), kept.header("vary")),
        ("W/\"a;gzip\"", "accept-encoding")
    );
    assert_eq!(kept.header("cache-control"), "max-age=60");
    for _ in 0..20 {
        let again = hit(&router).await;
        assert_eq!((&again.bytes, again.text()), (&kept.bytes, first.text()));
    }
    let with = stats(&router);
    assert_eq!(
        (with.entries, with.compressed, router.requests()),
        (1, 1, 2)
    );
    assert!(with.bytes > plain.bytes + kept.bytes.len() as u64);
    // Each coding is a variant of its own.
    let got = router
        .get_with("/", &[("Accept-Encoding", "gzip, br")])
        .await;
    assert_eq!((got.coding(), got.text()), ("br", first.text()));
    assert_eq!(stats(&router).compressed, 2);
    // A client without a coding, or with a range, gets the bytes of the app.
    let got = router.get("/").await;
    assert_eq!(
        (got.coding(), got.header("etag"), got.text()),
        ("", "\"a\"", first.text())
    );
    let got = router.get_with("/", &[GZIP, ("Range", "bytes=0-3")]).await;
    assert_eq!(
        (got.status, got.coding(), got.body.as_str()),
        (206, "", "1 <l")
    );
}

#[tokio::test]
async fn an_ignored_range_gets_the_stored_compressed_variant() {
    let router = TestRouter::with_app(counting_app(20_000)).await;
    router.get("/").await;
    let kept = hit(&router).await;
    for range in [
        &[("Range", "lines=1-2")][..],
        &[("Range", "bytes=0-,0-")],
        // The ranges have more bytes than the page, so they are ignored.
        &[("Range", "bytes=0-9,100-20001,5000-20001")],
        &[("Range", "bytes=0-3"), ("If-Range", "\"b\"")],
    ] {
        let got = router.get_with("/", &[&[GZIP], range].concat()).await;
        assert_eq!((got.status, got.coding()), (200, "gzip"), "{range:?}");
        assert_eq!(got.header("content-length"), kept.header("content-length"));
        assert_eq!(got.bytes, kept.bytes, "{range:?}");
    }
}

#[tokio::test]
async fn a_head_request_has_the_length_of_the_stored_variant() {
    let router = TestRouter::with_app(counting_app(20_000)).await;
    router.get("/").await;
    let before = router.send("HEAD", "/", &[GZIP], "").await;
    assert_eq!(
        (before.coding(), before.header("content-length")),
        ("gzip", "")
    );
    assert_eq!(stats(&router).compressed, 0);
    let kept = hit(&router).await;
    let after = router.send("HEAD", "/", &[GZIP], "").await;
    let length = kept.bytes.len().to_string();
    assert_eq!(
        (after.coding(), after.header("content-length")),
        ("gzip", length.as_str())
    );
}

#[tokio::test]
async fn a_large_page_is_compressed_in_the_background_and_streamed_meanwhile() {
    let router = TestRouter::with_app(counting_app(1 << 20)).await;
    let first = router.get("/").await.body;
    for _ in 0..500 {
        let got = hit(&router).await;
        assert_eq!(got.text(), first);
        if !got.header("content-length").is_empty() {
            assert_eq!((stats(&router).compressed, router.requests()), (1, 1));
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no variant was stored");
}

#[tokio::test]
async fn a_purge_removes_all_variants() {
    let router = TestRouter::with_app(counting_app(20_000)).await;
    router.get("/").await;
    assert!(hit(&router).await.text().starts_with("0 "));
    let app = "app".parse().unwrap();
    assert_eq!(
        router.cache.purge(&app, &PurgeScope::App),
        1,
        "a variant is counted as an entry"
    );
    assert_eq!((stats(&router).bytes, router.cache.size().bytes), (0, 0));
    let new = router.get("/").await;
    assert!(new.x_cache() == "MISS" && new.text().starts_with("1 "));
    assert!(hit(&router).await.text().starts_with("1 "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn purged_variants_are_not_served_to_concurrent_requests() {
    let router = Arc::new(TestRouter::with_app(counting_app(5000)).await);
    let busy: Vec<_> = (0..4)
        .map(|_| {
            let router = router.clone();
            tokio::spawn(async move {
                loop {
                    router.get_with("/", &[GZIP]).await;
                }
            })
        })
        .collect();
    let app = "app".parse().unwrap();
    for _ in 0..60 {
        let made = router.requests();
        router.cache.purge(&app, &PurgeScope::App);
        for _ in 0..3 {
            let got = router.get_with("/", &[GZIP]).await;
            let turn: usize = got.text().split(' ').next().unwrap().parse().unwrap();
            // Only a request that waited for an earlier fetch may get the earlier page.
            let shared = got.header("cache-status").contains("collapsed");
            assert!(turn >= made || shared, "{turn} of {made}: {got:?}");
        }
    }
    busy.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_rollback_hits_the_compressed_variants_of_its_content() {
    let router = TestRouter::with_app(counting_app(20_000)).await;
    router
        .grid
        .configure(|app| app.release = Some((ReleaseVersion(1), Some(1))));
    router.get("/").await;
    assert!(hit(&router).await.text().starts_with("0 "));
    router
        .grid
        .configure(|app| app.release = Some((ReleaseVersion(2), Some(2))));
    assert!(router.get("/").await.text().starts_with("1 "));
    assert!(hit(&router).await.text().starts_with("1 "));
    router
        .grid
        .configure(|app| app.release = Some((ReleaseVersion(3), Some(1))));
    assert!(hit(&router).await.text().starts_with("0 "));
    assert_eq!(stats(&router).compressed, 2);
}

#[tokio::test]
async fn a_replaced_response_is_never_served_from_the_old_variant() {
    let turn = AtomicUsize::new(0);
    let router = TestRouter::with_app(app(move |_| {
        let turn = turn.fetch_add(1, Ordering::SeqCst);
        let headers = [
            ("Content-Type", "text/html"),
            ("Cache-Control", "max-age=1"),
        ];
        AppResponse::new(200, &headers, &format!("{turn} {}", text(20_000)))
    }))
    .await;
    router.get("/").await;
    for turn in 0..3 {
        let begins = format!("{turn} ");
        assert!(hit(&router).await.text().starts_with(&begins));
        assert!(hit(&router).await.text().starts_with(&begins));
        tokio::time::sleep(Duration::from_millis(2100)).await;
        let begins = format!("{} ", turn + 1);
        assert!(
            router
                .get_with("/", &[GZIP])
                .await
                .text()
                .starts_with(&begins)
        );
    }
    assert_eq!(stats(&router).entries, 1);
}

#[tokio::test]
async fn a_revalidated_response_is_compressed_with_its_new_headers() {
    let router = TestRouter::with_app(app(|asked| {
        let fresh = "max-age=1";
        let headers = [
            ("Content-Type", "text/html"),
            ("Cache-Control", fresh),
            ("ETag", "\"a\""),
        ];
        match asked.get("HTTP_IF_NONE_MATCH").as_str() {
            "\"a\"" => AppResponse::new(
                304,
                &[("ETag", "\"a\""), ("X-New", "1"), ("Cache-Control", fresh)],
                "",
            ),
            _ => AppResponse::new(200, &headers, &text(20_000)),
        }
    }))
    .await;
    router.get("/").await;
    assert_eq!(hit(&router).await.header("x-new"), "");
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let got = router.get_with("/", &[GZIP]).await;
    assert_eq!((got.x_cache(), got.coding()), ("REVALIDATED", "gzip"));
    let got = hit(&router).await;
    assert_eq!((got.header("x-new"), got.text()), ("1", text(20_000)));
    assert_eq!(got.header("vary"), "accept-encoding");
}

#[tokio::test]
async fn variants_count_towards_the_size_of_the_cache() {
    let router = TestRouter::with_cache(counting_app(20_000), Cache::new(1 << 20)).await;
    for page in 0..100 {
        for _ in 0..3 {
            let got = router.get_with(&format!("/{page}"), &[GZIP]).await;
            assert!(got.coding() == "gzip" && got.text().ends_with(&text(20_000)));
        }
    }
    let size = router.cache.size();
    assert!(size.bytes <= size.capacity, "{size:?}");
    assert!(stats(&router).bytes <= size.capacity);
}

#[tokio::test]
async fn stored_variants_are_not_served_with_compression_off() {
    let router = TestRouter::with_app(counting_app(20_000)).await;
    router.get("/").await;
    hit(&router).await;
    router
        .grid
        .configure(|app| app.compression = Compression::Off);
    let got = router.get_with("/", &[GZIP]).await;
    assert_eq!(
        (got.x_cache(), got.coding(), got.header("etag")),
        ("HIT", "", "\"a\"")
    );
    assert_eq!(stats(&router).compressed, 1);
}
