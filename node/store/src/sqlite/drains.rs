//! Log drains.

use corundum_abi::names::AppName;
use rusqlite::params;

use super::SqliteStore;
use crate::drains::{DrainRecord, DrainStore};
use crate::error::StoreError;
use crate::time::now;

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
