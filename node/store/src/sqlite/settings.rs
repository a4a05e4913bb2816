//! Settings.

use std::collections::BTreeMap;

use corundum_abi::names::AppName;
use rusqlite::params;

use super::SqliteStore;
use crate::error::StoreError;
use crate::settings::{SettingStore, SettingValues};

impl SettingStore for SqliteStore {
    fn settings(&self, app: &AppName) -> Result<SettingValues, StoreError> {
        let connection = self.connection();
        let mut statement =
            connection.prepare("select name, value from settings where app = ?1")?;
        let rows = statement.query_map([app.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn change_settings(
        &self,
        app: &AppName,
        changes: &BTreeMap<String, Option<String>>,
    ) -> Result<(), StoreError> {
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        for (name, value) in changes {
            match value {
                Some(value) => transaction.execute(
                    "insert or replace into settings values (?1, ?2, ?3)",
                    params![app.as_str(), name, value],
                )?,
                None => transaction.execute(
                    "delete from settings where app = ?1 and name = ?2",
                    [app.as_str(), name],
                )?,
            };
        }
        Ok(transaction.commit()?)
    }
}
