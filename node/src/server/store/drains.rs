//! Where the logs of which apps are sent on to.

use std::fmt;

use corundum_abi::names::AppName;
use rusqlite::params;

use super::{SqliteStore, StoreError, now};

/// A drain. Its URL may hold a password: printing it shows none.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct DrainRecord {
    /// Unique on the node.
    pub(crate) id: String,
    pub(crate) url: String,
    /// What a receiver knows it by, `d.UUID`.
    pub(crate) token: String,
    /// RFC 3339.
    pub(crate) created_at: String,
}

impl fmt::Debug for DrainRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DrainRecord")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Where drains are kept.
pub(crate) trait DrainStore {
    /// Adds a drain to an app.
    fn add_drain(&self, app: &AppName, url: &str) -> Result<DrainRecord, StoreError>;

    /// Takes a drain from its app; returns how many that were.
    fn remove_drain(&self, app: &AppName, id: &str) -> Result<usize, StoreError>;

    /// The drains of an app, oldest first.
    fn drains(&self, app: &AppName) -> Result<Vec<DrainRecord>, StoreError>;
}

impl DrainStore for SqliteStore {
    fn add_drain(&self, app: &AppName, url: &str) -> Result<DrainRecord, StoreError> {
        let record = DrainRecord {
            id: uuid::Uuid::new_v4().to_string(),
            url: url.to_owned(),
            token: format!("d.{}", uuid::Uuid::new_v4()),
            created_at: now(),
        };
        self.connection().execute(
            "insert into drains values (?1, ?2, ?3, ?4, ?5)",
            params![
                record.id,
                app.as_str(),
                record.url,
                record.token,
                record.created_at
            ],
        )?;
        Ok(record)
    }

    fn remove_drain(&self, app: &AppName, id: &str) -> Result<usize, StoreError> {
        let connection = self.connection();
        Ok(connection.execute(
            "delete from drains where id = ?1 and app = ?2",
            [id, app.as_str()],
        )?)
    }

    fn drains(&self, app: &AppName) -> Result<Vec<DrainRecord>, StoreError> {
        let connection = self.connection();
        let mut statement = connection
            .prepare("select id, url, token, created_at from drains where app = ?1 order by created_at, rowid")?;
        let rows = statement.query_map([app.as_str()], |row| {
            Ok(DrainRecord {
                id: row.get(0)?,
                url: row.get(1)?,
                token: row.get(2)?,
                created_at: row.get(3)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
