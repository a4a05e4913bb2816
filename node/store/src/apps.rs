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

/// The apps whose records can be read, and the errors of those whose cannot.
#[derive(Debug, Default)]
pub struct ReadableApps {
    /// The readable apps, by name.
    pub apps: Vec<AppRecord>,
    /// One error for each damaged record, or one for the whole table.
    pub errors: Vec<StoreError>,
}

/// Reads and writes apps.
pub trait AppStore {
    /// Adds an app that may have `formation` web dynos.
    ///
    /// # Errors
    ///
    /// [`StoreError::Taken`] if the name is in use.
    fn create_app(&self, name: &AppName, formation: u32) -> Result<AppRecord, StoreError>;

    /// Returns all apps that can be read, by name: a damaged record must not take the other apps down. The caller must not
    /// conclude from an app's absence that nothing belongs to it; [`LiveStore`](crate::LiveStore) tells that.
    fn apps(&self) -> ReadableApps;

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
