//! Access tokens.

use rusqlite::{OptionalExtension, Row, params};
use uuid::Uuid;

use super::{SqliteStore, uuid_at};
use crate::error::StoreError;
use crate::time::now;
use crate::tokens::{NewToken, TokenRecord, TokenStore};

/// The columns that [`record`] reads.
const COLUMNS: &str = "id, description, abridged, created_at, expires_at, last_used_at";

impl TokenStore for SqliteStore {
    fn add_token(&self, token: &NewToken) -> Result<TokenRecord, StoreError> {
        let record = TokenRecord {
            id: Uuid::new_v4(),
            description: token.description.clone(),
            abridged: token.abridged.clone(),
            created_at: now(),
            expires_at: token.expires_at.clone(),
            last_used_at: None,
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

    fn valid_token(&self, hash: &str) -> Result<Option<TokenRecord>, StoreError> {
        let connection = self.connection();
        // Times in RFC 3339 with whole seconds in UTC are ordered as text.
        let query = format!(
            "select {COLUMNS} from tokens where hash = ?1 and (expires_at is null or expires_at > ?2)"
        );
        let found = connection.query_row(&query, params![hash, now()], record);
        Ok(found.optional()?)
    }

    fn note_token_use(&self, id: Uuid) -> Result<(), StoreError> {
        self.connection().execute(
            "update tokens set last_used_at = ?2 where id = ?1",
            params![id.to_string(), now()],
        )?;
        Ok(())
    }

    fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        let connection = self.connection();
        let query = format!("select {COLUMNS} from tokens order by created_at, rowid");
        let mut statement = connection.prepare(&query)?;
        let rows = statement.query_map([], record)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn remove_token(&self, id: Uuid) -> Result<TokenRecord, StoreError> {
        let connection = self.connection();
        let query = format!("delete from tokens where id = ?1 returning {COLUMNS}");
        let removed = connection.query_row(&query, [id.to_string()], record);
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
        last_used_at: row.get(5)?,
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
        let valid = |hash| store.valid_token(hash).unwrap().is_some();
        assert!(valid("kept") && valid("later") && !valid("over") && !valid("other"));
        assert_eq!(store.tokens().unwrap().len(), 3);
        assert_eq!(kept.last_used_at, None);
        store.note_token_use(kept.id).unwrap();
        let used = store.valid_token("kept").unwrap().unwrap();
        assert!(used.last_used_at.is_some_and(|at| at >= used.created_at));
        assert_eq!(store.remove_token(kept.id).unwrap().id, kept.id);
        assert!(!valid("kept"));
        assert!(matches!(
            store.remove_token(kept.id),
            Err(StoreError::NoToken(_))
        ));
    }
}
