//! What a request gets of a file.

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, LAST_MODIFIED, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::StaticFiles;
use super::condition::Verdict;
use super::file::{File, Form};
use super::range::{Asked, asked};
use crate::semantics::accept_encoding::AcceptEncoding;

/// Headers of an answer, with room for what is added on its way out.
const HEADERS: usize = 14;

pub(super) fn respond(files: &StaticFiles, request: &Parts) -> Option<Response<Bytes>> {
    let head = match request.method {
        Method::GET => false,
        Method::HEAD => true,
        _ => return None,
    };
    let file = files.find(request.uri.path())?;
    let form = file.choose(|| AcceptEncoding::of(&request.headers));
    let mut response = match file.validators(form).evaluate(&request.headers) {
        Verdict::Failed => bare(StatusCode::PRECONDITION_FAILED, HeaderMap::new()),
        Verdict::NotModified => bare(StatusCode::NOT_MODIFIED, describe(file, form)),
        // A range is defined for GET alone (RFC 9110 section 14.2).
        Verdict::Proceed if head => whole(file, form),
        Verdict::Proceed => part(file, form, &request.headers),
    };
    if head && response.status() == StatusCode::OK {
        let length = HeaderValue::from(response.body().len());
        response.headers_mut().insert(CONTENT_LENGTH, length);
        response.body_mut().clear();
    }
    Some(response)
}

/// What every answer about a file says, 304 among them (RFC 9110 section 15.4.5).
fn describe(file: &File, form: &Form) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(HEADERS);
    headers.insert(ETAG, form.etag.clone());
    headers.insert(LAST_MODIFIED, file.modified_text.clone());
    headers.insert(CACHE_CONTROL, file.cache_control.clone());
    if file.varies() {
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    }
    headers
}

fn whole(file: &File, form: &Form) -> Response<Bytes> {
    let mut response = Response::new(form.bytes.clone());
    let mut headers = describe(file, form);
    headers.insert(CONTENT_TYPE, file.content_type.clone());
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(coding) = form.coding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    }
    *response.headers_mut() = headers;
    response
}

fn part(file: &File, form: &Form, request: &HeaderMap) -> Response<Bytes> {
    let length = form.bytes.len();
    let content_range =
        |range: String| HeaderValue::from_str(&format!("bytes {range}/{length}")).ok();
    match asked(request, length) {
        Asked::Part(range) if file.validators(form).range_holds(request) => {
            let mut response = whole(file, form);
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let text = content_range(format!("{}-{}", range.start, range.end - 1));
            response
                .headers_mut()
                .extend(text.map(|text| (CONTENT_RANGE, text)));
            response.map(|bytes| bytes.slice(range))
        }
        Asked::Nothing if file.validators(form).range_holds(request) => {
            let text = content_range("*".to_owned());
            let headers = text.map(|text| (CONTENT_RANGE, text)).into_iter().collect();
            bare(StatusCode::RANGE_NOT_SATISFIABLE, headers)
        }
        _ => whole(file, form),
    }
}

fn bare(status: StatusCode, headers: HeaderMap) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
