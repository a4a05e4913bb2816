//! Access tokens.

use rusqlite::{OptionalExtension, Row, params};
use uuid::Uuid;

use super::{SqliteStore, uuid_at};
use crate::error::StoreError;
use crate::time::now;
use crate::tokens::{NewToken, TokenRecord, TokenStore};

impl TokenStore for SqliteStore {
    fn add_token(&self, token: &NewToken) -> Result<TokenRecord, StoreError> {
        let record = TokenRecord {
            id: Uuid::new_v4(),
            description: token.description.clone(),
            abridged: token.abridged.clone(),
            created_at: now(),
            expires_at: token.expires_at.clone(),
        };
        self.connection().execute(
            "insert into tokens (hash, created_at, id, description, abridged, expires_at) \
             values (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                token.hash,
                record.created_at,
                record.id.to_string(),
                record.description,
                record.abridged,
                record.expires_at
            ],
        )?;
        Ok(record)
    }

    fn has_token(&self, hash: &str) -> Result<bool, StoreError> {
        let connection = self.connection();
        // Times in RFC 3339 with whole seconds in UTC are ordered as text.
        let found = connection.query_row(
            "select 1 from tokens where hash = ?1 and (expires_at is null or expires_at > ?2)",
            params![hash, now()],
            |_| Ok(()),
        );
        Ok(found.optional()?.is_some())
    }

    fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare(
            "select id, description, abridged, created_at, expires_at from tokens order by created_at, rowid",
        )?;
        let rows = statement.query_map([], record)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn remove_token(&self, id: Uuid) -> Result<TokenRecord, StoreError> {
        let connection = self.connection();
        let removed = connection.query_row(
            "delete from tokens where id = ?1 returning id, description, abridged, created_at, expires_at",
            [id.to_string()],
            record,
        );
        removed.optional()?.ok_or(StoreError::NoToken(id))
    }
}

fn record(row: &Row<'_>) -> rusqlite::Result<TokenRecord> {
    Ok(TokenRecord {
        id: uuid_at(row, 0)?,
        description: row.get(1)?,
        abridged: row.get(2)?,
        created_at: row.get(3)?,
        expires_at: row.get(4)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_valid_until_it_expires_or_is_revoked() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&directory.path().join("db")).unwrap();
        let token = |hash: &str, expires_at: Option<&str>| NewToken {
            hash: hash.to_owned(),
            description: "test".to_owned(),
            abridged: "ab**********cd".to_owned(),
            expires_at: expires_at.map(str::to_owned),
        };
        let kept = store.add_token(&token("kept", None)).unwrap();
        store
            .add_token(&token("later", Some("2999-01-01T00:00:00Z")))
            .unwrap();
        store
            .add_token(&token("over", Some("2026-01-01T00:00:00Z")))
            .unwrap();
        let valid = |hash| store.has_token(hash).unwrap();
        assert!(valid("kept") && valid("later") && !valid("over") && !valid("other"));
        assert_eq!(store.tokens().unwrap().len(), 3);
        assert_eq!(store.remove_token(kept.id).unwrap(), kept);
        assert!(!valid("kept"));
        assert!(matches!(
            store.remove_token(kept.id),
            Err(StoreError::NoToken(_))
        ));
    }
}
