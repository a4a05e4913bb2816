//! Compression of what dynos and the cache answer, on its way out.
//!
//! It is the last stage before the socket: what lies behind it, the cache too, knows the bytes as the app made them.
//! [`suits`] says which answers are worth it, [`client`] which coding a client gets, [`headers`] what an encoded answer says
//! of itself, [`conditions`] sees to it that no bytes of two forms are ever put together. [`encoder`] has the libraries and
//! their levels; [`encoding`] is a body that is encoded while it is made. Forms of stored responses that are kept are the
//! cache's ([`cache::forms`](crate::cache)), static files have theirs from the compiler.

pub(crate) mod compressible;
pub(crate) mod encoder;
pub(crate) mod encoding_body;
pub(crate) mod headers;
pub(crate) mod negotiation;
pub(crate) mod tag_translation;

use std::sync::Arc;

use bytes::Bytes;
use corundum_exchange::{BoundedCounter, Reservation};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH};
use http::request::Parts;
use http::{Method, Response, StatusCode, Version};
use http_body::Body;

use self::encoder::{Effort, Encoder};
use self::encoding_body::EncodingBody;
use crate::body::response_body::{ResponseBody, Source};
use crate::cache::verdict::Verdict;
use crate::headers::content_length;
use crate::semantics::accept_encoding::ContentCoding;

/// Whether an app's answers are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Those that are worth it, for clients that ask for it.
    #[default]
    On,
    /// None but static files, which have nothing to hide.
    Off,
}

/// Bodies up to here are encoded in one go: that holds a thread for two milliseconds at most, and gives them a length.
pub(crate) const AT_ONCE: usize = 64 << 10;

/// Encodes an answer, if that is worth it and its client wants it. `encoders` is what the encoders of all bodies that are
/// under way may take; without room left, bodies go out as they are.
pub(crate) fn compress(
    compression: Compression,
    encoders: &Arc<BoundedCounter>,
    request: &Parts,
    verdict: Verdict,
    mut response: Response<ResponseBody>,
) -> Response<ResponseBody> {
    if compression == Compression::Off {
        return response;
    }
    let status = response.status();
    if status == StatusCode::NOT_MODIFIED {
        tag_translation::answer(request, response.headers_mut());
        return response;
    }
    // What is stored has said what is to be said of it, and may come in an encoded form that is kept.
    let asks = request.headers.contains_key(ACCEPT_ENCODING);
    if verdict.is_stored() && (!asks || response.headers().contains_key(CONTENT_ENCODING)) {
        return response;
    }
    let length = length(request, &response);
    if !compressible::is_compressible(status, response.headers(), length) {
        return response;
    }
    headers::vary(response.headers_mut());
    match negotiation::wanted(&request.headers, negotiation::BY_TIME) {
        Some(coding) if status != StatusCode::PARTIAL_CONTENT => {
            encode(encoders, request, length, response, coding)
        }
        _ => response,
    }
}

/// How long the whole body is, as far as that is known.
fn length(request: &Parts, response: &Response<ResponseBody>) -> Option<u64> {
    let declared = || content_length(response.headers());
    match (request.method == Method::HEAD, response.status()) {
        (_, StatusCode::PARTIAL_CONTENT) => None,
        (true, _) => declared(),
        (false, _) => {
            let here = response.body().size_hint().exact();
            here.or_else(declared)
        }
    }
}

fn encode(
    encoders: &Arc<BoundedCounter>,
    request: &Parts,
    length: Option<u64>,
    mut response: Response<ResponseBody>,
    coding: ContentCoding,
) -> Response<ResponseBody> {
    let encoded = if request.method == Method::HEAD {
        // What GET would get depends on a length that is not known, or on how the body comes.
        length.is_some() && request.version != Version::HTTP_10
    } else {
        let in_parts = || in_parts(encoders, request.version, coding);
        response.body_mut().encode(|source, length| match source {
            Source::Full(bytes) if bytes.len() <= AT_ONCE => at_once(bytes, coding),
            source => match in_parts() {
                Some(parts) => Ok(Source::Encoded(Box::new(EncodingBody::new(
                    source, length, parts,
                )))),
                None => Err((source, length)),
            },
        })
    };
    if encoded {
        headers::encoded(response.headers_mut(), coding);
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    response
}

/// What is needed for a body that is encoded in parts. A client of HTTP/1.0 could not tell its end from a connection
/// that broke.
fn in_parts(
    encoders: &Arc<BoundedCounter>,
    version: Version,
    coding: ContentCoding,
) -> Option<(Encoder, Reservation)> {
    if version < Version::HTTP_11 {
        return None;
    }
    let reservation = encoders.try_reserve(encoder::MEMORY)?;
    let encoder = Encoder::new(coding, Effort::Passing).ok()?;
    Some((encoder, reservation))
}

/// A body that is here, encoded, unless that makes it no smaller.
fn at_once(bytes: Bytes, coding: ContentCoding) -> Result<Source, (Source, Option<u64>)> {
    match encoder::whole(coding, Effort::Passing, &bytes) {
        Ok(encoded) if encoded.len() < bytes.len() => Ok(Source::Full(encoded)),
        _ => Err((Source::Full(bytes), None)),
    }
}

#[cfg(test)]
mod tests {
    use http::header::{CONTENT_TYPE, VARY};
    use http::{HeaderValue, Request};

    use super::*;

    /// What becomes of a large page where encoders may take `room`.
    fn page(room: usize) -> Response<ResponseBody> {
        let mut request = Request::new(()).into_parts().0;
        let gzip = HeaderValue::from_static("gzip");
        request.headers.insert(ACCEPT_ENCODING, gzip);
        let body = Bytes::from(vec![b'x'; 2 * AT_ONCE]);
        let mut response = Response::new(ResponseBody::from(body));
        let html = HeaderValue::from_static("text/html");
        response.headers_mut().insert(CONTENT_TYPE, html);
        let encoders = BoundedCounter::new(room);
        compress(
            Compression::On,
            &encoders,
            &request,
            Verdict::default(),
            response,
        )
    }

    #[test]
    fn without_room_for_an_encoder_a_body_goes_out_as_it_is() {
        let encoded = page(encoder::MEMORY);
        assert_eq!(encoded.headers()[CONTENT_ENCODING], "gzip");
        let plain = page(encoder::MEMORY - 1);
        assert!(!plain.headers().contains_key(CONTENT_ENCODING));
        assert_eq!(plain.headers()[VARY], "accept-encoding");
        let length = plain.body().size_hint().exact();
        assert_eq!(length, Some(2 * AT_ONCE as u64));
    }
}
