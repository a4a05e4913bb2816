//! State that all listeners of a router share.

use std::sync::Arc;

use crate::acme_http01::Http01Challenges;
use crate::cache::{self, Cache};
use crate::concurrency_limit;
use crate::fair_pool::FairPool;
use crate::grid::Grid;
use crate::limits::Limits;
use crate::metrics::RouterMetrics;
use crate::trusted_proxies::TrustedProxies;

/// Bytes of a pool that one app may hold for each byte that is left for the others.
const POOL_RATIO: usize = 2;

/// A router in front of a grid.
pub struct Router<G> {
    pub(crate) grid: Arc<G>,
    pub(crate) metrics: Arc<RouterMetrics>,
    pub(crate) limits: Limits,
    pub(crate) http01_challenges: Arc<Http01Challenges>,
    /// Concurrent requests of the apps that have many.
    pub(crate) request_pool: Arc<FairPool>,
    /// Bytes that waiting bodies may occupy.
    pub(crate) body_pool: Arc<FairPool>,
    /// Bytes that the encoders of bodies in flight may occupy.
    pub(crate) encoder_pool: Arc<FairPool>,
    pub(crate) cache: Arc<Cache>,
    pub(crate) trusted_proxies: TrustedProxies,
}

impl<G: Grid> Router<G> {
    /// Creates a router in front of `grid`.
    pub fn new(grid: Arc<G>) -> Self {
        Self::with_limits(grid, Limits::default())
    }

    /// Creates a router in front of `grid` with `limits`.
    pub fn with_limits(grid: Arc<G>, limits: Limits) -> Self {
        Self {
            grid,
            metrics: Arc::default(),
            http01_challenges: Arc::default(),
            request_pool: concurrency_limit::pool(limits.requests),
            body_pool: FairPool::new(limits.buffers, POOL_RATIO),
            encoder_pool: FairPool::new(limits.encoders, POOL_RATIO),
            cache: Arc::new(Cache::new(cache::DEFAULT_CACHE_BYTES)),
            trusted_proxies: TrustedProxies::default(),
            limits,
        }
    }

    /// Replaces the cache.
    #[must_use]
    pub fn with_cache(self, cache: Arc<Cache>) -> Self {
        Self { cache, ..self }
    }

    /// Believes these proxies what they say about their clients.
    #[must_use]
    pub fn with_trusted_proxies(self, trusted_proxies: TrustedProxies) -> Self {
        Self {
            trusted_proxies,
            ..self
        }
    }

    /// Returns the router's own counters.
    pub fn metrics(&self) -> &Arc<RouterMetrics> {
        &self.metrics
    }

    /// Returns the pending ACME HTTP-01 challenges. They take precedence over apps and redirects.
    pub fn http01_challenges(&self) -> &Arc<Http01Challenges> {
        &self.http01_challenges
    }
}
