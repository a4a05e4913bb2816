//! Domains: the host names that apps have beside `NAME.DOMAIN` of the node.

use corundum_abi::names::AppName;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain_name::DomainName;
use crate::error::StoreError;

/// A domain of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainRecord {
    /// The key.
    pub id: Uuid,
    /// The host name or wildcard, unique on the node.
    pub hostname: DomainName,
    /// RFC 3339.
    pub created_at: String,
}

/// Reads and writes domains.
pub trait DomainStore {
    /// Gives an app a domain.
    ///
    /// # Errors
    ///
    /// [`StoreError::DomainTaken`] if an app has the domain already.
    fn add_domain(&self, app: &AppName, host: &DomainName) -> Result<DomainRecord, StoreError>;

    /// Removes a domain from its app.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoDomain`] if the app does not have it.
    fn remove_domain(&self, app: &AppName, host: &DomainName) -> Result<(), StoreError>;

    /// Returns an app's domains, in alphabetical order.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    fn domains(&self, app: &AppName) -> Result<Vec<DomainRecord>, StoreError>;
}
