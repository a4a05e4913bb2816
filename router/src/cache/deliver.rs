//! A stored response as one client gets it: whole, as 304, or in ranges.

use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{
    AGE, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG,
    EXPIRES, HeaderName, LAST_MODIFIED, RANGE, VARY, VIA,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::conditional;
use super::range::{self, Ranges};
use super::stored::Stored;

/// What a 304 tells of what is stored (RFC 9110 section 15.4.5).
const OF_NOT_MODIFIED: [HeaderName; 8] = [
    CACHE_CONTROL,
    CONTENT_LOCATION,
    DATE,
    ETAG,
    EXPIRES,
    LAST_MODIFIED,
    VARY,
    VIA,
];

/// The response to a request for what is stored.
pub(crate) fn deliver(stored: &Stored, request: &Parts, now: Instant) -> (Response<()>, Bytes) {
    if is_not_modified(stored, request) {
        return (not_modified(stored, now), Bytes::new());
    }
    match ranges(stored, request) {
        Ranges::Whole => (whole(stored, now), stored.body.clone()),
        Ranges::Unsatisfiable => (unsatisfiable(stored, now), Bytes::new()),
        Ranges::Parts(parts) => partial(stored, &parts, now),
    }
}

/// What a client gets of what is stored: of an encoded form no parts, since they are those of the bytes as the app made
/// them.
pub(super) fn ranges(stored: &Stored, request: &Parts) -> Ranges {
    let asked = request.headers.get(RANGE).filter(|_| {
        request.method == Method::GET && stored.status == StatusCode::OK && !stored.forms.is_one()
    });
    match asked {
        Some(header)
            if conditional::if_range(&request.headers, &stored.headers, stored.last_modified) =>
        {
            range::parse(header.as_bytes(), stored.body.len() as u64)
        }
        _ => Ranges::Whole,
    }
}

/// The head of the response to a request for one whose body is still on its way. Its ranges are not made yet.
pub(crate) fn head(stored: &Stored, request: &Parts, now: Instant) -> Response<()> {
    if is_not_modified(stored, request) {
        return not_modified(stored, now);
    }
    whole(stored, now)
}

/// Whether the client has what is stored already.
pub(crate) fn is_not_modified(stored: &Stored, request: &Parts) -> bool {
    stored.status == StatusCode::OK
        && conditional::applies(&request.method)
        && conditional::not_modified(&request.headers, &stored.headers, stored.last_modified)
}

fn whole(stored: &Stored, now: Instant) -> Response<()> {
    with_headers(stored, stored.status, stored.headers.clone(), now)
}

fn with_headers(
    stored: &Stored,
    status: StatusCode,
    headers: HeaderMap,
    now: Instant,
) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    let age = HeaderValue::from(stored.freshness.age(now));
    response.headers_mut().insert(AGE, age);
    response
}

fn not_modified(stored: &Stored, now: Instant) -> Response<()> {
    let mut headers = HeaderMap::with_capacity(16);
    for name in OF_NOT_MODIFIED {
        for value in stored.headers.get_all(&name) {
            headers.append(&name, value.clone());
        }
    }
    with_headers(stored, StatusCode::NOT_MODIFIED, headers, now)
}

fn unsatisfiable(stored: &Stored, now: Instant) -> Response<()> {
    let mut headers = HeaderMap::with_capacity(8);
    let range = format!("bytes */{}", stored.body.len());
    set(&mut headers, CONTENT_RANGE, &range);
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    with_headers(stored, StatusCode::RANGE_NOT_SATISFIABLE, headers, now)
}

fn partial(stored: &Stored, parts: &[std::ops::Range<u64>], now: Instant) -> (Response<()>, Bytes) {
    let mut headers = stored.headers.clone();
    let all = stored.body.len() as u64;
    // Ranges are within the body's length, which is a usize.
    let slice =
        |part: &std::ops::Range<u64>| stored.body.slice(part.start as usize..part.end as usize);
    let content_range =
        |part: &std::ops::Range<u64>| format!("bytes {}-{}/{all}", part.start, part.end - 1);
    let body = if let [part] = parts {
        set(&mut headers, CONTENT_RANGE, &content_range(part));
        slice(part)
    } else {
        let boundary = uuid::Uuid::new_v4().simple().to_string();
        let kind = headers.get(CONTENT_TYPE).cloned();
        set(
            &mut headers,
            CONTENT_TYPE,
            &format!("multipart/byteranges; boundary={boundary}"),
        );
        let mut body = BytesMut::new();
        for part in parts {
            body.put_slice(format!("\r\n--{boundary}\r\n").as_bytes());
            if let Some(kind) = &kind {
                body.put_slice(b"Content-Type: ");
                body.put_slice(kind.as_bytes());
                body.put_slice(b"\r\n");
            }
            body.put_slice(format!("Content-Range: {}\r\n\r\n", content_range(part)).as_bytes());
            body.put_slice(&slice(part));
        }
        body.put_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        body.freeze()
    };
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    (
        with_headers(stored, StatusCode::PARTIAL_CONTENT, headers, now),
        body,
    )
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
