//! Responses to requests for a static file: 200, 206, 304, 412 and 416.

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG,
    LAST_MODIFIED, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::file::{Representation, StaticFile};
use crate::semantics::accept_encoding::AcceptEncoding;
use crate::semantics::byte_range::{self, ByteRanges};
use crate::semantics::partial_content;
use crate::semantics::preconditions::{self, PreconditionResult};

/// Capacity for the headers of a response, including those that later stages add.
const HEADERS: usize = 14;

/// Answers a GET or HEAD of a file.
pub(super) fn respond(file: &StaticFile, request: &Parts) -> Response<Bytes> {
    let representation = file.choose(|| AcceptEncoding::of(&request.headers));
    let conditions = preconditions::evaluate(&request.headers, || file.validators(representation));
    let mut response = match conditions {
        PreconditionResult::Failed => bare(StatusCode::PRECONDITION_FAILED, HeaderMap::new()),
        PreconditionResult::NotModified => {
            bare(StatusCode::NOT_MODIFIED, describe(file, representation))
        }
        PreconditionResult::Proceed => selected(file, representation, request),
    };
    if request.method == Method::HEAD && response.status() == StatusCode::OK {
        let length = HeaderValue::from(response.body().len());
        response.headers_mut().insert(CONTENT_LENGTH, length);
        response.body_mut().clear();
    }
    response
}

/// Returns the headers that every response about a file has, a 304 too (RFC 9110 section 15.4.5).
fn describe(file: &StaticFile, representation: &Representation) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(HEADERS);
    headers.insert(ETAG, representation.etag.clone());
    headers.insert(LAST_MODIFIED, file.modified_text.clone());
    headers.insert(CACHE_CONTROL, file.cache_control.clone());
    if file.varies() {
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    }
    headers
}

fn whole(file: &StaticFile, representation: &Representation) -> Response<Bytes> {
    let mut response = Response::new(representation.bytes.clone());
    let mut headers = describe(file, representation);
    headers.insert(CONTENT_TYPE, file.content_type.clone());
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(coding) = representation.coding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    }
    *response.headers_mut() = headers;
    response
}

/// Returns the bytes that a request selects.
fn selected(
    file: &StaticFile,
    representation: &Representation,
    request: &Parts,
) -> Response<Bytes> {
    let length = representation.bytes.len();
    match byte_range::select(request, length as u64, || file.validators(representation)) {
        ByteRanges::Whole => whole(file, representation),
        ByteRanges::Single(range) => partial(file, representation, |headers| {
            partial_content::single(headers, &representation.bytes, &range)
        }),
        // `Content-Encoding` would describe the multipart body, which is not encoded.
        ByteRanges::Multiple(_) if representation.coding.is_some() => whole(file, representation),
        ByteRanges::Multiple(ranges) => partial(file, representation, |headers| {
            partial_content::multipart(headers, &representation.bytes, &ranges)
        }),
        ByteRanges::Unsatisfiable => {
            let mut headers = HeaderMap::new();
            partial_content::unsatisfiable(&mut headers, length);
            bare(StatusCode::RANGE_NOT_SATISFIABLE, headers)
        }
    }
}

fn partial(
    file: &StaticFile,
    representation: &Representation,
    cut: impl FnOnce(&mut HeaderMap) -> Bytes,
) -> Response<Bytes> {
    let mut response = whole(file, representation);
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    let body = cut(response.headers_mut());
    response.map(|_| body)
}

fn bare(status: StatusCode, headers: HeaderMap) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
