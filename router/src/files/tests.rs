//! Responses of static files, without a connection.

use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Request, Response};
use proptest::prelude::*;

use super::*;
use crate::semantics::accept_encoding::ContentCoding;

const MODIFIED: &str = "Wed, 25 Nov 2026 14:00:00 GMT";

fn source(path: &str, content: &'static str) -> StaticFileSource {
    StaticFileSource {
        path: path.to_owned(),
        content: Bytes::from_static(content.as_bytes()),
        encoded: Vec::new(),
        immutable: false,
    }
}

fn files(sources: Vec<StaticFileSource>, paths: PathMatching) -> StaticFiles {
    let settings = StaticFileSettings {
        modified: MODIFIED.parse::<httpdate::HttpDate>().unwrap().into(),
        max_age: Duration::from_secs(60),
        paths,
    };
    StaticFiles::new(sources, &settings)
}

fn sample_files() -> StaticFiles {
    let mut css = source("/assets/app-3f2a91bc.css", "body { color: black }");
    css.encoded = vec![
        (ContentCoding::Gzip, Bytes::from_static(b"gzip-ten-b")),
        (ContentCoding::Brotli, Bytes::from_static(b"brotli")),
    ];
    let sources = vec![
        css,
        source("/robots.txt", "0123456789"),
        source("/caf\u{e9} menu.txt", "au lait"),
        source("/docs/index.html", "docs"),
        source("/about.html", "about"),
    ];
    files(sources, PathMatching::Exact)
}

fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn get(path: &str, headers: &[(&str, &str)]) -> Response<Bytes> {
    sample_files()
        .answer(&request("GET", path, headers))
        .unwrap()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

#[test]
fn file_response_has_validators_and_caching_headers() {
    let response = get("/robots.txt?v=1", &[]);
    assert_eq!(
        (response.status().as_u16(), &response.body()[..]),
        (200, &b"0123456789"[..])
    );
    let headers = response.headers();
    assert_eq!(text(headers, "content-type"), "text/plain; charset=utf-8");
    assert_eq!(text(headers, "last-modified"), MODIFIED);
    assert_eq!(text(headers, "cache-control"), "public, max-age=60");
    assert_eq!(text(headers, "x-content-type-options"), "nosniff");
    assert_eq!(text(headers, "accept-ranges"), "bytes");
    assert_eq!(
        text(headers, "etag"),
        "\"84d89877f0d4041efb6bf91a16f0248f\""
    );
    assert_eq!(text(headers, "vary"), "", "there is one form of it");
}

#[test]
fn utf_8_text_declares_its_charset() {
    let mut latin1 = source("/latin1.txt", "");
    latin1.content = Bytes::from_static(b"caf\xe9");
    let files = files(vec![latin1, source("/a.json", "{}")], PathMatching::Exact);
    let kind = |path| {
        let response = files.answer(&request("GET", path, &[])).unwrap();
        text(response.headers(), "content-type").to_owned()
    };
    assert_eq!(kind("/latin1.txt"), "text/plain");
    assert_eq!(kind("/a.json"), "application/json");
}

#[test]
fn fingerprinted_file_is_immutable_for_a_year() {
    let response = get("/assets/app-3f2a91bc.css", &[]);
    assert_eq!(
        text(response.headers(), "cache-control"),
        "public, max-age=31536000, immutable"
    );
    let mut listed = source("/assets/index-BvXy12_k.js", "");
    listed.immutable = true;
    let files = files(vec![listed], PathMatching::Exact);
    let response = files
        .answer(&request("GET", "/assets/index-BvXy12_k.js", &[]))
        .unwrap();
    assert_eq!(
        text(response.headers(), "cache-control"),
        "public, max-age=31536000, immutable"
    );
}

#[test]
fn each_coding_has_its_own_content_and_tag() {
    let path = "/assets/app-3f2a91bc.css";
    let of = |accept| get(path, &[("accept-encoding", accept)]);
    let (plain, gzip, brotli) = (of("identity"), of("gzip"), of("gzip, br"));
    assert_eq!(
        &brotli.body()[..],
        b"brotli",
        "the smallest of what is wanted alike"
    );
    assert_eq!(text(brotli.headers(), "content-encoding"), "br");
    assert_eq!(&of("br;q=0.5, gzip").body()[..], b"gzip-ten-b");
    let tags = [&plain, &gzip, &brotli].map(|response| text(response.headers(), "etag"));
    assert!(
        tags[0] != tags[1] && tags[1] != tags[2] && tags.iter().all(|tag| !tag.starts_with('W'))
    );
    for response in [&plain, &gzip, &brotli] {
        assert_eq!(text(response.headers(), "vary"), "accept-encoding");
    }
    let again = [("accept-encoding", "gzip"), ("if-none-match", tags[2])];
    assert_eq!(
        get(path, &again).status(),
        200,
        "the tag of another form is not this one's"
    );
}

#[test]
fn coding_that_does_not_shrink_a_file_is_not_used() {
    let mut file = source("/a.txt", "abc");
    file.encoded = vec![(ContentCoding::Gzip, Bytes::from_static(b"abcdef"))];
    let files = files(vec![file], PathMatching::Exact);
    let response = files
        .answer(&request("GET", "/a.txt", &[("accept-encoding", "gzip")]))
        .unwrap();
    assert_eq!(&response.body()[..], b"abc");
}

#[test]
fn matching_condition_gets_304_and_failed_precondition_412() {
    let tag = text(get("/robots.txt", &[]).headers(), "etag").to_owned();
    let response = get(
        "/robots.txt",
        &[("if-none-match", &tag), ("range", "bytes=0-1")],
    );
    assert_eq!(
        (response.status().as_u16(), response.body().len()),
        (304, 0)
    );
    assert_eq!(text(response.headers(), "etag"), tag);
    assert_eq!(
        text(response.headers(), "cache-control"),
        "public, max-age=60"
    );
    assert_eq!(text(response.headers(), "content-type"), "");
    assert_eq!(
        get("/robots.txt", &[("if-modified-since", MODIFIED)]).status(),
        304
    );
    assert_eq!(
        get("/robots.txt", &[("if-match", "\"other\"")]).status(),
        412
    );
}

#[test]
fn range_selects_bytes_of_the_negotiated_representation() {
    let response = get("/robots.txt", &[("range", "bytes=2-4")]);
    assert_eq!(
        (response.status().as_u16(), &response.body()[..]),
        (206, &b"234"[..])
    );
    assert_eq!(text(response.headers(), "content-range"), "bytes 2-4/10");
    let encoded = [("range", "bytes=-2"), ("accept-encoding", "br")];
    let response = get("/assets/app-3f2a91bc.css", &encoded);
    assert_eq!(&response.body()[..], b"li");
    assert_eq!(text(response.headers(), "content-range"), "bytes 4-5/6");
    let response = get("/robots.txt", &[("range", "bytes=10-")]);
    assert_eq!(
        (response.status().as_u16(), response.body().len()),
        (416, 0)
    );
    assert_eq!(text(response.headers(), "content-range"), "bytes */10");
    for range in ["bytes=10-", "bytes=2-4"] {
        let response = get(
            "/robots.txt",
            &[("range", range), ("if-range", "\"other\"")],
        );
        assert_eq!(
            (response.status().as_u16(), response.body().len()),
            (200, 10)
        );
    }
}

#[test]
fn several_ranges_get_a_multipart_body() {
    let response = get("/robots.txt", &[("range", "bytes=0-1, -2")]);
    assert_eq!(response.status(), 206);
    let boundary = text(response.headers(), "content-type")
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap();
    let part = |range: &str, content: &str| {
        let kind = "Content-Type: text/plain; charset=utf-8";
        format!("\r\n--{boundary}\r\n{kind}\r\nContent-Range: bytes {range}/10\r\n\r\n{content}")
    };
    let (first, last) = (part("0-1", "01"), part("8-9", "89"));
    let body = std::str::from_utf8(response.body()).unwrap();
    assert_eq!(body, format!("{first}{last}\r\n--{boundary}--\r\n"));
    // A multipart body is not encoded, so that a coding of its parts could not be declared.
    let encoded = [("range", "bytes=0-1, -2"), ("accept-encoding", "br")];
    let response = get("/assets/app-3f2a91bc.css", &encoded);
    assert_eq!(
        (response.status().as_u16(), &response.body()[..]),
        (200, &b"brotli"[..])
    );
}

#[test]
fn head_request_ignores_range_and_has_the_full_length() {
    let headers = [("range", "bytes=2-4")];
    let response = sample_files()
        .answer(&request("HEAD", "/robots.txt", &headers))
        .unwrap();
    assert_eq!(
        (response.status().as_u16(), response.body().len()),
        (200, 0)
    );
    assert_eq!(text(response.headers(), "content-length"), "10");
}

#[test]
fn other_paths_and_methods_go_to_a_dyno() {
    for path in [
        "/",
        "/robots",
        "/ROBOTS.TXT",
        "//robots.txt",
        "/./robots.txt",
        "/docs/../robots.txt",
        "/docs/%2e%2e/robots.txt",
        "/robots.txt/",
        "/robots.txt%00",
        "/robots.txt%00.html",
        "/docs",
        "/docs/",
        "/about",
        "/docs%5cindex.html",
        "/%",
        "/..%2frobots.txt",
    ] {
        assert!(
            sample_files().answer(&request("GET", path, &[])).is_none(),
            "{path}"
        );
    }
    for method in [
        "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PURGE",
    ] {
        assert!(
            sample_files()
                .answer(&request(method, "/robots.txt", &[]))
                .is_none(),
            "{method}"
        );
    }
}

#[test]
fn percent_encoded_path_finds_the_same_file() {
    assert_eq!(&get("/caf%C3%A9%20menu.txt", &[]).body()[..], b"au lait");
    assert_eq!(&get("/%72obots.txt", &[]).body()[..], b"0123456789");
    assert_eq!(&get("/docs%2Findex.html", &[]).body()[..], b"docs");
}

#[test]
fn page_matching_serves_short_paths() {
    let sources = vec![
        source("/index.html", "home"),
        source("/docs/index.html", "docs"),
        source("/about.html", "about"),
        source("/about", "file"),
        source("/.html", "odd"),
    ];
    let files = files(sources, PathMatching::Pages);
    let body = |path| {
        files
            .answer(&request("GET", path, &[]))
            .map(|response| response.into_body())
    };
    for (path, content) in [
        ("/", "home"),
        ("/docs", "docs"),
        ("/docs/", "docs"),
        ("/docs/index.html", "docs"),
        ("/about.html", "about"),
        ("/about", "file"),
    ] {
        assert_eq!(body(path).as_deref(), Some(content.as_bytes()), "{path}");
    }
    assert_eq!(body("/about/"), None);
    assert_eq!(body("/index"), None);
    assert_eq!(body("/missing"), None);
}

proptest! {
    #[test]
    fn only_its_own_path_finds_a_file(path in "/[a-z./%0-9]{0,20}") {
        let Ok(uri) = path.parse::<http::Uri>() else { return Ok(()) };
        let files = sample_files();
        let found = files.find(uri.path()).is_some();
        let decoded = path::decode(uri.path()).unwrap_or_default();
        prop_assert_eq!(found, files.by_path.contains_key(&*decoded));
        prop_assert!(!found || !decoded.contains(".."));
    }
}
