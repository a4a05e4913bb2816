//! Log drains.

use corundum_abi::names::AppName;
use rusqlite::params;
use uuid::Uuid;

use super::{SqliteStore, uuid_at};
use crate::drains::{DrainRecord, DrainStore};
use crate::error::StoreError;
use crate::time::now;

impl DrainStore for SqliteStore {
    fn add_drain(&self, app: &AppName, url: &str) -> Result<DrainRecord, StoreError> {
        let record = DrainRecord {
            id: Uuid::new_v4(),
            url: url.to_owned(),
            token: format!("d.{}", Uuid::new_v4()),
            created_at: now(),
        };
        self.connection().execute(
            "insert into drains (id, app, url, token, created_at) values (?1, ?2, ?3, ?4, ?5)",
            params![
                record.id.to_string(),
                app.as_str(),
                record.url,
                record.token,
                record.created_at
            ],
        )?;
        Ok(record)
    }

    fn remove_drain(&self, app: &AppName, id: Uuid) -> Result<usize, StoreError> {
        let connection = self.connection();
        Ok(connection.execute(
            "delete from drains where id = ?1 and app = ?2",
            [id.to_string().as_str(), app.as_str()],
        )?)
    }

    fn drains(&self, app: &AppName) -> Result<Vec<DrainRecord>, StoreError> {
        let connection = self.connection();
        let mut statement = connection
            .prepare("select id, url, token, created_at from drains where app = ?1 order by created_at, rowid")?;
        let rows = statement.query_map([app.as_str()], |row| {
            Ok(DrainRecord {
                id: uuid_at(row, 0)?,
                url: row.get(1)?,
                token: row.get(2)?,
                created_at: row.get(3)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
