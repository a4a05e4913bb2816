//! The records that keep files alive.

use std::collections::HashSet;

use corundum_abi::names::AppName;
use rusqlite::{Connection, OpenFlags};

use super::releases::{COLUMNS, release_record, unreadable};
use super::{SqliteStore, apps};
use crate::error::StoreError;
use crate::live::{LiveRecords, LiveStore};

impl LiveStore for SqliteStore {
    fn check_integrity(&self) -> Result<(), StoreError> {
        if self.dropped > 1 {
            return Err(StoreError::Dropped(self.dropped));
        }
        // A connection of its own: the check of a large store must not delay the API.
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        for table in ["apps", "releases"] {
            let result =
                connection.query_row(&format!("pragma integrity_check('{table}')"), [], |row| {
                    row.get::<_, String>(0)
                })?;
            if result != "ok" {
                return Err(StoreError::Damaged(format!("table {table}: {result}")));
            }
        }
        Ok(())
    }

    fn live_records(&self) -> Result<LiveRecords, StoreError> {
        let mut connection = self.connection();
        // One snapshot for both tables.
        let transaction = connection.transaction()?;
        let mut live = LiveRecords::default();
        let mut statement = transaction.prepare(apps::SELECT_ALL)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let app = apps::record(row).map_err(|cause| apps::unreadable(row, cause))?;
            live.apps.push(app.name);
        }
        let known: HashSet<&AppName> = live.apps.iter().collect();
        let mut statement = transaction.prepare(&format!(
            "select {COLUMNS}, app from releases order by app, version desc"
        ))?;
        let mut rows = statement.query([])?;
        let mut previous = None;
        while let Some(row) = rows.next()? {
            let release = release_record(row).map_err(|cause| unreadable(row, 8, cause))?;
            let name = row
                .get_ref(8)?
                .as_str()
                .ok()
                .and_then(|name| name.parse().ok());
            let app: AppName = name.filter(|name| known.contains(name)).ok_or_else(|| {
                StoreError::Damaged(format!("release {} belongs to no app", release.id))
            })?;
            if previous.as_ref() != Some(&app) {
                live.images.insert(release.image, app.clone());
                previous = Some(app.clone());
            }
            live.slugs.insert(release.slug, (app, release.version));
        }
        Ok(live)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use corundum_abi::names::ReleaseVersion;

    use super::super::releases::tests::release;
    use super::*;
    use crate::apps::AppStore;
    use crate::releases::{ConfigVars, ReleaseStore};

    /// Makes a store of two apps, of which the first has two releases.
    fn store(path: &Path) -> SqliteStore {
        let store = SqliteStore::open(path).unwrap();
        for (app, slugs) in [("one-app", "ab"), ("two-app", "c")] {
            let app = app.parse().unwrap();
            store.create_app(&app, 1).unwrap();
            for slug in slugs.chars() {
                store
                    .add_release(&app, release(slug), &ConfigVars::new())
                    .unwrap();
            }
        }
        store
    }

    #[test]
    fn all_slugs_and_the_current_images_are_live() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(&directory.path().join("db"));
        store.check_integrity().unwrap();
        let live = store.live_records().unwrap();
        let name = |app: &str| app.parse::<AppName>().unwrap();
        assert_eq!(live.apps, [name("one-app"), name("two-app")]);
        assert_eq!(live.slugs.len(), 3);
        let current = store.current_release(&name("one-app")).unwrap().unwrap();
        assert_eq!(live.images.len(), 2);
        assert_eq!(live.images[&current.image], name("one-app"));
    }

    #[test]
    fn any_damaged_record_is_an_error_and_leaves_other_apps_readable() {
        for damage in [
            "update apps set created_at = cast(x'b2' as text) where name = 'one-app'",
            "update apps set id = '' where name = 'one-app'",
            "update releases set slug = 'A' where app = 'one-app' and version = 1",
            "update releases set image = '' where app = 'one-app' and version = 1",
            "update releases set image = '../x' where app = 'one-app' and version = 2",
            "update releases set about = '{' where app = 'one-app' and version = 2",
            "update releases set description = cast(x'ff' as text) where app = 'one-app' and version = 1",
            "pragma foreign_keys = off; update releases set app = 'onf-app' where app = 'one-app' and version = 1",
        ] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("db");
            let store = store(&path);
            Connection::open(&path)
                .unwrap()
                .execute_batch(damage)
                .unwrap();
            assert!(store.live_records().is_err(), "{damage}");
            assert!(
                store
                    .apps()
                    .apps
                    .iter()
                    .any(|app| app.name.as_str() == "two-app"),
                "{damage}"
            );
            let other = store
                .current_release(&"two-app".parse().unwrap())
                .unwrap()
                .unwrap();
            assert_eq!(other.version, ReleaseVersion(1), "{damage}");
        }
    }

    #[test]
    fn app_whose_record_lost_its_index_entry_is_damage() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        drop(store(&path));
        // The first occurrence is in one of the index and the table, and they disagree afterwards.
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes
            .windows(7)
            .position(|part| part == b"two-app")
            .unwrap();
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let error = SqliteStore::open(&path)
            .unwrap()
            .check_integrity()
            .unwrap_err();
        assert!(matches!(error, StoreError::Damaged(_)), "{error}");
    }
}
