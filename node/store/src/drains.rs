//! Log drains, by app.

use std::fmt;

use corundum_abi::names::AppName;
use uuid::Uuid;

use crate::error::StoreError;

/// A log drain. Its URL may hold a password, so printing the record leaves it out.
#[derive(Clone, PartialEq, Eq)]
pub struct DrainRecord {
    /// The key.
    pub id: Uuid,
    /// The URL as its owner gave it.
    pub url: String,
    /// The name by which a receiver knows the drain, `d.UUID`.
    pub token: String,
    /// RFC 3339.
    pub created_at: String,
}

impl fmt::Debug for DrainRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DrainRecord")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Reads and writes log drains.
pub trait DrainStore {
    /// Adds a drain to an app.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn add_drain(&self, app: &AppName, url: &str) -> Result<DrainRecord, StoreError>;

    /// Removes a drain from its app and returns how many were removed.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn remove_drain(&self, app: &AppName, id: Uuid) -> Result<usize, StoreError>;

    /// Returns an app's drains, oldest first.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    fn drains(&self, app: &AppName) -> Result<Vec<DrainRecord>, StoreError>;
}
