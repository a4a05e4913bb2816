//! Encoded forms of what the cache has.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use corundum_router::cache::{Cache, CacheStats, PurgeScope};
use corundum_router::compress::Compression;

use corundum_abi::names::ReleaseVersion;
use corundum_router_test_support::encoding::text;
use corundum_router_test_support::grid::{App, AppResponse, app};
use corundum_router_test_support::response::ClientResponse;
use corundum_router_test_support::router::TestRouter;

const GZIP: (&str, &str) = ("Accept-Encoding", "gzip");

/// An app whose page is another each time that it is asked for, and fresh for a minute.
fn by_turn(bytes: usize) -> App {
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

fn stats(router: &TestRouter) -> CacheStats {
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
    let router = TestRouter::with_app(by_turn(20_000)).await;
    let first = router.get_with("/", &[GZIP]).await;
    assert_eq!((first.x_cache(), first.coding()), ("MISS", "gzip"));
    let plain = stats(&router);
    assert_eq!((plain.entries, plain.compressed), (1, 0));
    let kept = hit(&router).await;
    assert_eq!(kept.header("content-length"), kept.bytes.len().to_string());
    assert_eq!(
        (kept.header("etag"), kept.header("vary")),
        ("W/\"a;encoded\"", "accept-encoding")
    );
    assert_eq!(kept.header("cache-control"), "max-age=60");
    for _ in 0..20 {
        let again = hit(&router).await;
        assert_eq!((&again.bytes, again.text()), (&kept.bytes, first.text()));
    }
    let with = stats(&router);
    assert_eq!(
        (with.entries, with.compressed, router.requests()),
        (1, 1, 1)
    );
    assert!(with.bytes > plain.bytes + kept.bytes.len() as u64);
    // Another coding is another form.
    let got = router
        .get_with("/", &[("Accept-Encoding", "gzip, br")])
        .await;
    assert_eq!((got.coding(), got.text()), ("br", first.text()));
    assert_eq!(stats(&router).compressed, 2);
    // Who asks for none, or for a part, gets what the app said.
    let got = router.get("/").await;
    assert_eq!(
        (got.coding(), got.header("etag"), got.text()),
        ("", "\"a\"", first.text())
    );
    let got = router.get_with("/", &[GZIP, ("Range", "bytes=0-3")]).await;
    assert_eq!(
        (got.status, got.coding(), got.body.as_str()),
        (206, "", "0 <l")
    );
}

#[tokio::test]
async fn a_range_that_is_not_given_does_not_have_the_page_compressed_again() {
    let router = TestRouter::with_app(by_turn(20_000)).await;
    router.get("/").await;
    let kept = hit(&router).await;
    for range in [
        &[("Range", "lines=1-2")][..],
        &[("Range", "bytes=0-,0-")],
        // More than the page has, and less than its form.
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
async fn head_has_the_length_of_the_form_that_is_kept() {
    let router = TestRouter::with_app(by_turn(20_000)).await;
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
async fn a_large_page_is_compressed_beside_the_router_while_clients_get_it_in_parts() {
    let router = TestRouter::with_app(by_turn(1 << 20)).await;
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
    panic!("no form was kept");
}

#[tokio::test]
async fn what_is_purged_is_gone_in_all_its_forms() {
    let router = TestRouter::with_app(by_turn(20_000)).await;
    router.get("/").await;
    assert!(hit(&router).await.text().starts_with("0 "));
    let app = "app".parse().unwrap();
    assert_eq!(
        router.cache.purge(&app, &PurgeScope::App),
        1,
        "a form is not counted"
    );
    assert_eq!((stats(&router).bytes, router.cache.size().bytes), (0, 0));
    let new = router.get_with("/", &[GZIP]).await;
    assert!(new.x_cache() == "MISS" && new.text().starts_with("1 "));
    assert!(hit(&router).await.text().starts_with("1 "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_form_of_what_was_purged_is_served_however_many_ask_meanwhile() {
    let router = Arc::new(TestRouter::with_app(by_turn(5000)).await);
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
            // Who waits for what was asked for before may have that; nobody else.
            let shared = got.header("cache-status").contains("collapsed");
            assert!(turn >= made || shared, "{turn} of {made}: {got:?}");
        }
    }
    busy.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_release_has_forms_of_its_own_and_a_rollback_finds_the_old_ones() {
    let router = TestRouter::with_app(by_turn(20_000)).await;
    router
        .grid
        .configure(|app| app.release = Some((ReleaseVersion(1), Some(1))));
    router.get("/").await;
    assert!(hit(&router).await.text().starts_with("0 "));
    router
        .grid
        .configure(|app| app.release = Some((ReleaseVersion(2), Some(2))));
    assert!(router.get_with("/", &[GZIP]).await.text().starts_with("1 "));
    assert!(hit(&router).await.text().starts_with("1 "));
    router
        .grid
        .configure(|app| app.release = Some((ReleaseVersion(3), Some(1))));
    assert!(hit(&router).await.text().starts_with("0 "));
    assert_eq!(stats(&router).compressed, 2);
}

#[tokio::test]
async fn a_response_that_takes_anothers_place_is_never_served_in_the_old_form() {
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
async fn a_validated_response_is_served_in_the_form_of_the_new_one() {
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
async fn forms_are_bounded_by_the_cache_that_they_are_in() {
    let router = TestRouter::with_cache(by_turn(20_000), Cache::new(1 << 20)).await;
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
async fn with_compression_off_no_form_is_made_and_none_that_is_there_is_served() {
    let router = TestRouter::with_app(by_turn(20_000)).await;
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
