//! Compression of one response on its way out.

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH};
use http::request::Parts;
use http::{Method, Response, StatusCode, Version};
use http_body::Body;

use super::encoder::{self, Effort, Encoder, MAX_ONE_SHOT};
use super::encoding_body::EncodingBody;
use super::setting::Compression;
use super::{compressible, headers, negotiation, tag_translation};
use crate::body::response_body::{BodyContent, ResponseBody};
use crate::body::source::BodySource;
use crate::cache::cache_status::CacheStatus;
use crate::fair_pool::{AppPool, PoolReservation};
use crate::headers::content_length;
use crate::semantics::accept_encoding::ContentCoding;

/// Encodes a response if that is worth it and its client accepts a coding. `encoders` bounds the memory of all encoders
/// in flight; when the app's share is used up, bodies are sent unencoded.
pub(crate) fn compress(
    compression: Compression,
    encoders: AppPool<'_>,
    request: &Parts,
    cache_status: CacheStatus,
    mut response: Response<ResponseBody>,
) -> Response<ResponseBody> {
    if compression == Compression::Off {
        return response;
    }
    let status = response.status();
    if status == StatusCode::NOT_MODIFIED {
        tag_translation::restore_client_tag(request, response.headers_mut());
        return response;
    }
    // A stored response already has its `Vary`, and may be an encoded variant.
    let asks = request.headers.contains_key(ACCEPT_ENCODING);
    if cache_status.is_stored() && (!asks || response.headers().contains_key(CONTENT_ENCODING)) {
        return response;
    }
    let length = length(request, &response);
    if !compressible::is_compressible(status, response.headers(), length) {
        return response;
    }
    headers::vary(response.headers_mut());
    match negotiation::preferred_coding(&request.headers, negotiation::BY_TIME) {
        Some(coding) if status != StatusCode::PARTIAL_CONTENT => {
            encode(encoders, request, length, response, coding)
        }
        _ => response,
    }
}

/// Returns the length of the whole body, as far as it is known.
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
    encoders: AppPool<'_>,
    request: &Parts,
    length: Option<u64>,
    mut response: Response<ResponseBody>,
    coding: ContentCoding,
) -> Response<ResponseBody> {
    let encoded = if request.method == Method::HEAD {
        // The headers that a GET would get depend on the length and on whether the body streams.
        length.is_some() && request.version != Version::HTTP_10
    } else {
        let in_parts = || in_parts(encoders, request.version, coding);
        response.body_mut().encode(|source, length| match source {
            BodySource::Full(bytes) if bytes.len() <= MAX_ONE_SHOT => at_once(bytes, coding),
            source => match in_parts() {
                Some(parts) => Ok(BodyContent::Encoded(Box::new(EncodingBody::new(
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

/// Creates an encoder for a streaming body. HTTP/1.0 clients could not tell the end of the body from a broken
/// connection.
fn in_parts(
    encoders: AppPool<'_>,
    version: Version,
    coding: ContentCoding,
) -> Option<(Encoder, PoolReservation)> {
    if version < Version::HTTP_11 {
        return None;
    }
    let reservation = encoders.try_reserve(encoder::MEMORY)?;
    let encoder = Encoder::new(coding, Effort::Streaming).ok()?;
    Some((encoder, reservation))
}

/// Encodes a complete body, unless that makes it no smaller.
fn at_once(bytes: Bytes, coding: ContentCoding) -> Result<BodyContent, (BodySource, Option<u64>)> {
    match encoder::whole(coding, Effort::Streaming, &bytes) {
        Ok(encoded) if encoded.len() < bytes.len() => {
            Ok(BodyContent::Plain(BodySource::Full(encoded)))
        }
        _ => Err((BodySource::Full(bytes), None)),
    }
}

#[cfg(test)]
mod tests {
    use http::header::{CONTENT_TYPE, VARY};
    use std::sync::Arc;

    use http::{HeaderValue, Request};

    use super::*;
    use crate::fair_pool::FairPool;

    /// Compresses a large page with `room` bytes for encoders.
    fn page(room: usize) -> Response<ResponseBody> {
        let mut request = Request::new(()).into_parts().0;
        let gzip = HeaderValue::from_static("gzip");
        request.headers.insert(ACCEPT_ENCODING, gzip);
        let body = Bytes::from(vec![b'x'; 2 * MAX_ONE_SHOT]);
        let mut response = Response::new(ResponseBody::from(body));
        let html = HeaderValue::from_static("text/html");
        response.headers_mut().insert(CONTENT_TYPE, html);
        let (encoders, share) = (FairPool::new(room, 1), Arc::default());
        compress(
            Compression::On,
            encoders.of(&share),
            &request,
            CacheStatus::default(),
            response,
        )
    }

    #[test]
    fn body_is_sent_unencoded_without_memory_for_an_encoder() {
        let encoded = page(2 * encoder::MEMORY);
        assert_eq!(encoded.headers()[CONTENT_ENCODING], "gzip");
        let plain = page(2 * encoder::MEMORY - 1);
        assert!(!plain.headers().contains_key(CONTENT_ENCODING));
        assert_eq!(plain.headers()[VARY], "accept-encoding");
        let length = plain.body().size_hint().exact();
        assert_eq!(length, Some(2 * MAX_ONE_SHOT as u64));
    }
}
