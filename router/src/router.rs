//! The router's parts, shared by all its listeners.

use std::sync::Arc;

use corundum_exchange::BoundedCounter;

use crate::cache::{self, Cache};
use crate::challenges::Challenges;
use crate::figures::RouterFigures;
use crate::grid::Grid;
use crate::limits::Limits;

/// A router in front of a grid.
pub struct Router<G> {
    pub(crate) grid: Arc<G>,
    pub(crate) figures: Arc<RouterFigures>,
    pub(crate) limits: Limits,
    pub(crate) challenges: Arc<Challenges>,
    /// What bodies may keep waiting.
    pub(crate) budget: Arc<BoundedCounter>,
    /// What the encoders of bodies that are under way may take.
    pub(crate) encoders: Arc<BoundedCounter>,
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
            figures: Arc::default(),
            challenges: Arc::default(),
            budget: BoundedCounter::new(limits.buffers),
            encoders: BoundedCounter::new(limits.encoders),
            cache: Arc::new(Cache::new(cache::DEFAULT_BYTES)),
            limits,
        }
    }

    /// The same with a cache of one's own.
    #[must_use]
    pub fn with_cache(self, cache: Arc<Cache>) -> Self {
        Self { cache, ..self }
    }

    /// What is counted of the router itself.
    pub fn figures(&self) -> &Arc<RouterFigures> {
        &self.figures
    }

    /// Answers that ACME servers look for; they prevail over apps and redirects.
    pub fn challenges(&self) -> &Arc<Challenges> {
        &self.challenges
    }
}
