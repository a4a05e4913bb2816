//! Access tokens of the API, kept as hashes.

use crate::error::StoreError;

/// Reads and writes access tokens. Hashes are compared, so the time of a comparison reveals nothing of a token.
pub trait TokenStore {
    /// Adds a token by its hash.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn add_token(&self, hash: &str) -> Result<(), StoreError>;

    /// Returns whether a token with this hash was issued.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    fn has_token(&self, hash: &str) -> Result<bool, StoreError>;
}
