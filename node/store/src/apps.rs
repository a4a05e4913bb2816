//! Apps and their formations.

use corundum_abi::names::AppName;
use uuid::Uuid;

use crate::error::StoreError;

/// An app.
#[derive(Debug, Clone)]
pub struct AppRecord {
    /// The key, which survives a change of the name.
    pub id: Uuid,
    /// Unique on the node.
    pub name: AppName,
    /// RFC 3339.
    pub created_at: String,
    /// The most web dynos that the app may have.
    pub formation: u32,
}

/// Reads and writes apps.
pub trait AppStore {
    /// Adds an app that may have `formation` web dynos.
    ///
    /// # Errors
    ///
    /// [`StoreError::Taken`] if the name is in use.
    fn create_app(&self, name: &AppName, formation: u32) -> Result<AppRecord, StoreError>;

    /// Returns all apps, by name.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    fn apps(&self) -> Result<Vec<AppRecord>, StoreError>;

    /// Returns an app.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoApp`] if the app does not exist.
    fn app(&self, name: &AppName) -> Result<AppRecord, StoreError>;

    /// Returns the app with a key.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoAppId`] if no app has it.
    fn app_by_id(&self, id: Uuid) -> Result<AppRecord, StoreError>;

    /// Deletes an app with all its records.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoApp`] if the app does not exist.
    fn delete_app(&self, name: &AppName) -> Result<(), StoreError>;

    /// Sets the most web dynos that an app may have.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoApp`] if the app does not exist.
    fn set_formation(&self, name: &AppName, formation: u32) -> Result<(), StoreError>;
}
