//! Which answers are encoded, and what they say of themselves.

use corundum_exchange::DynoBody;
use corundum_router::compress::Compression;
use proptest::prelude::*;

use corundum_router_test_support::encoding::text;
use corundum_router_test_support::grid::{AppResponse, app};
use corundum_router_test_support::response::ClientResponse;
use corundum_router_test_support::router::TestRouter;

/// A page that is not stored.
fn page(headers: &[(&str, &str)], body: &str) -> AppResponse {
    let headers = [&[("Content-Type", "text/html")], headers].concat();
    AppResponse::new(200, &headers, body)
}

/// What a client that takes gzip gets of an app that gives this.
async fn asked(answer: impl Fn() -> AppResponse + Send + Sync + 'static) -> ClientResponse {
    let router = TestRouter::with_app(app(move |_| answer())).await;
    router.get_with("/", &[("Accept-Encoding", "gzip")]).await
}

#[tokio::test]
async fn a_client_gets_the_coding_that_it_asks_for_and_a_length() {
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
async fn a_client_that_asks_for_nothing_gets_the_same_bytes_and_is_told_that_others_get_another_form()
 {
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
async fn a_small_page_goes_out_as_it_is_and_says_nothing() {
    let got = asked(|| page(&[], &text(1023))).await;
    assert_eq!((got.coding(), got.header("vary")), ("", ""));
    assert_eq!(asked(|| page(&[], &text(1024))).await.coding(), "gzip");
}

#[tokio::test]
async fn what_must_stay_as_it_is_does() {
    for header in [
        ("Content-Encoding", "br"),
        ("Cache-Control", "no-transform"),
        ("Content-Digest", "sha-256=:AAAA:"),
        ("Repr-Digest", "sha-256=:AAAA:"),
        ("Content-MD5", "AAAA"),
        ("Digest", "sha-256=AAAA"),
    ] {
        let got = asked(move || page(&[header, ("ETag", "\"a\"")], &text(5000))).await;
        assert_eq!((got.header("etag"), got.header("vary")), ("\"a\"", ""));
        assert!(got.body == text(5000), "{header:?}");
    }
    let got = asked(|| AppResponse::new(200, &[("Content-Type", "image/png")], &text(5000))).await;
    assert_eq!((got.coding(), got.header("vary")), ("", ""));
    let got = asked(|| AppResponse::new(200, &[], &text(5000))).await;
    assert_eq!((got.coding(), got.header("vary")), ("", ""));
}

#[tokio::test]
async fn a_part_of_a_page_stays_as_it_is_and_says_that_the_whole_varies() {
    let got = asked(|| {
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
async fn errors_are_pages_too() {
    let got = asked(|| AppResponse::new(404, &[("Content-Type", "text/html")], &text(5000))).await;
    assert_eq!(
        (got.status, got.coding(), got.text()),
        (404, "gzip", text(5000))
    );
}

#[tokio::test]
async fn what_would_not_get_smaller_goes_out_as_it_is() {
    let mut state = 1u64;
    let noise: bytes::Bytes = std::iter::repeat_with(|| {
        // Marsaglia's xorshift.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    })
    .take(1500)
    .collect();
    let same = noise.clone();
    let got = asked(move || {
        let mut answer = page(&[("ETag", "\"a\"")], "");
        answer.body = DynoBody::Full(same.clone());
        answer
    })
    .await;
    assert_eq!((got.coding(), got.header("etag")), ("", "\"a\""));
    assert_eq!(got.bytes, noise);
}

#[tokio::test]
async fn an_encoded_page_has_a_weak_tag_and_no_ranges_and_keeps_its_vary() {
    let got = asked(|| {
        let headers = [
            ("ETag", "\"a\""),
            ("Accept-Ranges", "bytes"),
            ("Vary", "Cookie"),
        ];
        page(&headers, &text(5000))
    })
    .await;
    assert_eq!(
        (got.coding(), got.header("etag")),
        ("gzip", "W/\"a;encoded\"")
    );
    assert_eq!(
        (got.header("accept-ranges"), got.header("vary")),
        ("", "Cookie, accept-encoding")
    );
}

#[tokio::test]
async fn head_says_what_get_would_as_far_as_it_is_known() {
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
        ("gzip", "W/\"a;encoded\"")
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
async fn an_app_may_have_it_off() {
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
async fn the_log_has_the_bytes_that_went_out() {
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
    fn any_answer_decodes_to_what_the_app_said(
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
