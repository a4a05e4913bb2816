//! Apps.

use corundum_abi::names::AppName;
use rusqlite::types::Type;
use rusqlite::{OptionalExtension, Row, params};
use uuid::Uuid;

use super::{SqliteStore, uuid_at};
use crate::apps::{AppRecord, AppStore, ReadableApps};
use crate::error::StoreError;
use crate::time::now;

/// The query of all apps.
pub(super) const SELECT_ALL: &str =
    "select id, name, created_at, formation from apps order by name";

impl AppStore for SqliteStore {
    fn create_app(&self, name: &AppName, formation: u32) -> Result<AppRecord, StoreError> {
        let app = AppRecord {
            id: Uuid::new_v4(),
            name: name.clone(),
            created_at: now(),
            formation,
        };
        let inserted = self.connection().execute(
            "insert or ignore into apps (name, created_at, formation, id) values (?1, ?2, ?3, ?4)",
            params![name.as_str(), app.created_at, formation, app.id.to_string()],
        )?;
        if inserted == 0 {
            Err(StoreError::Taken(name.clone()))
        } else {
            Ok(app)
        }
    }

    fn apps(&self) -> ReadableApps {
        let mut found = ReadableApps::default();
        let connection = self.connection();
        let read = |found: &mut ReadableApps| -> rusqlite::Result<()> {
            let mut statement = connection.prepare(SELECT_ALL)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                match record(row) {
                    Ok(app) => found.apps.push(app),
                    Err(cause) => found.errors.push(unreadable(row, cause)),
                }
            }
            Ok(())
        };
        if let Err(error) = read(&mut found) {
            found.errors.push(StoreError::Sqlite(error));
        }
        found
    }

    fn app(&self, name: &AppName) -> Result<AppRecord, StoreError> {
        let connection = self.connection();
        let found = connection.query_row(
            "select id, name, created_at, formation from apps where name = ?1",
            [name.as_str()],
            record,
        );
        let found = found.optional()?;
        found.ok_or_else(|| StoreError::NoApp(name.clone()))
    }

    fn app_by_id(&self, id: Uuid) -> Result<AppRecord, StoreError> {
        let connection = self.connection();
        let found = connection.query_row(
            "select id, name, created_at, formation from apps where id = ?1",
            [id.to_string()],
            record,
        );
        found.optional()?.ok_or(StoreError::NoAppId(id))
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

/// Makes the error of a record that cannot be read, with as much of the app's name as can be.
pub(super) fn unreadable(row: &Row<'_>, cause: rusqlite::Error) -> StoreError {
    let name = row.get_ref(1).ok().and_then(|name| name.as_bytes().ok());
    let app = name.map(|name| String::from_utf8_lossy(name).escape_debug().to_string());
    StoreError::UnreadableApp {
        app: app.unwrap_or_default(),
        cause,
    }
}

pub(super) fn record(row: &Row<'_>) -> rusqlite::Result<AppRecord> {
    let name: AppName = row.get_ref(1)?.as_str()?.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(1, Type::Text, Box::new(error))
    })?;
    Ok(AppRecord {
        id: uuid_at(row, 0)?,
        name,
        created_at: row.get(2)?,
        formation: row.get(3)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_is_found_by_key_and_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&directory.path().join("db")).unwrap();
        let name: AppName = "one-app".parse().unwrap();
        let created = store.create_app(&name, 3).unwrap();
        assert_eq!(store.app(&name).unwrap().id, created.id);
        assert_eq!(store.app_by_id(created.id).unwrap().name, name);
        assert!(matches!(
            store.app_by_id(Uuid::nil()),
            Err(StoreError::NoAppId(_))
        ));
    }
}
