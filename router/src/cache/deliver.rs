//! A stored response as one client gets it: whole, as 304, or in ranges.

use std::time::Instant;

use bytes::Bytes;
use http::header::{
    AGE, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_LOCATION, DATE, ETAG, EXPIRES, HeaderName,
    LAST_MODIFIED, VARY, VIA,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::stored::Stored;
use crate::semantics::byte_range::{self, ByteRanges};
use crate::semantics::partial_content;
use crate::semantics::preconditions::{self, DateStrength, PreconditionResult, Validators};

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

/// Answers a request with what is stored.
pub(crate) fn deliver(stored: &Stored, request: &Parts, now: Instant) -> (Response<()>, Bytes) {
    match precondition(stored, request) {
        PreconditionResult::NotModified => return (not_modified(stored, now), Bytes::new()),
        PreconditionResult::Failed => return (precondition_failed(stored, now), Bytes::new()),
        PreconditionResult::Proceed => {}
    }
    match ranges(stored, request) {
        ByteRanges::Whole => (whole(stored, now), stored.body.clone()),
        ByteRanges::Unsatisfiable => (unsatisfiable(stored, now), Bytes::new()),
        ByteRanges::Single(range) => partial(stored, now, |headers| {
            partial_content::single(headers, &stored.body, &range)
        }),
        ByteRanges::Multiple(ranges) => partial(stored, now, |headers| {
            partial_content::multipart(headers, &stored.body, &ranges)
        }),
    }
}

/// Whether a request gets the whole of what is stored, unless that is an encoded form: conditions and ranges are about
/// the bytes as the app made them.
pub(super) fn is_whole(stored: &Stored, request: &Parts) -> bool {
    precondition(stored, request) == PreconditionResult::Proceed
        && ranges(stored, request) == ByteRanges::Whole
}

fn ranges(stored: &Stored, request: &Parts) -> ByteRanges {
    if stored.status != StatusCode::OK || stored.forms.is_one() {
        return ByteRanges::Whole;
    }
    let length = stored.body.len() as u64;
    byte_range::select(request, length, || validators(stored))
}

/// The head of the response to a request for one whose body is still on its way. Its ranges are not made yet.
pub(crate) fn head(stored: &Stored, request: &Parts, now: Instant) -> Response<()> {
    match precondition(stored, request) {
        PreconditionResult::NotModified => not_modified(stored, now),
        PreconditionResult::Failed => precondition_failed(stored, now),
        PreconditionResult::Proceed => whole(stored, now),
    }
}

/// Evaluates the conditions of a request, which apply to a GET or HEAD of what would be a 200 (RFC 9110 section 13.2.1).
fn precondition(stored: &Stored, request: &Parts) -> PreconditionResult {
    if stored.status != StatusCode::OK || !matches!(request.method, Method::GET | Method::HEAD) {
        return PreconditionResult::Proceed;
    }
    preconditions::evaluate(&request.headers, || validators(stored))
}

fn validators(stored: &Stored) -> Validators<'_> {
    Validators {
        etag: stored.etag(),
        last_modified: stored.last_modified,
        date: DateStrength::Received(stored.headers.get(DATE)),
    }
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

/// A 412 has no body: the client learns nothing from it but that its condition failed.
fn precondition_failed(stored: &Stored, now: Instant) -> Response<()> {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    with_headers(stored, StatusCode::PRECONDITION_FAILED, headers, now)
}

fn unsatisfiable(stored: &Stored, now: Instant) -> Response<()> {
    let mut headers = HeaderMap::with_capacity(8);
    partial_content::unsatisfiable(&mut headers, stored.body.len());
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    with_headers(stored, StatusCode::RANGE_NOT_SATISFIABLE, headers, now)
}

fn partial(
    stored: &Stored,
    now: Instant,
    cut: impl FnOnce(&mut HeaderMap) -> Bytes,
) -> (Response<()>, Bytes) {
    let mut headers = stored.headers.clone();
    let body = cut(&mut headers);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    let response = with_headers(stored, StatusCode::PARTIAL_CONTENT, headers, now);
    (response, body)
}
