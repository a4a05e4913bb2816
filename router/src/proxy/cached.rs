//! Answers from the cache.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::CACHE_CONTROL;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};

use super::context::RequestContext;
use super::reply::{Reply, ReplyBody};
use crate::body::streamed_body::StreamedBody;
use crate::cache::cache_status::CacheStatus;
use crate::cache::cached_response::CachedResponse;
use crate::cache::deliver;
use crate::cache::streaming_fill::StreamingFill;

impl<G> RequestContext<G> {
    /// Answers a request with a stored response, in an encoded variant if the client accepts one that is ready.
    pub(super) fn reply_cached(
        &self,
        cached: Arc<CachedResponse>,
        status: CacheStatus,
        request: &Parts,
    ) -> Reply {
        let compression = self.virtual_host.compression;
        let variant = self.cache().variant_for(cached, compression, request);
        cached_reply(&variant, status, request)
    }

    /// Counts how the cache handled the request.
    pub(super) fn count(&self, status: CacheStatus) {
        self.cache_stats().count(&status);
        self.virtual_host.metrics.record_cache(match status {
            CacheStatus::Collapsed(_) => "hit",
            status => status.as_str(),
        });
    }
}

/// Answers a request with a stored response.
pub(super) fn cached_reply(cached: &CachedResponse, status: CacheStatus, request: &Parts) -> Reply {
    complete(deliver::deliver(cached, request, Instant::now()), status)
}

/// Answers a request with a response whose body is still arriving.
pub(super) fn streaming_reply(
    fill: Arc<StreamingFill>,
    status: CacheStatus,
    request: &Parts,
) -> Reply {
    let response = deliver::head(&fill.head, request, Instant::now());
    let conditional = [StatusCode::NOT_MODIFIED, StatusCode::PRECONDITION_FAILED];
    let status_changed = response.status() != fill.head.status;
    let body = if status_changed && conditional.contains(&response.status()) {
        ReplyBody::Full(Bytes::new())
    } else {
        ReplyBody::Stream(StreamedBody::Fill(fill.reader()))
    };
    Reply {
        response,
        body,
        served_by: None,
        status,
    }
}

/// Answers a request that accepts only a stored response where there is none (RFC 9111 section 5.2.1.7).
pub(super) fn not_cached_reply() -> Reply {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, no_store);
    complete((response, Bytes::new()), CacheStatus::NotCached)
}

fn complete((response, body): (Response<()>, Bytes), status: CacheStatus) -> Reply {
    Reply {
        response,
        body: ReplyBody::Full(body),
        served_by: None,
        status,
    }
}
