//! The router's parts, shared by all its listeners.

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
    /// What bodies may keep waiting.
    pub(crate) memory_budget: Arc<BoundedCounter>,
    /// What the encoders of bodies that are under way may take.
    pub(crate) encoder_budget: Arc<BoundedCounter>,
    pub(crate) cache: Arc<Cache>,
}

impl<G: Grid> Router<G> {
    /// A router in front of `grid`.
    pub fn new(grid: Arc<G>) -> Self {
        Self::with_limits(grid, Limits::default())
    }

    /// A router in front of `grid` with limits of one's own.
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

    /// The same with a cache of one's own.
    #[must_use]
    pub fn with_cache(self, cache: Arc<Cache>) -> Self {
        Self { cache, ..self }
    }

    /// What is counted of the router itself.
    pub fn metrics(&self) -> &Arc<RouterMetrics> {
        &self.metrics
    }

    /// Answers that ACME servers look for; they prevail over apps and redirects.
    pub fn http01_challenges(&self) -> &Arc<Http01Challenges> {
        &self.http01_challenges
    }
}
