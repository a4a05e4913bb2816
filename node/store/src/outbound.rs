//! Targets that an operator has granted to apps.

use corundum_abi::names::AppName;
use corundum_abi::outbound::OutboundTarget;
use uuid::Uuid;

use crate::error::StoreError;

/// A target that an app may reach by a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboundGrantRecord {
    /// The key.
    pub id: Uuid,
    /// The target.
    pub target: OutboundTarget,
    /// RFC 3339.
    pub created_at: String,
}

/// Reads and writes grants.
pub trait OutboundGrantStore {
    /// Grants a target to an app. A grant that exists stays as it is, and is returned.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn add_outbound_grant(
        &self,
        app: &AppName,
        target: &OutboundTarget,
    ) -> Result<OutboundGrantRecord, StoreError>;

    /// Removes a grant from its app and returns how many were removed.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn remove_outbound_grant(&self, app: &AppName, id: Uuid) -> Result<usize, StoreError>;

    /// Returns an app's grants, oldest first.
    ///
    /// # Errors
    ///
    /// The store cannot be read, or holds text that is not a target.
    fn outbound_grants(&self, app: &AppName) -> Result<Vec<OutboundGrantRecord>, StoreError>;
}
