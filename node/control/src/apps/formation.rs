//! The formation of web dynos: how many an app may have, and their size.

use std::sync::Arc;

use corundum_abi::dyno_size::DynoSize;
use corundum_abi::names::{AppName, ProcessType};
use corundum_host::grid::DynoGrid;
use corundum_store::{ProcessScale, Store, StoreError};

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

    /// Sets the size of an app's web dynos, and replaces those that exist, each when it is idle.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    pub(crate) fn resize(&self, app: &AppName, size: DynoSize) -> Result<(), StoreError> {
        // The number of web dynos is part of the app's record.
        let scale = ProcessScale { quantity: 0, size };
        let scales = [(ProcessType::web(), scale)].into();
        self.store.set_process_scales(app, &scales)?;
        self.grid.set_web_memory(app, size.memory());
        self.grid.restart(app);
        Ok(())
    }
}
