//! Requests that the cache does not answer, and what it learns from their responses: invalidations, purges, updates.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use corundum_exchange::{DynoBody, RequestBody};
use http::header::{
    CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE, ETAG, HeaderName, LAST_MODIFIED,
};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use hyper::body::Incoming;

use super::context::RequestContext;
use super::dispatch::UpstreamResponse;
use super::reply::Reply;
use crate::body::request_buffer::BufferedRequest;
use crate::cache::cache_status::{BypassReason, CacheStatus, ForwardReason};
use crate::cache::cached_response::{CachedResponse, FetchTimes};
use crate::cache::entry::UnkeyedHeaders;
use crate::cache::key::Key;
use crate::cache::lookup::{Miss, target};
use crate::cache::storable::NotStored;
use crate::cache::{PurgeScope, purge, unkeyed_headers, urls};
use crate::connection_state::RequestHandle;
use crate::failure::Failure;
use crate::grid::Grid;

/// Methods that change nothing (RFC 9110 section 9.2.1).
const SAFE_METHODS: [Method; 4] = [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE];

/// Sends a request that the cache has no part in to a dyno, with its body.
pub(super) async fn forward<G: Grid>(
    context: &RequestContext<G>,
    request: &Parts,
    body: Incoming,
    handle: &RequestHandle,
    reason: BypassReason,
) -> Result<Reply, Failure> {
    let max_body = context.virtual_host.max_body;
    let limits = &context.router.limits;
    let gathered =
        BufferedRequest::gather(body, max_body, limits, context.body_pool(), handle).await?;
    let sent_at = Instant::now();
    let dispatched = context
        .dispatch(
            request.clone(),
            &context.request_id,
            gathered.length,
            gathered.body,
        )
        .await;
    // The reason why the body broke off says more than the app's response to half of it.
    if let Some(failure) = gathered.fault.get() {
        return Err(failure.clone());
    }
    let mut upstream = dispatched?;
    let times = FetchTimes::received_now(sent_at);
    observe(context, request, &mut upstream, times);
    Ok(upstream.into_reply(CacheStatus::Bypass(reason)))
}

/// Sends a HEAD request to a dyno. Its response updates the stored response to GET, or removes it if it is outdated
/// (RFC 9111 section 4.3.5).
pub(super) async fn forward_head<G: Grid>(
    context: &RequestContext<G>,
    request: &Parts,
    reason: ForwardReason,
    cached: Option<Arc<CachedResponse>>,
) -> Result<Reply, Failure> {
    let sent_at = Instant::now();
    let dispatched = context.dispatch(
        request.clone(),
        &context.request_id,
        Some(0),
        RequestBody::Empty,
    );
    let mut upstream = dispatched.await?;
    context.apply_purge(&mut upstream);
    if let Some(cached) = cached
        && upstream.response.status() == cached.status
        && !unkeyed_headers::any(&request.headers, &cached.vary)
    {
        let times = FetchTimes::received_now(sent_at);
        update(context, request, &cached, &upstream, times);
    }
    purge::strip(upstream.response.headers_mut());
    Ok(upstream.into_reply(CacheStatus::Miss {
        reason,
        stored: Err(NotStored::Head),
    }))
}

/// Updates or removes a stored response after a response to HEAD.
fn update<G: Grid>(
    context: &RequestContext<G>,
    request: &Parts,
    cached: &Arc<CachedResponse>,
    upstream: &UpstreamResponse,
    times: FetchTimes,
) {
    let (cache, headers) = (context.cache(), upstream.response.headers());
    if is_outdated(cached, headers) {
        cache.remove(cached);
        return;
    }
    let stats = context.cache_stats();
    let purges = stats.purges();
    let record = context.fetch_record(request, &stats, times, purges);
    let release = upstream.served_by.release;
    cache.freshen(cached, headers, &record, release, &context.router.limits);
}

/// Returns whether a head's validators or length differ from those of a stored response.
fn is_outdated(cached: &CachedResponse, head: &HeaderMap) -> bool {
    let differs = |name: &HeaderName| {
        head.get(name)
            .is_some_and(|value| cached.headers.get(name) != Some(value))
    };
    differs(&ETAG) || differs(&LAST_MODIFIED) || differs(&CONTENT_LENGTH)
}

/// Applies a response to the cache: an unsafe request invalidates the URLs that it may have changed (RFC 9111 section
/// 4.4), and a response to POST is stored if GET would get the same one (RFC 9110 section 9.3.3).
fn observe<G: Grid>(
    context: &RequestContext<G>,
    request: &Parts,
    upstream: &mut UpstreamResponse,
    times: FetchTimes,
) {
    context.apply_purge(upstream);
    if !SAFE_METHODS.contains(&request.method) && succeeded(upstream.response.status()) {
        invalidate(context, request, upstream.response.headers());
        if request.method == Method::POST
            && describes_own_url(context, request, upstream.response.headers())
        {
            store(context, request, upstream, times);
        }
    }
    purge::strip(upstream.response.headers_mut());
}

fn succeeded(status: StatusCode) -> bool {
    status.is_success() || status.is_redirection()
}

/// Purges the request's URL, and the URLs that `Location` and `Content-Location` name.
fn invalidate<G: Grid>(context: &RequestContext<G>, request: &Parts, response: &HeaderMap) {
    let target = target(request);
    let named = urls::named(response, &context.host, target);
    for target in named.into_iter().chain([target.to_owned()]) {
        let scope = PurgeScope::Url {
            host: (*context.host).to_owned(),
            target,
        };
        context.cache().purge(&context.virtual_host.app, &scope);
    }
}

/// Returns whether `Content-Location` names the request's own URL.
fn describes_own_url<G>(
    context: &RequestContext<G>,
    request: &Parts,
    response: &HeaderMap,
) -> bool {
    let target = target(request);
    urls::of(response, &CONTENT_LOCATION, &context.host, target)
        .is_some_and(|named| named == target)
}

/// Stores the response to a POST under the URL's key.
fn store<G: Grid>(
    context: &RequestContext<G>,
    request: &Parts,
    upstream: &UpstreamResponse,
    times: FetchTimes,
) {
    let DynoBody::Full(body) = &upstream.body else {
        return;
    };
    let success = upstream.response.status().is_success();
    // The response describes what GET would get, whatever form the body of the request had.
    if !success || unkeyed_headers::any(&request.headers, &[CONTENT_TYPE]) {
        return;
    }
    let (cache, stats) = (context.cache(), context.cache_stats());
    let purges = stats.purges();
    let record = context.fetch_record(request, &stats, times, purges);
    let mut primary = Vec::new();
    context.resource(request).encode(&mut primary);
    let miss = Miss::of_url(Key::from(primary));
    let surrogate_keys = cache.surrogate_keys(&record, upstream.response.headers(), &[]);
    let candidate = upstream.candidate();
    let entry = cache.prepare_entry(&miss, &record, UnkeyedHeaders::Removed, &candidate);
    if let Ok(head) = entry
        && !head.always_validated()
    {
        let response = head.with_body(Bytes::copy_from_slice(body));
        let _ = cache.insert(response, &stats, &surrogate_keys, purges);
    }
}
