//! Admission of a fetched response to the cache: it is stored, stored while it streams, or kept for its client alone.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use corundum_exchange::DynoBody;

use super::cached::{cached_reply, streaming_reply};
use super::dispatch::UpstreamResponse;
use super::fetch::{FetchMode, UpstreamFetch};
use super::reply::Reply;
use crate::cache::cache_lock::{FetchOutcome, Leader};
use crate::cache::cache_status::CacheStatus;
use crate::cache::cached_response::CachedResponse;
use crate::cache::entry::{FetchRecord, UnkeyedHeaders};
use crate::cache::lookup::answers;
use crate::cache::storable::NotStored;
use crate::cache::streaming_fill::{FillLimits, StreamingFill};
use crate::cache::{purge, unkeyed_headers};
use crate::failure::Failure;
use crate::grid::Grid;
use crate::headers::content_length;

impl<G: Grid> UpstreamFetch<'_, G> {
    /// Stores a response if it may be stored, and answers the request with it.
    pub(super) async fn admit(
        &self,
        mode: FetchMode,
        mut upstream: UpstreamResponse,
        record: FetchRecord<'_>,
        leader: Option<Leader>,
    ) -> Result<Reply, Failure> {
        let cache = self.context.cache();
        let unkeyed = match mode {
            FetchMode::Original if leader.is_some() => UnkeyedHeaders::Sent,
            FetchMode::Original => UnkeyedHeaders::SentForOne,
            FetchMode::Anonymous | FetchMode::Revalidate(_) => UnkeyedHeaders::Removed,
        };
        let candidate = upstream.candidate();
        let entry = cache.prepare_entry(self.miss, &record, unkeyed, &candidate);
        let surrogate_keys = cache.surrogate_keys(&record, upstream.response.headers(), &[]);
        purge::strip(upstream.response.headers_mut());
        let head = match entry {
            Ok(head) => head,
            Err(refusal) => return self.keep_private(mode, upstream, refusal, leader).await,
        };
        // A header that was removed from the request may select another response.
        let own = answers(&head, &self.miss.primary, &self.request.headers);
        let reply = match upstream.body {
            DynoBody::Full(body) => {
                // Copied: the dyno's body may be a slice of a much larger buffer.
                let response = head.with_body(Bytes::copy_from_slice(&body));
                let inserted = cache.insert(response, &self.stats, &surrogate_keys, record.purges);
                self.share(inserted, leader)
            }
            DynoBody::Stream(stream) => {
                let reservation = self.context.body_pool().empty();
                let length = content_length(upstream.response.headers());
                let fill = StreamingFill::new(Arc::new(head), length);
                let insert = {
                    let (cache, stats) = (cache.clone(), self.stats.clone());
                    let (head, purges) = (fill.head.clone(), record.purges);
                    move |body| {
                        let response = head.with_body(body);
                        let inserted = cache.insert(response, &stats, &surrogate_keys, purges);
                        // Followers joined before the purge, so they get the response although it is not stored.
                        inserted.unwrap_or_else(|purged| purged)
                    }
                };
                let limits = FillLimits {
                    max_bytes: cache.max_response(),
                    idle: self.context.router.limits.dyno_idle,
                };
                if let Some(leader) = &leader {
                    leader.publish(FetchOutcome::Streaming(fill.clone()));
                }
                let filled = fill.clone().run(stream, limits, reservation, insert);
                tokio::spawn(async move {
                    filled.await;
                    // The lock is held until the response is stored: requests until then join the fill.
                    drop(leader);
                });
                let status = CacheStatus::Miss {
                    reason: self.miss.reason,
                    stored: Ok(()),
                };
                streaming_reply(fill, status, self.request)
            }
        };
        if !own {
            // The response is for clients without this one's headers.
            return self.fetch_own().await;
        }
        Ok(Reply {
            served_by: Some(upstream.served_by),
            ..reply
        })
    }

    /// Answers with a complete response, and shares it with the followers if it is stored.
    fn share(
        &self,
        inserted: Result<Arc<CachedResponse>, Arc<CachedResponse>>,
        leader: Option<Leader>,
    ) -> Reply {
        let (cached, stored, outcome) = match inserted {
            Ok(cached) => (cached.clone(), Ok(()), FetchOutcome::Cached(cached)),
            Err(cached) => (cached, Err(NotStored::Purged), FetchOutcome::Private),
        };
        if let Some(leader) = leader {
            leader.finish(outcome);
        }
        let reason = self.miss.reason;
        cached_reply(&cached, CacheStatus::Miss { reason, stored }, self.request)
    }

    /// Answers with a response that is not stored.
    async fn keep_private(
        &self,
        mode: FetchMode,
        upstream: UpstreamResponse,
        refusal: NotStored,
        leader: Option<Leader>,
    ) -> Result<Reply, Failure> {
        tracing::debug!(reason = refusal.as_str(), "response not stored");
        let cache = self.context.cache();
        if let FetchMode::Revalidate(cached) = &mode {
            cache.remove(cached);
        }
        let anonymised = !matches!(mode, FetchMode::Original)
            && unkeyed_headers::any(&self.request.headers, &self.miss.keyed);
        let followed = leader.is_some_and(|leader| leader.finish(FetchOutcome::Private));
        if (followed || anonymised) && refusal != NotStored::Influenced {
            cache.mark_hit_for_pass(self.miss.key.clone(), Instant::now());
        }
        if anonymised {
            // The response is to a request without this client's headers.
            return self.fetch_own().await;
        }
        Ok(upstream.into_reply(CacheStatus::Miss {
            reason: self.miss.reason,
            stored: Err(refusal),
        }))
    }

    /// Sends the request once more, with the client's own headers and for this client alone.
    async fn fetch_own(&self) -> Result<Reply, Failure> {
        Box::pin(self.send(None)).await
    }
}
