//! Access tokens.

use rusqlite::{OptionalExtension, params};

use super::SqliteStore;
use crate::error::StoreError;
use crate::time::now;
use crate::tokens::TokenStore;

impl TokenStore for SqliteStore {
    fn add_token(&self, hash: &str) -> Result<(), StoreError> {
        self.connection()
            .execute("insert into tokens values (?1, ?2)", params![hash, now()])?;
        Ok(())
    }

    fn has_token(&self, hash: &str) -> Result<bool, StoreError> {
        let connection = self.connection();
        let found =
            connection.query_row("select 1 from tokens where hash = ?1", [hash], |_| Ok(()));
        Ok(found.optional()?.is_some())
    }
}
