//! The apps of a grid, by name.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use corundum_abi::names::AppName;

/// Apps by name.
pub(super) struct AppRegistry<A> {
    apps: RwLock<HashMap<AppName, Arc<A>>>,
}

impl<A> AppRegistry<A> {
    pub(super) fn new() -> Self {
        Self {
            apps: RwLock::default(),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<AppName, Arc<A>>> {
        self.apps.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<AppName, Arc<A>>> {
        self.apps.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, name: &AppName) -> Option<Arc<A>> {
        self.read().get(name).cloned()
    }

    pub(super) fn get_or_insert_with(&self, name: &AppName, create: impl FnOnce() -> A) -> Arc<A> {
        let mut apps = self.write();
        let app = apps.entry(name.clone());
        app.or_insert_with(|| Arc::new(create())).clone()
    }

    pub(super) fn remove(&self, name: &AppName) -> Option<Arc<A>> {
        self.write().remove(name)
    }

    /// Returns all apps, so that the caller can visit them without holding the lock.
    pub(super) fn all(&self) -> Vec<Arc<A>> {
        self.read().values().cloned().collect()
    }
}
