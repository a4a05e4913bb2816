//! State that all listeners of a router share.

use std::sync::Arc;

use corundum_exchange::BoundedCounter;

use crate::acme_http01::Http01Challenges;
use crate::cache::{self, Cache};
use crate::grid::Grid;
use crate::limits::Limits;
use crate::metrics::RouterMetrics;

/// A router in front of a grid.
pub struct Router<G> {
    pub(crate) grid: Arc<G>,
    pub(crate) metrics: Arc<RouterMetrics>,
    pub(crate) limits: Limits,
    pub(crate) http01_challenges: Arc<Http01Challenges>,
    /// Bytes that waiting bodies may occupy.
    pub(crate) memory_budget: Arc<BoundedCounter>,
    /// Bytes that the encoders of bodies in flight may occupy.
    pub(crate) encoder_budget: Arc<BoundedCounter>,
    pub(crate) cache: Arc<Cache>,
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
            memory_budget: BoundedCounter::new(limits.buffers),
            encoder_budget: BoundedCounter::new(limits.encoders),
            cache: Arc::new(Cache::new(cache::DEFAULT_CACHE_BYTES)),
            limits,
        }
    }

    /// Replaces the cache.
    #[must_use]
    pub fn with_cache(self, cache: Arc<Cache>) -> Self {
        Self { cache, ..self }
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
