//! Revalidation of a stale response: conditions for the app, its 304, and the stale response in place of an error.

use std::sync::Arc;
use std::time::Instant;

use http::header::{IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, SET_COOKIE};
use http::{HeaderMap, StatusCode};

use super::cached::cached_reply;
use super::dispatch::UpstreamResponse;
use super::fetch::UpstreamFetch;
use super::reply::Reply;
use crate::cache::cache_lock::{FetchOutcome, Leader};
use crate::cache::cache_status::{CacheStatus, StaleReason};
use crate::cache::cached_response::CachedResponse;
use crate::cache::entry::FetchRecord;
use crate::cache::freshness::OriginFailure;
use crate::grid::Grid;

/// Makes a request conditional on the stored response being outdated (RFC 9111 section 4.3.1).
pub(super) fn add_conditions(request: &mut HeaderMap, cached: &CachedResponse) {
    for (validator, condition) in [
        (cached.etag(), IF_NONE_MATCH),
        (cached.headers.get(LAST_MODIFIED), IF_MODIFIED_SINCE),
    ] {
        if let Some(validator) = validator {
            request.insert(condition, validator.clone());
        }
    }
}

/// Returns whether a stale response may be served in place of a failure.
pub(super) fn stands_in(cached: &CachedResponse, failure: OriginFailure) -> bool {
    cached.freshness.stands_in(failure, Instant::now())
}

/// Returns whether a status is an error for which a stale response may stand in (RFC 5861 section 4).
pub(super) fn is_server_error(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502..=504)
}

impl<G: Grid> UpstreamFetch<'_, G> {
    /// Serves the stale response in place of an error.
    pub(super) fn stale_if_error(
        &self,
        cached: &Arc<CachedResponse>,
        leader: Option<Leader>,
    ) -> Reply {
        if let Some(leader) = leader {
            leader.finish(FetchOutcome::Cached(cached.clone()));
        }
        let ttl = cached.freshness.remaining(Instant::now());
        tracing::debug!(ttl, "stale response served in place of an error");
        let status = CacheStatus::Stale {
            reason: StaleReason::IfError,
            ttl,
        };
        cached_reply(cached, status, self.request)
    }

    /// Serves the stored response after the app confirmed it, and updates it with the headers of the 304.
    pub(super) fn not_modified(
        &self,
        cached: &Arc<CachedResponse>,
        upstream: &UpstreamResponse,
        record: &FetchRecord<'_>,
        leader: Option<Leader>,
    ) -> Reply {
        let update = upstream.response.headers();
        let (cache, limits) = (self.context.cache(), &self.context.router.limits);
        let release = upstream.served_by.release;
        let updated = cache.freshen(cached, update, record, release, limits);
        let (cached, outcome) = match updated {
            Some(updated) => (updated.clone(), FetchOutcome::Cached(updated)),
            None => (cached.clone(), FetchOutcome::Private),
        };
        if let Some(leader) = leader {
            leader.finish(outcome);
        }
        let mut reply = cached_reply(&cached, CacheStatus::Revalidated, self.request);
        // A cookie in the 304 is for this client.
        let headers = reply.response.headers_mut();
        for cookie in update.get_all(SET_COOKIE) {
            headers.append(SET_COOKIE, cookie.clone());
        }
        reply.served_by = Some(upstream.served_by.clone());
        reply
    }
}
