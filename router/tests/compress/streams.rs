//! Streamed bodies, compressed as they arrive.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use corundum_exchange::{BodyInterrupted, DynoBody};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use corundum_router_test_support::encoding::{decoded, text};
use corundum_router_test_support::grid::{AppResponse, FakeApp, app, async_app};
use corundum_router_test_support::response::ClientResponse;
use corundum_router_test_support::router::TestRouter;
use corundum_router_test_support::wait::wait_until;

type BodySender = mpsc::Sender<Result<Bytes, BodyInterrupted>>;

/// Makes an app with these headers whose body `give` sends.
fn streaming<F>(
    headers: &'static [(&'static str, &'static str)],
    give: impl Fn(BodySender) -> F + Send + Sync + 'static,
) -> FakeApp
where
    F: Future<Output = ()> + Send + 'static,
{
    async_app(move |_| {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(give(sender));
        let mut answer = AppResponse::new(200, headers, "");
        answer.body = DynoBody::Stream(receiver);
        async move { Ok(answer) }
    })
}

const HTML: &[(&str, &str)] = &[("Content-Type", "text/html")];

async fn give(sender: &BodySender, text: &str) -> bool {
    sender.send(Ok(Bytes::from(text.to_owned()))).await.is_ok()
}

async fn open(router: &TestRouter, coding: &str) -> TcpStream {
    router
        .open("GET", "/", &[("Accept-Encoding", coding)], "")
        .await
}

/// Reads until the body received so far decodes to `expected`.
async fn read_until(stream: &mut TcpStream, answer: &mut Vec<u8>, coding: &str, expected: &str) {
    let so_far = |answer: &[u8]| {
        let has_head = answer.windows(4).any(|four| four == b"\r\n\r\n");
        has_head && decoded(coding, &ClientResponse::parse(answer).bytes) == expected.as_bytes()
    };
    let read = async {
        while !so_far(answer) {
            let read = stream.read_buf(answer).await.unwrap();
            assert!(read > 0, "the body ends before {expected:?}");
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(5), read).await;
    in_time.unwrap_or_else(|_| panic!("{coding}: {expected:?} does not arrive"));
}

#[tokio::test]
async fn each_piece_is_flushed_and_the_whole_body_is_unchanged() {
    for coding in ["gzip", "br", "zstd"] {
        let (go, wait) = mpsc::channel::<&'static str>(1);
        let wait = Arc::new(tokio::sync::Mutex::new(wait));
        let router = TestRouter::with_app(streaming(HTML, move |sender| {
            let wait = wait.clone();
            async move {
                while let Some(piece) = wait.lock().await.recv().await {
                    give(&sender, piece).await;
                }
            }
        }))
        .await;
        let (mut stream, mut answer, mut all) =
            (open(&router, coding).await, Vec::new(), String::new());
        for piece in ["<html>", "one", "two and more"] {
            go.send(piece).await.unwrap();
            all.push_str(piece);
            read_until(&mut stream, &mut answer, coding, &all).await;
        }
        drop(go);
        stream.read_to_end(&mut answer).await.unwrap();
        let got = ClientResponse::parse(&answer);
        assert_eq!((got.coding(), got.complete), (coding, true));
        assert_eq!(got.text(), all);
        let line = router.line(1).await;
        assert!(
            line.contains(&format!(" bytes={} ", got.bytes.len())),
            "{line}"
        );
        assert!(line.starts_with("at=info "), "{line}");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_has_no_last_chunk() {
    for coding in ["gzip", "br", "zstd"] {
        let router = TestRouter::with_app(streaming(HTML, |sender| async move {
            give(&sender, "<html>one").await;
            let _ = sender.send(Err(BodyInterrupted)).await;
        }))
        .await;
        let (mut stream, mut answer) = (open(&router, coding).await, Vec::new());
        let _ = stream.read_to_end(&mut answer).await;
        let got = ClientResponse::parse(&answer);
        assert!(!got.complete, "{coding}: {answer:?}");
        // The bytes before the failure arrive.
        assert_eq!(got.text(), "<html>one");
        let line = router.line(1).await;
        assert!(line.contains("code=H18"), "{line}");
    }
}

#[tokio::test]
async fn a_body_shorter_than_its_length_has_no_last_chunk() {
    let headers = &[("Content-Type", "text/html"), ("Content-Length", "5000")];
    let router = TestRouter::with_app(streaming(headers, |sender| async move {
        give(&sender, "<html>one").await;
    }))
    .await;
    let mut answer = Vec::new();
    let _ = open(&router, "gzip").await.read_to_end(&mut answer).await;
    let got = ClientResponse::parse(&answer);
    assert_eq!((got.coding(), got.complete), ("gzip", false));
}

#[tokio::test]
async fn a_body_ends_at_its_length_although_the_dyno_sends_more() {
    let headers = &[("Content-Type", "text/html"), ("Content-Length", "5000")];
    let router = TestRouter::with_app(streaming(headers, |sender| async move {
        give(&sender, &text(6000)).await;
        sender.closed().await;
    }))
    .await;
    let mut answer = Vec::new();
    open(&router, "gzip")
        .await
        .read_to_end(&mut answer)
        .await
        .unwrap();
    let got = ClientResponse::parse(&answer);
    assert_eq!((got.complete, got.text()), (true, text(5000)));
    assert!(router.line(1).await.starts_with("at=info "));
}

#[tokio::test]
async fn a_disconnected_client_frees_its_dyno() {
    let gone = Arc::new(AtomicUsize::new(0));
    let told = gone.clone();
    let router = TestRouter::with_app(streaming(HTML, move |sender| {
        let told = told.clone();
        async move {
            while give(&sender, "more ").await {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            told.fetch_add(1, Ordering::SeqCst);
        }
    }))
    .await;
    let (mut stream, mut answer) = (open(&router, "zstd").await, Vec::new());
    stream.read_buf(&mut answer).await.unwrap();
    drop(stream);
    let line = router.line(1).await;
    assert!(line.contains("code=H27"), "{line}");
    wait_until("the dyno ends", || gone.load(Ordering::SeqCst) == 1).await;
}

#[tokio::test]
async fn an_event_stream_is_not_compressed() {
    let headers = &[("Content-Type", "text/event-stream")];
    let router = TestRouter::with_app(streaming(headers, |sender| async move {
        give(&sender, &text(5000)).await;
    }))
    .await;
    let got = router.get_with("/", &[("Accept-Encoding", "gzip")]).await;
    assert_eq!(
        (got.coding(), got.header("vary"), got.text()),
        ("", "", text(5000))
    );
}

#[tokio::test]
async fn a_large_page_is_compressed_in_chunks() {
    for coding in ["gzip", "br", "zstd"] {
        let router =
            TestRouter::with_app(app(|_| AppResponse::new(200, HTML, &text(3 << 20)))).await;
        let got = router.get_with("/", &[("Accept-Encoding", coding)]).await;
        assert_eq!(
            (got.coding(), got.header("transfer-encoding")),
            (coding, "chunked")
        );
        assert!(got.complete && got.text() == text(3 << 20), "{coding}");
    }
}

#[tokio::test]
async fn requests_that_share_a_fetch_get_the_coding_of_each() {
    let headers = &[
        ("Content-Type", "text/html"),
        ("Cache-Control", "max-age=60"),
    ];
    let router = TestRouter::with_app(streaming(headers, |sender| async move {
        for _ in 0..20 {
            give(&sender, &text(5000)).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }))
    .await;
    let router = &router;
    let get = async |accept| router.get_with("/", &[("Accept-Encoding", accept)]).await;
    let got = tokio::join!(get("gzip"), get("br"), get("identity"), get("zstd"));
    let got = [got.0, got.1, got.2, got.3];
    assert_eq!(
        got.each_ref().map(|got| got.coding()),
        ["gzip", "br", "", "zstd"]
    );
    for got in got {
        assert!(got.complete && got.text() == text(5000).repeat(20));
        assert_eq!(got.header("vary"), "accept-encoding");
    }
    // The app saw a header of the first client; the others share a response that was made without theirs.
    assert_eq!(router.requests(), 2);
}

#[tokio::test]
async fn http_1_0_clients_get_whole_bodies_compressed_and_streams_uncompressed() {
    let router = TestRouter::with_app(async_app(|asked| {
        let mut answer = AppResponse::new(200, HTML, &text(5000));
        if asked.get("PATH_INFO") == "/stream" {
            let (sender, receiver) = mpsc::channel(1);
            answer.body = DynoBody::Stream(receiver);
            tokio::spawn(async move { give(&sender, &text(5000)).await });
        }
        async move { Ok(answer) }
    }))
    .await;
    for (path, coding) in [("/", "gzip"), ("/stream", "")] {
        let mut stream = TcpStream::connect(router.address).await.unwrap();
        let request =
            format!("GET {path} HTTP/1.0\r\nHost: app.example\r\nAccept-Encoding: gzip\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let got = ClientResponse::parse(&answer);
        assert_eq!((got.coding(), got.text()), (coding, text(5000)), "{path}");
        assert_eq!(got.header("vary"), "accept-encoding");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn every_streamed_body_decodes_to_the_body_of_the_app(
        pieces in prop::collection::vec(prop_oneof![Just(0), 1usize..200, 1usize..100_000], 0..8),
        coding in prop::sample::select(&["gzip", "br", "zstd"][..]),
    ) {
        let said: String = pieces.iter().map(|length| text(*length)).collect();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let got = runtime.block_on(async {
            let router = TestRouter::with_app(streaming(HTML, move |sender| {
                let pieces = pieces.clone();
                async move {
                    for length in pieces {
                        give(&sender, &text(length)).await;
                    }
                }
            }))
            .await;
            router.get_with("/", &[("Accept-Encoding", coding)]).await
        });
        prop_assert_eq!((got.coding(), got.complete), (coding, true));
        prop_assert!(got.text() == said);
    }
}
