//! Collapsed forwarding: a request that waits for another one's fetch and shares its response.

use std::time::{Duration, Instant};

use http::request::Parts;

use super::cached::{cached_reply, streaming_reply};
use super::context::RequestContext;
use super::fetch::UpstreamFetch;
use super::reply::Reply;
use crate::cache::cache_lock::{FetchOutcome, Follower};
use crate::cache::cache_status::{CacheStatus, ForwardReason, StaleReason};
use crate::cache::cached_response::CachedResponse;
use crate::cache::freshness::FreshnessState;
use crate::cache::lookup::{Found, KeyState, Lookup, MAX_ROUNDS, Miss, answers};
use crate::cache::streaming_fill::FillOutcome;
use crate::failure::Failure;
use crate::grid::Grid;

/// Longest wait for a body of unknown length. A stream that never ends is not worth more.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// Waits for the leader of a miss and answers with its response. If that response is not for this request, looks at the
/// cache again, and in the end fetches a response for this request alone.
pub(super) async fn follow<G: Grid>(
    context: &RequestContext<G>,
    request: &Parts,
    mut miss: Miss,
    mut follower: Follower,
) -> Result<Reply, Failure> {
    for _ in 0..MAX_ROUNDS {
        let outcome = follower.outcome().await;
        let private = matches!(outcome, Some(FetchOutcome::Private));
        if let Some(reply) = share(outcome, &miss, request).await {
            return reply;
        }
        let found = match context.find_cached(request) {
            // After a private response a request waits again only if responses for the key are known to be shareable.
            Found::Miss(found) if private && !is_shareable(&found.state) => break,
            Found::Miss(found) => {
                let resource = context.resource(request);
                let cache = context.cache();
                cache.lock(&resource, &request.headers, found, Instant::now())
            }
            found => found.into(),
        };
        match found {
            Lookup::Hit(cached, status) | Lookup::StaleHit(cached, status, _) => {
                return Ok(cached_reply(&cached, status, request));
            }
            Lookup::Fetch(miss, Some(leader)) => {
                return UpstreamFetch::new(context, request, &miss)
                    .send(Some(leader))
                    .await;
            }
            Lookup::Wait(again, next) => (miss, follower) = (again, next),
            _ => break,
        }
    }
    UpstreamFetch::new(context, request, &miss).send(None).await
}

fn is_shareable(state: &KeyState) -> bool {
    matches!(state, KeyState::Shareable | KeyState::Stale(_))
}

/// Answers a request with the outcome of the leader it waited for, if that is for this request too.
async fn share(
    outcome: Option<FetchOutcome>,
    miss: &Miss,
    request: &Parts,
) -> Option<Result<Reply, Failure>> {
    let shareable = |cached: &CachedResponse| answers(cached, &miss.primary, &request.headers);
    let shared = |cached: &CachedResponse| {
        let status = shared_status(cached, miss.reason);
        Some(Ok(cached_reply(cached, status, request)))
    };
    match outcome? {
        FetchOutcome::Cached(cached) if shareable(&cached) => shared(&cached),
        FetchOutcome::Failed(failure) => Some(Err(failure)),
        FetchOutcome::Streaming(fill) if shareable(&fill.head) => {
            if fill.length.is_some() {
                let status = CacheStatus::Collapsed(miss.reason);
                return Some(Ok(streaming_reply(fill, status, request)));
            }
            // A body of unknown length may turn out too large to be shared, which is known only at its end.
            match tokio::time::timeout(MAX_WAIT, fill.outcome()).await {
                Ok(FillOutcome::Complete(cached)) => shared(&cached),
                Ok(FillOutcome::TooLarge | FillOutcome::Failed(_)) | Err(_) => None,
            }
        }
        _ => None,
    }
}

/// Status of a shared response: a stale one was served in place of an error.
fn shared_status(cached: &CachedResponse, reason: ForwardReason) -> CacheStatus {
    let now = Instant::now();
    if cached.freshness.state(now) == FreshnessState::Fresh || cached.always_validated() {
        return CacheStatus::Collapsed(reason);
    }
    CacheStatus::Stale {
        reason: StaleReason::IfError,
        ttl: cached.freshness.remaining(now),
    }
}
