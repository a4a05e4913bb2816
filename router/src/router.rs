//! The router's parts, shared by all its listeners.

use std::sync::Arc;

use crate::figures::RouterFigures;
use crate::grid::Grid;

/// A router in front of a grid.
pub struct Router<G> {
    pub(crate) grid: Arc<G>,
    pub(crate) figures: Arc<RouterFigures>,
}

impl<G: Grid> Router<G> {
    /// A router in front of `grid`.
    pub fn new(grid: Arc<G>) -> Self {
        Self {
            grid,
            figures: Arc::default(),
        }
    }

    /// What is counted of the router itself.
    pub fn figures(&self) -> &Arc<RouterFigures> {
        &self.figures
    }
}
