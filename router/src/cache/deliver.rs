//! The response that a client gets from the cache: the whole stored response, a 304 or 412, or ranges.

use std::time::Instant;

use bytes::Bytes;
use http::header::{
    AGE, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_LOCATION, DATE, ETAG, EXPIRES, HeaderName,
    LAST_MODIFIED, VARY, VIA,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::cached_response::CachedResponse;
use crate::semantics::byte_range::{self, ByteRanges};
use crate::semantics::partial_content;
use crate::semantics::preconditions::{self, DateStrength, PreconditionResult, Validators};

/// Headers of a stored response that a 304 repeats (RFC 9110 section 15.4.5).
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

/// Builds the response to a request that a stored response answers.
pub(crate) fn deliver(
    cached: &CachedResponse,
    request: &Parts,
    now: Instant,
) -> (Response<()>, Bytes) {
    match precondition(cached, request) {
        PreconditionResult::NotModified => return (not_modified(cached, now), Bytes::new()),
        PreconditionResult::Failed => return (precondition_failed(cached, now), Bytes::new()),
        PreconditionResult::Proceed => {}
    }
    match ranges(cached, request) {
        ByteRanges::Whole => (whole(cached, now), cached.body.clone()),
        ByteRanges::Unsatisfiable => (unsatisfiable(cached, now), Bytes::new()),
        ByteRanges::Single(range) => partial(cached, now, |headers| {
            partial_content::single(headers, &cached.body, &range)
        }),
        ByteRanges::Multiple(ranges) => partial(cached, now, |headers| {
            partial_content::multipart(headers, &cached.body, &ranges)
        }),
    }
}

/// Returns whether a request gets the whole stored response, so that an encoded variant can take its place. Conditions
/// and ranges are about the bytes that the app made.
pub(super) fn is_whole(cached: &CachedResponse, request: &Parts) -> bool {
    precondition(cached, request) == PreconditionResult::Proceed
        && ranges(cached, request) == ByteRanges::Whole
}

fn ranges(cached: &CachedResponse, request: &Parts) -> ByteRanges {
    if cached.status != StatusCode::OK || cached.variants.is_variant() {
        return ByteRanges::Whole;
    }
    let length = cached.body.len() as u64;
    byte_range::select(request, length, || validators(cached))
}

/// Builds the head of a response whose body is still arriving. Ranges are ignored, because its length may be unknown.
pub(crate) fn head(cached: &CachedResponse, request: &Parts, now: Instant) -> Response<()> {
    match precondition(cached, request) {
        PreconditionResult::NotModified => not_modified(cached, now),
        PreconditionResult::Failed => precondition_failed(cached, now),
        PreconditionResult::Proceed => whole(cached, now),
    }
}

/// Evaluates the conditions of a request. They apply to a GET or HEAD whose response would be a 200 (RFC 9110 section
/// 13.2.1).
fn precondition(cached: &CachedResponse, request: &Parts) -> PreconditionResult {
    if cached.status != StatusCode::OK || !matches!(request.method, Method::GET | Method::HEAD) {
        return PreconditionResult::Proceed;
    }
    preconditions::evaluate(&request.headers, || validators(cached))
}

fn validators(cached: &CachedResponse) -> Validators<'_> {
    Validators {
        etag: cached.etag(),
        last_modified: cached.last_modified,
        date: DateStrength::Received(cached.headers.get(DATE)),
    }
}

fn whole(cached: &CachedResponse, now: Instant) -> Response<()> {
    with_headers(cached, cached.status, cached.headers.clone(), now)
}

fn with_headers(
    cached: &CachedResponse,
    status: StatusCode,
    headers: HeaderMap,
    now: Instant,
) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    let age = HeaderValue::from(cached.freshness.age(now));
    response.headers_mut().insert(AGE, age);
    response
}

fn not_modified(cached: &CachedResponse, now: Instant) -> Response<()> {
    let mut headers = HeaderMap::with_capacity(16);
    for name in OF_NOT_MODIFIED {
        for value in cached.headers.get_all(&name) {
            headers.append(&name, value.clone());
        }
    }
    with_headers(cached, StatusCode::NOT_MODIFIED, headers, now)
}

/// Builds a 412. It has no body: its status says everything.
fn precondition_failed(cached: &CachedResponse, now: Instant) -> Response<()> {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    with_headers(cached, StatusCode::PRECONDITION_FAILED, headers, now)
}

fn unsatisfiable(cached: &CachedResponse, now: Instant) -> Response<()> {
    let mut headers = HeaderMap::with_capacity(8);
    partial_content::unsatisfiable(&mut headers, cached.body.len());
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    with_headers(cached, StatusCode::RANGE_NOT_SATISFIABLE, headers, now)
}

fn partial(
    cached: &CachedResponse,
    now: Instant,
    cut: impl FnOnce(&mut HeaderMap) -> Bytes,
) -> (Response<()>, Bytes) {
    let mut headers = cached.headers.clone();
    let body = cut(&mut headers);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    let response = with_headers(cached, StatusCode::PARTIAL_CONTENT, headers, now);
    (response, body)
}
