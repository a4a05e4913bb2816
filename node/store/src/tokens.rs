//! Access tokens of the API. The store keeps their hashes, never the tokens.

use uuid::Uuid;

use crate::error::StoreError;

/// A token that was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// The key.
    pub id: Uuid,
    /// The purpose of the token, for people.
    pub description: String,
    /// The first and the last characters of the token with asterisks between them, so that its owner can tell it apart.
    pub abridged: String,
    /// RFC 3339.
    pub created_at: String,
    /// When the token expires, in RFC 3339 with whole seconds in UTC; none if it does not.
    pub expires_at: Option<String>,
    /// When the token was last used, in RFC 3339; none if it was not. Not every use is noted.
    pub last_used_at: Option<String>,
}

/// A token to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    /// The SHA-256 of the token in hexadecimal.
    pub hash: String,
    /// The purpose of the token, for people.
    pub description: String,
    /// The first and the last characters of the token with asterisks between them.
    pub abridged: String,
    /// When the token expires, in RFC 3339 with whole seconds in UTC; none if it does not.
    pub expires_at: Option<String>,
}

/// Reads and writes access tokens. Hashes are compared, so the time of a comparison reveals nothing of a token.
pub trait TokenStore {
    /// Adds a token.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn add_token(&self, token: &NewToken) -> Result<TokenRecord, StoreError>;

    /// Returns the token with this hash, if it was issued and has not expired.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    fn valid_token(&self, hash: &str) -> Result<Option<TokenRecord>, StoreError>;

    /// Notes that a token is being used.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn note_token_use(&self, id: Uuid) -> Result<(), StoreError>;

    /// Returns all tokens, oldest first, with expired ones.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError>;

    /// Revokes a token and returns its record.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoToken`] if no token has the key.
    fn remove_token(&self, id: Uuid) -> Result<TokenRecord, StoreError>;
}
