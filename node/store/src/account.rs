//! The account that owns the node's apps and tokens.

use uuid::Uuid;

use crate::error::StoreError;

/// An account. A node has one; collaborators will be more rows of the same table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRecord {
    /// The key.
    pub id: Uuid,
    /// The e-mail address, which API clients show as the owner of apps.
    pub email: String,
    /// RFC 3339.
    pub created_at: String,
}

/// Reads the account.
pub trait AccountStore {
    /// Returns the node's account, which the schema's migration creates.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    fn account(&self) -> Result<AccountRecord, StoreError>;
}
