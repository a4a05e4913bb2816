//! The HTTP cache: a shared cache (RFC 9111) in memory, bounded in bytes, one for all apps of a node.
//!
//! The module holds rules, storage, keys and locks. It knows neither requests under way nor dynos:
//! [`proxy`](crate::proxy) asks it what to do ([`lookup`]), fetches responses, and hands them back ([`entry`]).
//!
//! | question | file |
//! |---|---|
//! | may a stored response answer this request? | [`lookup`] |
//! | may this response be stored? | [`storable`], from [`directives`] and [`policy`] |
//! | how long is it fresh, and usable after that? | [`freshness`] |
//! | which requests share a response? | [`key`], [`vary`], [`unkeyed_headers`] |
//! | what does the client get of it? | [`deliver`], [`encoded_variants`], with the rules of [`semantics`](crate::semantics) |
//! | which requests wait for one another? | [`cache_lock`], [`streaming_fill`] |
//! | what does a purge remove? | [`purge`], [`surrogate_keys`], [`urls`] |
//!
//! The cache applies no heuristic freshness (RFC 9111 section 4.2.2): it stores only responses that say how long they
//! are fresh.

pub(crate) mod cache_lock;
pub mod cache_status;
pub(crate) mod cached_response;
pub(crate) mod deliver;
pub mod directives;
mod encoded_variants;
mod encoding_queue;
pub(crate) mod entry;
pub mod freshness;
pub mod key;
pub(crate) mod lookup;
pub mod policy;
pub(crate) mod purge;
pub(crate) mod stats;
pub mod storable;
mod store;
pub(crate) mod streaming_fill;
mod surrogate_keys;
pub mod unkeyed_headers;
pub(crate) mod urls;
mod variant_encoding;
pub mod vary;

use std::sync::Arc;

use corundum_abi::names::AppName;

pub use purge::PurgeScope;
pub use stats::CacheSnapshot;

use cache_lock::CacheLocks;
use cached_response::{CachedResponse, Residency};
use encoding_queue::EncodingQueue;
use key::Key;
use stats::{CacheCounters, CacheCountersByApp};
use store::{CacheStore, Slot};
use surrogate_keys::{SurrogateKey, SurrogateKeyIndex, SurrogateKeySubject};

/// Default capacity in bytes.
pub const DEFAULT_CACHE_BYTES: u64 = 64 << 20;

/// Largest response, in bytes, that a cache of any capacity stores. Larger ones are downloads; one of them would evict
/// thousands of pages.
const MAX_RESPONSE_BYTES: u64 = 8 << 20;

/// A node's cache.
#[derive(Debug)]
pub struct Cache {
    store: CacheStore,
    locks: Arc<CacheLocks>,
    surrogate_keys: Arc<SurrogateKeyIndex>,
    stats: CacheCountersByApp,
    /// Large bodies that wait to be encoded in the background.
    encodings: Arc<EncodingQueue>,
}

/// Memory that the cache uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheSize {
    /// Bytes in use.
    pub bytes: u64,
    /// Bytes that may be in use.
    pub capacity: u64,
}

impl Cache {
    /// Creates a cache of `bytes`. A cache of 0 bytes stores nothing.
    pub fn new(bytes: u64) -> Self {
        let max_response = (bytes / 16).min(MAX_RESPONSE_BYTES);
        Self {
            store: CacheStore::new(bytes, max_response as usize),
            locks: Arc::default(),
            surrogate_keys: Arc::default(),
            stats: CacheCountersByApp::default(),
            encodings: Arc::default(),
        }
    }

    fn is_enabled(&self) -> bool {
        self.store.max_response > 0
    }

    /// Largest body, in bytes, that is stored.
    pub(crate) fn max_response(&self) -> usize {
        self.store.max_response
    }

    /// Locks that collapse concurrent requests for a key into one.
    pub(crate) fn locks(&self) -> &Arc<CacheLocks> {
        &self.locks
    }

    /// Returns the memory in use and its bound.
    pub fn size(&self) -> CacheSize {
        CacheSize {
            bytes: self.store.bytes(),
            capacity: self.store.capacity(),
        }
    }

    /// Counters of an app; all are 0 for an app that the cache has not seen.
    pub fn stats(&self, app: &AppName) -> CacheSnapshot {
        self.stats
            .known(app)
            .map(|stats| stats.snapshot())
            .unwrap_or_default()
    }

    /// Counters of every app, sorted by name.
    pub fn all_stats(&self) -> Vec<(AppName, CacheSnapshot)> {
        self.stats.all()
    }

    /// Counters of an app, created on first use.
    pub(crate) fn app_stats(&self, app: &AppName) -> Arc<CacheCounters> {
        self.stats.of(app)
    }

    /// Purges responses of an app and returns their number. Responses to requests that were sent before the purge are
    /// not stored after it.
    pub fn purge(&self, app: &AppName, scope: &PurgeScope) -> usize {
        // An app without counters has sent no request through the cache: nothing is stored, nothing is under way.
        let stats = self.stats.known(app);
        stats.map_or(0, |stats| self.purge_counted(&stats, app, scope))
    }

    /// Purges a removed app and drops its counters.
    pub fn remove_app(&self, app: &AppName) {
        self.purge(app, &PurgeScope::App);
        self.stats.remove(app);
    }

    fn purge_counted(&self, stats: &CacheCounters, app: &AppName, scope: &PurgeScope) -> usize {
        let subject = match scope {
            PurgeScope::App => SurrogateKeySubject::App,
            PurgeScope::Url { host, target } => SurrogateKeySubject::Url(host, target.as_bytes()),
            PurgeScope::Tag(tag) => SurrogateKeySubject::Tag(tag),
        };
        let surrogate_key = self.surrogate_keys.key(app.as_str(), subject);
        // Recorded before the removal: a response that is inserted in between sees the record.
        stats.record_purge(surrogate_key);
        self.surrogate_keys
            .entries(surrogate_key)
            .iter()
            .filter(|key| self.store.remove(key))
            .count()
    }

    /// Marks responses for `key` as not shareable for a while: requests for it do not wait for one another.
    pub(crate) fn mark_hit_for_pass(&self, key: Key, now: std::time::Instant) {
        self.store.put_hit_for_pass(key, now);
    }

    /// Removes this very response, with its encoded variants. A newer response under the same key stays.
    pub(crate) fn remove(&self, cached: &Arc<CachedResponse>) {
        self.store.remove_this(cached);
    }

    /// Stores a response under its surrogate keys. `purges` is the number of the app's purges before the request was
    /// sent.
    ///
    /// # Errors
    ///
    /// The response, not stored, if one of its surrogate keys may have been purged since then.
    pub(crate) fn insert(
        &self,
        response: CachedResponse,
        stats: &Arc<CacheCounters>,
        surrogate_keys: &[SurrogateKey],
        purges: u64,
    ) -> Result<Arc<CachedResponse>, Arc<CachedResponse>> {
        let bytes = response.weight() as u64;
        let membership = self.surrogate_keys.join(&response.key, surrogate_keys);
        let residency = Some(Residency::of_response(stats.clone(), membership, bytes));
        let cached = Arc::new(CachedResponse {
            residency,
            ..response
        });
        self.store
            .put(cached.key.clone(), Slot::Response(cached.clone()));
        // Encoded variants of the response that this one replaces would never be found again.
        self.store.remove_variants(&cached.key);
        if stats.purged_since(purges, surrogate_keys) {
            self.store.remove_this(&cached);
            return Err(cached);
        }
        Ok(cached)
    }
}
