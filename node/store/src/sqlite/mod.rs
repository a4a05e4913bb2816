//! The store of one node: a SQLite file.
//!
//! One connection behind a lock serves all threads. The control plane reads and writes a few records at a time, and no
//! request to an app reads the store.

mod account;
mod acme;
mod apps;
mod builds;
mod certs;
mod domains;
mod drains;
mod live;
mod migrations;
mod releases;
mod settings;
mod tokens;

use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::types::Type;
use rusqlite::{Connection, Row};
use uuid::Uuid;

use crate::error::StoreError;

/// A store in a SQLite file.
pub struct SqliteStore {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl SqliteStore {
    /// Opens the store at `path`, creates it if it does not exist, and migrates it to this version's schema.
    ///
    /// # Errors
    ///
    /// [`StoreError::Newer`] if a newer version has migrated the store; the file or SQLite fails.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        // The file holds config vars and private keys. SQLite gives its journal the same permissions.
        let file = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        let mut connection = Connection::open(path)?;
        // `synchronous = full`: a release that a pusher was told of must survive a power cut.
        connection.execute_batch(
            "pragma journal_mode = wal; pragma synchronous = full; pragma foreign_keys = on; pragma busy_timeout = 5000;",
        )?;
        migrations::migrate(&mut connection)?;
        Ok(Self {
            path: path.to_owned(),
            connection: Mutex::new(connection),
        })
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a column that holds a UUID.
fn uuid_at(row: &Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
    let text = row.get_ref(column)?.as_str()?;
    Uuid::try_parse(text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
    })
}
