//! The store of one node: a SQLite file.
//!
//! One connection behind a lock serves all threads. The control plane reads and writes a few records at a time, and no
//! request to an app reads the store.

mod account;
mod acme;
mod addon_backups;
mod addons;
mod all_apps;
mod apps;
mod builds;
mod certs;
mod domains;
mod drains;
mod formation;
mod live;
mod log_check;
mod migrations;
mod outbound;
mod releases;
mod schedule;
mod settings;
mod tokens;
mod usage;

use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::types::Type;
use rusqlite::{Connection, OpenFlags, Row};
use uuid::Uuid;

use crate::error::StoreError;

/// The time to wait for another process that writes to the store.
const BUSY: Duration = Duration::from_secs(5);
/// Attempts to copy a store that another process keeps locked.
const COPY_ATTEMPTS: usize = 50;

/// A store in a SQLite file.
pub struct SqliteStore {
    path: PathBuf,
    /// Transactions that SQLite has dropped, since the log of a killed process was damaged.
    dropped: u64,
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
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        let dropped = log_check::dropped_transactions(log.as_ref())?;
        let mut connection = Connection::open(path)?;
        // `synchronous = full`: a release that a pusher was told of must survive a power cut.
        connection.execute_batch(
            "pragma journal_mode = wal; pragma synchronous = full; pragma foreign_keys = on; pragma busy_timeout = 5000;",
        )?;
        migrations::migrate(&mut connection)?;
        Ok(Self {
            path: path.to_owned(),
            dropped,
            connection: Mutex::new(connection),
        })
    }

    /// Copies the store at `from`, which another process may be using, to the new file `to`, as of one moment.
    ///
    /// # Errors
    ///
    /// The file or SQLite fails.
    pub fn copy(from: &Path, to: &Path) -> Result<(), StoreError> {
        // The connection must be able to write: the first one after a kill recovers the log.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let from = Connection::open_with_flags(from, flags)?;
        from.busy_timeout(BUSY)?;
        let file = std::fs::OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(to)?;
        drop(file);
        let mut to = Connection::open(to)?;
        let backup = Backup::new(&from, &mut to)?;
        // One step takes all pages: with several, each change of the store would begin the copy again.
        for _ in 0..COPY_ATTEMPTS {
            match backup.step(-1)? {
                StepResult::Done => return Ok(()),
                _ => std::thread::sleep(Duration::from_millis(100)),
            }
        }
        Err(StoreError::Locked)
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
