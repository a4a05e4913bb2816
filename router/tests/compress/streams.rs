//! Bodies that are encoded while they are made.

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
use corundum_router_test_support::grid::{App, AppResponse, app, async_app};
use corundum_router_test_support::response::ClientResponse;
use corundum_router_test_support::router::TestRouter;

type Sender = mpsc::Sender<Result<Bytes, BodyInterrupted>>;

/// An app that gives its body to `give`, with these headers.
fn streaming<F>(
    headers: &'static [(&'static str, &'static str)],
    give: impl Fn(Sender) -> F + Send + Sync + 'static,
) -> App
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

async fn give(sender: &Sender, text: &str) -> bool {
    sender.send(Ok(Bytes::from(text.to_owned()))).await.is_ok()
}

async fn open(router: &TestRouter, coding: &str) -> TcpStream {
    router
        .open("GET", "/", &[("Accept-Encoding", coding)], "")
        .await
}

/// Reads until the body that has come so far decodes to `expected`.
async fn reads(stream: &mut TcpStream, answer: &mut Vec<u8>, coding: &str, expected: &str) {
    let so_far = |answer: &[u8]| {
        let has_head = answer.windows(4).any(|four| four == b"\r\n\r\n");
        has_head && decoded(coding, &ClientResponse::parse(answer).bytes) == expected.as_bytes()
    };
    let read = async {
        while !so_far(answer) {
            let read = stream.read_buf(answer).await.unwrap();
            assert!(read > 0, "it ended before {expected:?}");
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(5), read).await;
    in_time.unwrap_or_else(|_| panic!("{coding}: {expected:?} does not come"));
}

#[tokio::test]
async fn each_piece_goes_out_at_once_and_the_whole_is_what_the_app_said() {
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
            reads(&mut stream, &mut answer, coding, &all).await;
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
async fn a_dyno_that_dies_in_the_middle_leaves_a_transfer_without_an_end() {
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
        // What came before is not lost.
        assert_eq!(got.text(), "<html>one");
        let line = router.line(1).await;
        assert!(line.contains("code=H18"), "{line}");
    }
}

#[tokio::test]
async fn a_body_that_is_shorter_than_its_length_has_no_end_either() {
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
async fn a_body_ends_with_the_last_byte_of_its_length_whatever_its_dyno_does_then() {
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
async fn a_client_that_goes_away_frees_its_dyno() {
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
    for _ in 0..500 {
        if gone.load(Ordering::SeqCst) == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the dyno goes on");
}

#[tokio::test]
async fn a_stream_of_events_goes_out_as_it_is() {
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
async fn a_large_page_comes_in_parts_that_decode_to_it() {
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
async fn those_who_share_a_response_on_its_way_get_it_in_the_coding_of_each() {
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
    assert_eq!(router.requests(), 1);
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_encoded_what_is_whole_and_nothing_else() {
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
    fn a_stream_of_any_pieces_decodes_to_what_the_app_said(
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
