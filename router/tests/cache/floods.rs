//! Concurrent requests for one URL, and more URLs than the cache has room for.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use corundum_exchange::DynoBody;
use corundum_router::cache::{Cache, PurgeScope};
use corundum_router::failure::Failure;
use futures_util::future::join_all;
use tokio::sync::{Semaphore, mpsc};

use corundum_router_test_support::grid::{AppResponse, FakeApp, app, async_app};
use corundum_router_test_support::response::ClientResponse;
use corundum_router_test_support::router::TestRouter;
use corundum_router_test_support::wait::poll;

/// Makes a slow app. Returns it with the highest number of concurrent requests.
fn slow(
    answer: impl Fn(usize) -> AppResponse + Send + Sync + 'static,
) -> (FakeApp, Arc<AtomicUsize>) {
    let most = Arc::new(AtomicUsize::new(0));
    let (now, seen, count) = (
        Arc::new(AtomicUsize::new(0)),
        most.clone(),
        AtomicUsize::new(0),
    );
    let app = async_app(move |_| {
        let answer = answer(count.fetch_add(1, Ordering::SeqCst));
        let (now, seen) = (now.clone(), seen.clone());
        async move {
            seen.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(200)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            Ok(answer)
        }
    });
    (app, most)
}

async fn flood(router: &TestRouter, requests: usize) -> Vec<ClientResponse> {
    join_all((0..requests).map(|_| router.get("/"))).await
}

#[tokio::test]
async fn concurrent_misses_of_a_url_are_collapsed() {
    let router = TestRouter::with_app(slow(|_| AppResponse::page("page")).0).await;
    let got = flood(&router, 100).await;
    assert!(got.iter().all(|got| got.body == "page"));
    assert_eq!(router.requests(), 1);
    let collapsed = got
        .iter()
        .filter(|got| got.header("cache-status").ends_with("; collapsed"));
    assert!(collapsed.count() > 50);
}

#[tokio::test]
async fn concurrent_revalidations_of_a_url_are_collapsed() {
    let (app, _) = slow(|count| match count {
        0 => AppResponse::new(200, &[("Cache-Control", "max-age=1")], "old"),
        _ => AppResponse::page("new"),
    });
    let router = TestRouter::with_app(app).await;
    assert_eq!(router.get("/").await.body, "old");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let got = flood(&router, 100).await;
    assert!(got.iter().all(|got| got.body == "new"));
    assert_eq!(router.requests(), 2);
}

#[tokio::test]
async fn concurrent_requests_share_a_failure() {
    let app = async_app(|_| async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        Err(Failure::AppCrashed)
    });
    let router = TestRouter::with_app(app).await;
    let got = flood(&router, 50).await;
    assert!(
        got.iter()
            .all(|got| got.status == 503 && got.body.contains("H10"))
    );
    assert_eq!(router.requests(), 1);
}

#[tokio::test]
async fn uncacheable_requests_do_not_wait_for_each_other() {
    let (app, most) = slow(|_| AppResponse::new(200, &[("Cache-Control", "private")], "mine"));
    let router = TestRouter::with_app(app).await;
    // In the first round, requests may wait until one response shows that it cannot be shared.
    for _ in 0..2 {
        let got = flood(&router, 20).await;
        assert!(
            got.iter()
                .all(|got| got.body == "mine" && got.x_cache() == "MISS")
        );
    }
    assert_eq!((router.requests(), most.load(Ordering::SeqCst)), (40, 20));
}

#[tokio::test]
async fn a_disconnected_client_does_not_fail_the_requests_that_wait_for_it() {
    let router = TestRouter::with_app(slow(|_| AppResponse::page("page")).0).await;
    let gone = tokio::time::timeout(Duration::from_millis(50), router.get("/"));
    let (gone, got) = tokio::join!(gone, async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        flood(&router, 20).await
    });
    assert!(gone.is_err() && got.iter().all(|got| got.body == "page"));
    assert_eq!(router.requests(), 2);
}

/// Makes an app that sends its body in pieces. Returns it with a semaphore: each piece takes a permit.
fn streaming(
    headers: &'static [(&'static str, &'static str)],
    pieces: usize,
    size: usize,
) -> (FakeApp, Arc<Semaphore>) {
    let permits = Arc::new(Semaphore::new(0));
    let given = permits.clone();
    let app = async_app(move |_| {
        let permits = permits.clone();
        async move {
            let (sender, receiver) = mpsc::channel(1);
            tokio::spawn(async move {
                for piece in 0..pieces {
                    permits.acquire().await.unwrap().forget();
                    let letter = b'a' + (piece % 26) as u8;
                    if sender
                        .send(Ok(Bytes::from(vec![letter; size])))
                        .await
                        .is_err()
                    {
                        return;
                    }
                }
            });
            let answer = AppResponse::new(200, headers, "");
            Ok(AppResponse {
                body: DynoBody::Stream(receiver),
                ..answer
            })
        }
    });
    (app, given)
}

#[tokio::test]
async fn waiting_requests_share_a_streamed_body() {
    for headers in [
        &[("Cache-Control", "max-age=60"), ("Content-Length", "6")][..],
        &[("Cache-Control", "max-age=60")],
    ] {
        let (app, permits) = streaming(headers, 3, 2);
        let router = TestRouter::with_app(app).await;
        let more = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            permits.add_permits(3);
        };
        let (got, ()) = tokio::join!(flood(&router, 10), more);
        assert!(got.iter().all(|got| got.body == "aabbcc"), "{got:?}");
        assert_eq!(router.requests(), 1);
        assert_eq!(router.get("/").await.x_cache(), "HIT");
    }
}

#[tokio::test]
async fn waiting_requests_get_the_whole_body_if_it_is_purged_meanwhile() {
    let (app, permits) = streaming(&[("Cache-Control", "max-age=60")], 3, 2);
    let router = TestRouter::with_app(app).await;
    let name = "app".parse().unwrap();
    let purge = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        router.cache.purge(&name, &PurgeScope::App);
        permits.add_permits(3);
    };
    let (got, ()) = tokio::join!(flood(&router, 10), purge);
    assert!(got.iter().all(|got| got.body == "aabbcc"), "{got:?}");
    assert_eq!(router.cache.stats(&name).entries, 0);
}

#[tokio::test]
async fn a_body_too_large_for_the_cache_is_passed_on_and_not_stored() {
    let (app, permits) = streaming(&[("Cache-Control", "max-age=60")], 20, 10_000);
    let router = TestRouter::with_cache(app, Cache::new(1 << 20)).await;
    permits.add_permits(60);
    for _ in 0..2 {
        let got = router.get("/").await;
        assert_eq!(got.body.len(), 200_000);
        assert!(got.body.ends_with(&"t".repeat(10_000)));
    }
    assert_eq!(
        (router.requests(), router.cache.size().bytes < 10_000),
        (2, true)
    );
}

#[tokio::test]
async fn an_incomplete_body_is_not_stored() {
    let app = async_app(|_| async {
        let (sender, receiver) = mpsc::channel(2);
        sender.send(Ok(Bytes::from_static(b"half"))).await.unwrap();
        let answer = AppResponse::new(
            200,
            &[("Cache-Control", "max-age=60"), ("Content-Length", "8")],
            "",
        );
        Ok(AppResponse {
            body: DynoBody::Stream(receiver),
            ..answer
        })
    });
    let router = TestRouter::with_app(app).await;
    for asked in 1..=2 {
        assert_eq!(router.get("/").await.body, "half");
        assert_eq!(router.requests(), asked);
    }
}

#[tokio::test]
async fn a_flood_of_urls_stays_within_the_size_limit_and_keeps_hot_entries() {
    let page = "x".repeat(8000);
    let router =
        TestRouter::with_cache(app(move |_| AppResponse::page(&page)), Cache::new(2 << 20)).await;
    let hot: Vec<String> = (0..40).map(|index| format!("/hot/{index}")).collect();
    for _ in 0..3 {
        join_all(hot.iter().map(|target| router.get(target))).await;
    }
    // The cold URLs are eight times the size of the cache, each requested once; the hot ones are requested between them.
    for round in 0..20 {
        let cold: Vec<String> = (0..100)
            .map(|index| format!("/cold/{round}/{index}"))
            .collect();
        join_all(cold.iter().map(|target| router.get(target))).await;
        join_all(hot.iter().map(|target| router.get(target))).await;
        let size = router.cache.size();
        assert!(
            size.bytes <= size.capacity && size.capacity <= (2 << 20) + 64,
            "{size:?}"
        );
    }
    let got = join_all(hot.iter().map(|target| router.get(target))).await;
    let hits = got.iter().filter(|got| got.x_cache() == "HIT").count();
    assert!(hits >= 36, "{hits} of 40 are left");
}

/// Makes an app whose heads and bodies are small slices of large buffers. Returns it with the buffers.
fn wasteful() -> (FakeApp, Arc<Mutex<Vec<Bytes>>>) {
    let buffers: Arc<Mutex<Vec<Bytes>>> = Arc::default();
    let made = buffers.clone();
    let app = async_app(move |asked| {
        let padding = " ".repeat(200_000);
        let buffer = Bytes::from(format!("{padding}no-cache\"a\"body"));
        made.lock().unwrap().push(buffer.clone());
        let part = |from: usize, to: usize| buffer.slice(200_000 + from..200_000 + to);
        let validated = asked.get("HTTP_IF_NONE_MATCH") == "\"a\"";
        let status = if validated { 304 } else { 200 };
        let mut answer = AppResponse::new(status, &[], "");
        answer.headers = vec![
            ("Cache-Control".into(), part(0, 8)),
            ("ETag".into(), part(8, 11)),
        ];
        let body = part(11, 15);
        let streams = asked.get("PATH_INFO") == "/stream" && !validated;
        async move {
            answer.body = DynoBody::Full(body.clone());
            if streams {
                let (sender, receiver) = mpsc::channel(1);
                sender.send(Ok(body)).await.unwrap();
                answer.body = DynoBody::Stream(receiver);
            }
            Ok(answer)
        }
    });
    (app, buffers)
}

#[tokio::test]
async fn stored_responses_do_not_keep_the_buffers_of_the_app_alive() {
    let (app, buffers) = wasteful();
    let router = TestRouter::with_app(app).await;
    for path in ["/full", "/stream"] {
        for word in ["MISS", "REVALIDATED"] {
            let got = router.get(path).await;
            assert_eq!((got.x_cache(), got.body.as_str()), (word, "body"), "{path}");
        }
    }
    let kept = || {
        let buffers = buffers.lock().unwrap();
        let kept = buffers.iter().map(|buffer| !buffer.is_unique());
        kept.collect::<Vec<_>>()
    };
    // The last response may still be on its way to the client.
    poll(|| (!kept().contains(&true)).then_some(())).await;
    assert_eq!(kept(), [false; 4]);
}

#[tokio::test]
async fn a_head_that_grows_with_each_validation_is_fetched_anew() {
    let turn = AtomicUsize::new(0);
    let router = TestRouter::with_app(app(move |asked| {
        let validated = asked.get("HTTP_IF_NONE_MATCH") == "\"a\"";
        let turn = turn.fetch_add(1, Ordering::SeqCst);
        let names: Vec<String> = (0..100).map(|index| format!("X-{turn}-{index}")).collect();
        let more = names.iter().map(|name| (name.as_str(), "1"));
        let fixed = [("Cache-Control", "no-cache"), ("ETag", "\"a\"")];
        let headers: Vec<_> = fixed.into_iter().chain(more).collect();
        let (status, body) = if validated { (304, "") } else { (200, "body") };
        AppResponse::new(status, &headers, body)
    }))
    .await;
    for _ in 0..8 {
        let got = router.get("/").await;
        assert_eq!((got.status, got.body.as_str()), (200, "body"));
        assert!(got.headers.len() <= 256, "{}", got.headers.len());
    }
}
