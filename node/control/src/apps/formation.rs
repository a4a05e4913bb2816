//! Formations: how many dynos of each process type an app may have. Web is the only type so far.

use std::sync::Arc;

use corundum_abi::names::AppName;
use corundum_host::grid::DynoGrid;
use corundum_store::{Store, StoreError};

use crate::routing::view::RouterView;

/// Web dynos of a new app. Each serves one request at a time, and an idle app has none.
pub(crate) const DEFAULT_WEB: u32 = 16;

/// The most web dynos that an app can be scaled to, which is about the capacity of a whole node.
pub(crate) const MAX_WEB: u32 = 10_000;

/// Scales apps.
pub struct Formations {
    store: Arc<dyn Store>,
    grid: DynoGrid,
    view: Arc<RouterView>,
}

impl Formations {
    /// Creates the type that scales the apps of `store` in `grid`.
    pub fn new(store: Arc<dyn Store>, grid: DynoGrid, view: Arc<RouterView>) -> Self {
        Self { store, grid, view }
    }

    /// Sets the most web dynos that an app may have.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoApp`] if the app does not exist; the store cannot be written.
    pub(crate) fn scale(&self, app: &AppName, web: u32) -> Result<(), StoreError> {
        self.store.set_formation(app, web)?;
        self.grid.set_formation(app, web);
        self.view.refresh(app);
        Ok(())
    }
}
