//! Responses that are compressed, and the header fields of compressed responses.

use corundum_exchange::DynoBody;
use corundum_router::compress::Compression;
use proptest::prelude::*;

use corundum_router_test_support::encoding::text;
use corundum_router_test_support::grid::{AppResponse, app};
use corundum_router_test_support::response::ClientResponse;
use corundum_router_test_support::router::TestRouter;
use corundum_test_support::noise::incompressible;

/// Makes an HTML page that the cache does not store.
fn page(headers: &[(&str, &str)], body: &str) -> AppResponse {
    let headers = [&[("Content-Type", "text/html")], headers].concat();
    AppResponse::new(200, &headers, body)
}

/// Requests the response of an app as a client that accepts gzip.
async fn get_gzip(answer: impl Fn() -> AppResponse + Send + Sync + 'static) -> ClientResponse {
    let router = TestRouter::with_app(app(move |_| answer())).await;
    router.get_with("/", &[("Accept-Encoding", "gzip")]).await
}

#[tokio::test]
async fn a_response_has_the_accepted_coding_and_a_length() {
    let router = TestRouter::with_app(app(|_| page(&[], &text(20_000)))).await;
    for (accept, coding) in [
        ("gzip", "gzip"),
        ("br", "br"),
        ("zstd", "zstd"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip;q=0.5, br", "br"),
    ] {
        let got = router.get_with("/", &[("Accept-Encoding", accept)]).await;
        assert_eq!(
            (got.coding(), got.header("vary")),
            (coding, "accept-encoding")
        );
        assert_eq!(got.header("content-length"), got.bytes.len().to_string());
        assert!(
            got.bytes.len() < 4000 && got.text() == text(20_000),
            "{coding}"
        );
    }
}

#[tokio::test]
async fn a_response_without_an_accepted_coding_is_unchanged_but_varies() {
    let router = TestRouter::with_app(app(|_| page(&[("ETag", "\"a\"")], &text(20_000)))).await;
    for accept in ["identity", "deflate", "", "gzip;q=0"] {
        let got = router.get_with("/", &[("Accept-Encoding", accept)]).await;
        assert_eq!((got.coding(), got.header("etag")), ("", "\"a\""));
        assert_eq!(
            (got.header("vary"), got.text()),
            ("accept-encoding", text(20_000))
        );
    }
    assert_eq!(router.get("/").await.body, text(20_000));
}

#[tokio::test]
async fn a_small_page_is_not_compressed() {
    let got = get_gzip(|| page(&[], &text(1023))).await;
    assert_eq!((got.coding(), got.header("vary")), ("", ""));
    assert_eq!(get_gzip(|| page(&[], &text(1024))).await.coding(), "gzip");
}

#[tokio::test]
async fn responses_that_must_not_be_transformed_are_unchanged() {
    for header in [
        ("Content-Encoding", "br"),
        ("Cache-Control", "no-transform"),
        ("Content-Digest", "sha-256=:AAAA:"),
        ("Repr-Digest", "sha-256=:AAAA:"),
        ("Content-MD5", "AAAA"),
        ("Digest", "sha-256=AAAA"),
    ] {
        let got = get_gzip(move || page(&[header, ("ETag", "\"a\"")], &text(5000))).await;
        assert_eq!((got.header("etag"), got.header("vary")), ("\"a\"", ""));
        assert!(got.body == text(5000), "{header:?}");
    }
    let got =
        get_gzip(|| AppResponse::new(200, &[("Content-Type", "image/png")], &text(5000))).await;
    assert_eq!((got.coding(), got.header("vary")), ("", ""));
    let got = get_gzip(|| AppResponse::new(200, &[], &text(5000))).await;
    assert_eq!((got.coding(), got.header("vary")), ("", ""));
}

#[tokio::test]
async fn a_partial_response_is_unchanged_but_varies() {
    let got = get_gzip(|| {
        let headers = [
            ("Content-Type", "text/html"),
            ("Content-Range", "bytes 0-4999/9000"),
        ];
        AppResponse::new(206, &headers, &text(5000))
    })
    .await;
    assert_eq!((got.status, got.coding()), (206, ""));
    assert_eq!(
        (got.header("vary"), got.text()),
        ("accept-encoding", text(5000))
    );
}

#[tokio::test]
async fn error_pages_are_compressed() {
    let got =
        get_gzip(|| AppResponse::new(404, &[("Content-Type", "text/html")], &text(5000))).await;
    assert_eq!(
        (got.status, got.coding(), got.text()),
        (404, "gzip", text(5000))
    );
}

#[tokio::test]
async fn an_incompressible_response_is_unchanged() {
    let noise = bytes::Bytes::from(incompressible(1500));
    let same = noise.clone();
    let got = get_gzip(move || {
        let mut answer = page(&[("ETag", "\"a\"")], "");
        answer.body = DynoBody::Full(same.clone());
        answer
    })
    .await;
    assert_eq!((got.coding(), got.header("etag")), ("", "\"a\""));
    assert_eq!(got.bytes, noise);
}

#[tokio::test]
async fn a_compressed_page_has_a_weak_etag_no_ranges_and_an_extended_vary() {
    let got = get_gzip(|| {
        let headers = [
            ("ETag", "\"a\""),
            ("Accept-Ranges", "bytes"),
            ("Vary", "Cookie"),
        ];
        page(&headers, &text(5000))
    })
    .await;
    assert_eq!((got.coding(), got.header("etag")), ("gzip", "W/\"a;gzip\""));
    assert_eq!(
        (got.header("accept-ranges"), got.header("vary")),
        ("", "Cookie, accept-encoding")
    );
}

#[tokio::test]
async fn a_head_response_has_the_headers_of_get_without_an_unknown_length() {
    let router = TestRouter::with_app(app(|asked| match asked.get("PATH_INFO").as_str() {
        "/known" => page(&[("Content-Length", "5000"), ("ETag", "\"a\"")], ""),
        "/small" => page(&[("Content-Length", "500")], ""),
        _ => page(&[("ETag", "\"a\"")], ""),
    }))
    .await;
    let accept = [("Accept-Encoding", "gzip")];
    let known = router.send("HEAD", "/known", &accept, "").await;
    assert_eq!(
        (known.coding(), known.header("etag")),
        ("gzip", "W/\"a;gzip\"")
    );
    assert_eq!(
        (known.header("content-length"), known.header("vary")),
        ("", "accept-encoding")
    );
    let small = router.send("HEAD", "/small", &accept, "").await;
    assert_eq!(
        (small.coding(), small.header("content-length")),
        ("", "500")
    );
    let unknown = router.send("HEAD", "/unknown", &accept, "").await;
    assert_eq!(
        (unknown.coding(), unknown.header("vary")),
        ("", "accept-encoding")
    );
    let plain = router.send("HEAD", "/known", &[], "").await;
    assert_eq!(
        (plain.coding(), plain.header("content-length")),
        ("", "5000")
    );
}

#[tokio::test]
async fn compression_can_be_disabled_for_an_app() {
    let router = TestRouter::with_app(app(|_| page(&[("ETag", "\"a\"")], &text(5000)))).await;
    router
        .grid
        .configure(|app| app.compression = Compression::Off);
    let accept = [("Accept-Encoding", "gzip")];
    let got = router.get_with("/", &accept).await;
    assert_eq!(
        (got.coding(), got.header("etag"), got.header("vary")),
        ("", "\"a\"", "")
    );
    assert_eq!(got.text(), text(5000));
    router
        .grid
        .configure(|app| app.compression = Compression::On);
    assert_eq!(router.get_with("/", &accept).await.coding(), "gzip");
}

#[tokio::test]
async fn the_log_counts_compressed_bytes() {
    let router = TestRouter::with_app(app(|_| page(&[], &text(20_000)))).await;
    let got = router.get_with("/", &[("Accept-Encoding", "gzip")]).await;
    let line = router.line(1).await;
    assert!(
        line.contains(&format!(" bytes={} ", got.bytes.len())),
        "{line}"
    );
    assert!(line.starts_with("at=info "), "{line}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn every_response_decodes_to_the_body_of_the_app(
        length in 0usize..200_000,
        accept in "(gzip|br|zstd)(, (gzip|br|zstd|\\*))?(;q=0\\.[0-9])?",
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let got = runtime.block_on(async {
            let router = TestRouter::with_app(app(move |_| page(&[], &text(length)))).await;
            router.get_with("/", &[("Accept-Encoding", &accept)]).await
        });
        prop_assert!(got.complete);
        prop_assert_eq!(got.text(), text(length));
    }
}
