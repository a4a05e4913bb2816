//! Apps.

use corundum_abi::names::AppName;
use rusqlite::{OptionalExtension, params};

use super::SqliteStore;
use crate::apps::{AppRecord, AppStore};
use crate::error::StoreError;
use crate::time::now;

impl AppStore for SqliteStore {
    fn create_app(&self, name: &AppName, formation: u32) -> Result<AppRecord, StoreError> {
        let app = AppRecord {
            name: name.clone(),
            created_at: now(),
            formation,
        };
        let inserted = self.connection().execute(
            "insert or ignore into apps values (?1, ?2, ?3)",
            params![name.as_str(), app.created_at, formation],
        )?;
        if inserted == 0 {
            Err(StoreError::Taken(name.clone()))
        } else {
            Ok(app)
        }
    }

    fn apps(&self) -> Result<Vec<AppRecord>, StoreError> {
        let connection = self.connection();
        let mut statement =
            connection.prepare("select name, created_at, formation from apps order by name")?;
        let rows = statement.query_map([], |row| {
            Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?))
        })?;
        let mut apps = Vec::new();
        for row in rows {
            let (name, created_at, formation) = row?;
            if let Ok(name) = name.parse() {
                apps.push(AppRecord {
                    name,
                    created_at,
                    formation,
                });
            }
        }
        Ok(apps)
    }

    fn app(&self, name: &AppName) -> Result<AppRecord, StoreError> {
        let connection = self.connection();
        let found = connection.query_row(
            "select created_at, formation from apps where name = ?1",
            [name.as_str()],
            |row| {
                Ok(AppRecord {
                    name: name.clone(),
                    created_at: row.get(0)?,
                    formation: row.get(1)?,
                })
            },
        );
        let found = found.optional()?;
        found.ok_or_else(|| StoreError::NoApp(name.clone()))
    }

    fn delete_app(&self, name: &AppName) -> Result<(), StoreError> {
        match self
            .connection()
            .execute("delete from apps where name = ?1", [name.as_str()])?
        {
            0 => Err(StoreError::NoApp(name.clone())),
            _ => Ok(()),
        }
    }

    fn set_formation(&self, name: &AppName, formation: u32) -> Result<(), StoreError> {
        let changed = self.connection().execute(
            "update apps set formation = ?2 where name = ?1",
            params![name.as_str(), formation],
        )?;
        if changed == 0 {
            Err(StoreError::NoApp(name.clone()))
        } else {
            Ok(())
        }
    }
}
