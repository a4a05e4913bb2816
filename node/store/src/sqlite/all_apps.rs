//! Records of all apps at once.

use std::collections::{HashMap, HashSet};

use corundum_abi::names::AppName;
use rusqlite::types::Type;
use rusqlite::{Row, params};

use super::SqliteStore;
use super::apps::{record, unreadable as unreadable_app};
use super::releases::{COLUMNS, release_record, unreadable};
use crate::all_apps::{AllAppsStore, AppOutline, AppOutlines, CurrentReleases};
use crate::domain_name::DomainName;
use crate::error::StoreError;
use crate::settings::SettingValues;

impl AllAppsStore for SqliteStore {
    fn app_outlines(&self) -> AppOutlines {
        let mut found = AppOutlines::default();
        let connection = self.connection();
        let read = |found: &mut AppOutlines| -> rusqlite::Result<()> {
            // The first columns are those of a record, so that a damaged one is an error here too.
            let mut statement = connection.prepare(
                "select id, name, created_at, formation, exists (select 1 from releases where app = name), \
                 last_used from apps order by last_used desc, name",
            )?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let outline = record(row).and_then(|app| {
                    Ok(AppOutline {
                        name: app.name,
                        formation: app.formation,
                        has_release: row.get(4)?,
                        last_used: row.get(5)?,
                    })
                });
                match outline {
                    Ok(app) => found.apps.push(app),
                    Err(cause) => found.errors.push(unreadable_app(row, cause)),
                }
            }
            Ok(())
        };
        if let Err(error) = read(&mut found) {
            found.errors.push(StoreError::Sqlite(error));
        }
        found
    }

    fn set_last_used(&self, apps: &[AppName], at: u64) -> Result<(), StoreError> {
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        {
            let mut statement = transaction
                .prepare("update apps set last_used = ?2 where name = ?1 and last_used < ?2")?;
            for app in apps {
                statement.execute(params![app.as_str(), at])?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn current_releases(&self) -> Result<CurrentReleases, StoreError> {
        let connection = self.connection();
        // The primary key finds the newest release of each app; older ones are not read.
        let mut statement = connection.prepare(&format!(
            "select {COLUMNS}, app from releases \
             where (app, version) in (select app, max(version) from releases group by app)"
        ))?;
        let mut rows = statement.query([])?;
        let mut found = CurrentReleases::default();
        while let Some(row) = rows.next()? {
            match app_at(row, 8).and_then(|app| Ok((app, release_record(row)?))) {
                Ok((app, release)) => drop(found.releases.insert(app, release)),
                Err(cause) => found.errors.push(unreadable(row, 8, cause)),
            }
        }
        Ok(found)
    }

    fn all_settings(&self) -> Result<HashMap<AppName, SettingValues>, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare("select app, name, value from settings")?;
        let mut rows = statement.query([])?;
        let mut settings: HashMap<AppName, SettingValues> = HashMap::new();
        while let Some(row) = rows.next()? {
            let of_app = settings.entry(app_at(row, 0)?).or_default();
            of_app.insert(row.get(1)?, row.get(2)?);
        }
        Ok(settings)
    }

    fn all_domains(&self) -> Result<HashMap<AppName, Vec<DomainName>>, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare("select app, host from domains order by host")?;
        let mut rows = statement.query([])?;
        let mut domains: HashMap<AppName, Vec<DomainName>> = HashMap::new();
        while let Some(row) = rows.next()? {
            let host: String = row.get(1)?;
            if let Ok(host) = host.parse() {
                domains.entry(app_at(row, 0)?).or_default().push(host);
            }
        }
        Ok(domains)
    }

    fn apps_with_certs(&self) -> Result<HashSet<AppName>, StoreError> {
        self.apps_in("select distinct app from certs")
    }

    fn apps_with_drains(&self) -> Result<HashSet<AppName>, StoreError> {
        self.apps_in("select distinct app from drains")
    }
}

impl SqliteStore {
    fn apps_in(&self, query: &str) -> Result<HashSet<AppName>, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare(query)?;
        let rows = statement.query_map([], |row| app_at(row, 0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// Reads a column that holds the name of an app.
fn app_at(row: &Row<'_>, column: usize) -> rusqlite::Result<AppName> {
    row.get_ref(column)?.as_str()?.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::apps::AppStore;
    use crate::domains::DomainStore;
    use crate::drains::DrainStore;
    use crate::releases::ReleaseStore;
    use crate::settings::SettingStore;
    use crate::sqlite::releases::tests::release;

    #[test]
    fn records_of_all_apps_equal_those_of_each() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&directory.path().join("db")).unwrap();
        let apps = ["one-app", "two-app", "new-app"].map(|name| name.parse::<AppName>().unwrap());
        for app in &apps {
            store.create_app(app, 4).unwrap();
        }
        for app in &apps[..2] {
            for slug in ['a', 'b'] {
                store
                    .add_release(app, release(slug), &BTreeMap::new())
                    .unwrap();
            }
            let changes = [("hsts".to_owned(), Some("60".to_owned()))].into();
            store.change_settings(app, &changes).unwrap();
            let host = format!("{app}.example").parse().unwrap();
            store.add_domain(app, &host).unwrap();
        }
        store
            .add_drain(&apps[0], "syslog://logs.example:1")
            .unwrap();
        store.set_last_used(&apps[1..2], 50).unwrap();
        store.set_last_used(&apps[1..2], 40).unwrap();

        let AppOutlines {
            apps: outlines,
            errors,
        } = store.app_outlines();
        assert!(errors.is_empty());
        let seen: Vec<_> = outlines
            .iter()
            .map(|app| {
                (
                    app.name.as_str(),
                    app.has_release,
                    app.last_used,
                    app.formation,
                )
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("two-app", true, 50, 4),
                ("new-app", false, 0, 4),
                ("one-app", true, 0, 4)
            ]
        );
        let (releases, settings) = (
            store.current_releases().unwrap().releases,
            store.all_settings().unwrap(),
        );
        let domains = store.all_domains().unwrap();
        assert_eq!((releases.len(), settings.len(), domains.len()), (2, 2, 2));
        for app in &apps[..2] {
            assert_eq!(
                releases[app].id,
                store.current_release(app).unwrap().unwrap().id
            );
            assert_eq!(settings[app], store.settings(app).unwrap());
            assert_eq!(domains[app][0], store.domains(app).unwrap()[0].hostname);
        }
        assert!(store.apps_with_certs().unwrap().is_empty());
        assert_eq!(
            store.apps_with_drains().unwrap(),
            apps[..1].iter().cloned().collect()
        );
    }

    #[test]
    fn copy_of_a_store_in_use_has_its_records_and_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let [original, copy] = ["db", "copy"].map(|name| directory.path().join(name));
        let store = SqliteStore::open(&original).unwrap();
        let app: AppName = "one-app".parse().unwrap();
        store.create_app(&app, 4).unwrap();
        SqliteStore::copy(&original, &copy).unwrap();
        assert!(
            SqliteStore::copy(&original, &copy).is_err(),
            "no file is replaced"
        );
        let mode = std::fs::metadata(&copy).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let copied = SqliteStore::open(&copy).unwrap();
        copied.delete_app(&app).unwrap();
        assert_eq!(store.app(&app).unwrap().formation, 4);
    }
}
