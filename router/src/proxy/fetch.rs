//! Fetches a response that may be stored, for one request or for all that wait for the same key.

use std::sync::Arc;
use std::time::Instant;

use corundum_exchange::RequestBody;
use http::request::Parts;
use http::{StatusCode, Version};

use super::context::RequestContext;
use super::reply::Reply;
use super::revalidation;
use crate::cache::cache_lock::{FetchOutcome, Leader};
use crate::cache::cached_response::{CachedResponse, FetchTimes};
use crate::cache::freshness::OriginFailure;
use crate::cache::lookup::{KeyState, Miss};
use crate::cache::stats::CacheCounters;
use crate::cache::unkeyed_headers;
use crate::failure::Failure;
use crate::grid::Grid;
use crate::request_id::{REQUEST_ID, RequestId};

/// Form in which a request is sent.
pub(super) enum FetchMode {
    /// Unchanged, for its client alone unless the response turns out to be shareable.
    Original,
    /// Without unkeyed headers, so that they cannot change the response.
    Anonymous,
    /// Without unkeyed headers, and conditional on the stored response being outdated.
    Revalidate(Arc<CachedResponse>),
}

/// A request for a missing or stale response on its way to the app.
pub(super) struct UpstreamFetch<'a, G> {
    pub(super) context: &'a RequestContext<G>,
    pub(super) request: &'a Parts,
    pub(super) miss: &'a Miss,
    pub(super) stats: Arc<CacheCounters>,
}

impl<'a, G: Grid> UpstreamFetch<'a, G> {
    pub(super) fn new(context: &'a RequestContext<G>, request: &'a Parts, miss: &'a Miss) -> Self {
        Self {
            context,
            request,
            miss,
            stats: context.cache_stats(),
        }
    }

    /// Fetches the response: with a leader for all requests that wait for the key, else for this request alone.
    pub(super) async fn send(&self, leader: Option<Leader>) -> Result<Reply, Failure> {
        let mode = self.mode(leader.as_ref());
        let sent = self.outgoing(&mode);
        let purges = self.stats.purges();
        let sent_at = Instant::now();
        let id = self.outgoing_id(&mode);
        let dispatched = self
            .context
            .dispatch(sent.clone(), &id, Some(0), RequestBody::Empty)
            .await;
        let times = FetchTimes::received_now(sent_at);
        let record = self.context.fetch_record(&sent, &self.stats, times, purges);
        let mut upstream = match (dispatched, &mode) {
            (Ok(upstream), _) => upstream,
            (Err(_), FetchMode::Revalidate(cached))
                if revalidation::stands_in(cached, OriginFailure::Unreachable) =>
            {
                return Ok(self.stale_if_error(cached, leader));
            }
            (Err(failure), _) => {
                if let Some(leader) = leader {
                    leader.finish(FetchOutcome::Failed(failure.clone()));
                }
                return Err(failure);
            }
        };
        self.context.apply_purge(&mut upstream);
        if let FetchMode::Revalidate(cached) = &mode {
            let status = upstream.response.status();
            if status == StatusCode::NOT_MODIFIED {
                return Ok(self.not_modified(cached, &upstream, &record, leader));
            }
            if revalidation::is_server_error(status)
                && revalidation::stands_in(cached, OriginFailure::ServerError)
            {
                return Ok(self.stale_if_error(cached, leader));
            }
        }
        self.admit(mode, upstream, record, leader).await
    }

    /// Chooses the form of the request. A request for one client alone is sent unchanged.
    fn mode(&self, leader: Option<&Leader>) -> FetchMode {
        match &self.miss.state {
            _ if leader.is_none() => FetchMode::Original,
            KeyState::Stale(cached) => FetchMode::Revalidate(cached.clone()),
            KeyState::Shareable => FetchMode::Anonymous,
            // Variants of the URL are stored: its responses may be shared, and the headers that select them are known.
            KeyState::Unknown if !self.miss.keyed.is_empty() => FetchMode::Anonymous,
            KeyState::Unknown | KeyState::HitForPass => FetchMode::Original,
        }
    }

    /// Builds the request as it is sent.
    fn outgoing(&self, mode: &FetchMode) -> Parts {
        let mut sent = self.request.clone();
        // The client's version is not part of the key, so the app must not see it.
        sent.version = Version::HTTP_11;
        if !matches!(mode, FetchMode::Original) {
            sent.headers = unkeyed_headers::keyed_only(&self.request.headers, &self.miss.keyed);
        }
        if let FetchMode::Revalidate(cached) = mode {
            revalidation::add_conditions(&mut sent.headers, cached);
        }
        sent
    }

    /// Chooses the request id that the app sees. A client's own id must not appear in a response that others share.
    fn outgoing_id(&self, mode: &FetchMode) -> RequestId {
        match mode {
            FetchMode::Original => self.context.request_id.clone(),
            _ if self.request.headers.contains_key(REQUEST_ID) => RequestId::new(),
            _ => self.context.request_id.clone(),
        }
    }
}
