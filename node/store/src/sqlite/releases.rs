//! Releases and config vars.

use std::num::NonZeroU32;
use std::str::FromStr;

use corundum_abi::names::{AppName, ReleaseVersion, SlugDigest};
use rusqlite::types::Type;
use rusqlite::{OptionalExtension, Row, Transaction, params};
use uuid::Uuid;

use super::{SqliteStore, uuid_at};
use crate::error::StoreError;
use crate::releases::{ConfigVars, ImageName, PrunedReleases, ReleaseRecord, ReleaseStore};

impl SqliteStore {
    /// Returns at most `count` releases, newest first. A negative number means all.
    fn newest_releases(&self, app: &AppName, count: i64) -> Result<Vec<ReleaseRecord>, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare(&format!(
            "select {COLUMNS} from releases where app = ?1 order by version desc limit ?2"
        ))?;
        let mut rows = statement.query(params![app.as_str(), count])?;
        let mut releases = Vec::new();
        while let Some(row) = rows.next()? {
            releases.push(release_record(row).map_err(|cause| of_app(app, row, cause))?);
        }
        Ok(releases)
    }
}

/// The columns that [`release_record`] reads.
pub(super) const COLUMNS: &str =
    "version, description, created_at, git_commit, slug, image, about, id";

/// Reads a release. A value that cannot be read is an error: without it, nobody would know what the release names.
pub(super) fn release_record(row: &Row<'_>) -> rusqlite::Result<ReleaseRecord> {
    let about = row.get_ref(6)?.as_str()?;
    Ok(ReleaseRecord {
        id: uuid_at(row, 7)?,
        version: ReleaseVersion(row.get(0)?),
        description: row.get(1)?,
        created_at: row.get(2)?,
        commit: row.get(3)?,
        slug: parsed(row, 4)?,
        image: parsed(row, 5)?,
        about: serde_json::from_str(about).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(6, Type::Text, Box::new(error))
        })?,
    })
}

/// Reads a column whose text is parsed.
pub(super) fn parsed<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    text.parse().map_err(|error: T::Err| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
    })
}

/// Makes the error of a record that cannot be read. The column `app` has the app's name.
pub(super) fn unreadable(row: &Row<'_>, app: usize, cause: rusqlite::Error) -> StoreError {
    let name = row.get_ref(app).ok().and_then(|name| name.as_bytes().ok());
    let name = name.map(|name| String::from_utf8_lossy(name).escape_debug().to_string());
    StoreError::UnreadableRelease {
        app: name.unwrap_or_default(),
        version: ReleaseVersion(row.get(0).unwrap_or_default()),
        cause,
    }
}

fn of_app(app: &AppName, row: &Row<'_>, cause: rusqlite::Error) -> StoreError {
    StoreError::UnreadableRelease {
        app: app.to_string(),
        version: ReleaseVersion(row.get(0).unwrap_or_default()),
        cause,
    }
}

impl ReleaseStore for SqliteStore {
    fn config(&self, app: &AppName) -> Result<ConfigVars, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare("select name, value from config where app = ?1")?;
        let rows = statement.query_map([app.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn set_config(&self, app: &AppName, config: &ConfigVars) -> Result<(), StoreError> {
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        write_config(&transaction, app, config)?;
        Ok(transaction.commit()?)
    }

    fn add_release(
        &self,
        app: &AppName,
        mut release: ReleaseRecord,
        config: &ConfigVars,
    ) -> Result<ReleaseRecord, StoreError> {
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        let version: u64 = transaction.query_row(
            "select coalesce(max(version), 0) + 1 from releases where app = ?1",
            [app.as_str()],
            |row| row.get(0),
        )?;
        release.version = ReleaseVersion(version);
        release.id = Uuid::new_v4();
        transaction.execute(
            "insert into releases (app, version, description, created_at, git_commit, slug, image, about, config, id) \
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            params![
                app.as_str(),
                version,
                release.description,
                release.created_at,
                release.commit,
                release.slug.as_str(),
                release.image.to_string(),
                serde_json::to_string(&release.about)?,
                serde_json::to_string(config)?,
                release.id.to_string(),
            ],
        )?;
        write_config(&transaction, app, config)?;
        transaction.commit()?;
        Ok(release)
    }

    fn releases(&self, app: &AppName) -> Result<Vec<ReleaseRecord>, StoreError> {
        self.newest_releases(app, -1)
    }

    fn release(
        &self,
        app: &AppName,
        version: ReleaseVersion,
    ) -> Result<Option<ReleaseRecord>, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(&format!(
            "select {COLUMNS} from releases where app = ?1 and version = ?2"
        ))?;
        let mut rows = statement.query(params![app.as_str(), version.0])?;
        let Some(row) = rows.next()? else {
            return Ok(None);
        };
        let release = release_record(row).map_err(|cause| of_app(app, row, cause))?;
        Ok(Some(release))
    }

    fn current_release(&self, app: &AppName) -> Result<Option<ReleaseRecord>, StoreError> {
        Ok(self.newest_releases(app, 1)?.into_iter().next())
    }

    fn names_slug(&self, slug: &SlugDigest) -> Result<bool, StoreError> {
        let connection = self.connection();
        let found = connection.query_row(
            "select 1 from releases where slug = ?1 limit 1",
            [slug.as_str()],
            |_| Ok(()),
        );
        Ok(found.optional()?.is_some())
    }

    fn apps_with_more_releases(&self, keep: NonZeroU32) -> Result<Vec<AppName>, StoreError> {
        let connection = self.connection();
        let mut statement =
            connection.prepare("select app from releases group by app having count(*) > ?1")?;
        let rows = statement.query_map([keep], |row| parsed(row, 0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn prune_releases(
        &self,
        app: &AppName,
        keep: NonZeroU32,
    ) -> Result<PrunedReleases, StoreError> {
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        let mut pruned = PrunedReleases::default();
        {
            let mut statement = transaction.prepare_cached(
                "delete from releases where app = ?1 and version not in \
                 (select version from releases where app = ?1 order by version desc limit ?2) \
                 returning slug, image",
            )?;
            let mut rows = statement.query(params![app.as_str(), keep])?;
            while let Some(row) = rows.next()? {
                pruned.releases += 1;
                // A damaged name leaves its file to the sweep.
                pruned.slugs.extend(parsed::<SlugDigest>(row, 0));
                pruned.images.extend(parsed::<ImageName>(row, 1));
            }
        }
        transaction.commit()?;
        Ok(pruned)
    }

    fn release_config(
        &self,
        app: &AppName,
        version: ReleaseVersion,
    ) -> Result<ConfigVars, StoreError> {
        let text: Option<String> = self
            .connection()
            .query_row(
                "select config from releases where app = ?1 and version = ?2",
                params![app.as_str(), version.0],
                |row| row.get(0),
            )
            .optional()?;
        Ok(serde_json::from_str(
            &text.ok_or(StoreError::NoRelease(version))?,
        )?)
    }

    fn set_image(
        &self,
        app: &AppName,
        version: ReleaseVersion,
        image: &ImageName,
    ) -> Result<(), StoreError> {
        self.connection().execute(
            "update releases set image = ?3 where app = ?1 and version = ?2",
            params![app.as_str(), version.0, image.to_string()],
        )?;
        Ok(())
    }
}

fn write_config(
    transaction: &Transaction<'_>,
    app: &AppName,
    config: &ConfigVars,
) -> Result<(), StoreError> {
    transaction.execute("delete from config where app = ?1", [app.as_str()])?;
    for (name, value) in config {
        transaction.execute(
            "insert into config values (?1, ?2, ?3)",
            params![app.as_str(), name, value],
        )?;
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use corundum_compiler::slug::SlugDescription;
    use corundum_pack::ruby::Series;

    use super::*;
    use crate::apps::AppStore;
    use crate::time::now;

    /// Makes a release of the slug whose digest is 64 times the same digit.
    pub(in crate::sqlite) fn release(slug: char) -> ReleaseRecord {
        ReleaseRecord {
            id: Uuid::nil(),
            version: ReleaseVersion(0),
            description: "Deploy".into(),
            created_at: now(),
            commit: String::new(),
            slug: slug.to_string().repeat(64).parse().unwrap(),
            image: ImageName::random(),
            about: SlugDescription {
                abi: 1,
                runtime: Series::DEFAULT.into(),
                pack: None,
                processes: Default::default(),
                isolation: Default::default(),
                warm_up: Default::default(),
                static_files: Default::default(),
                outbound: None,
                cron: Vec::new(),
            },
        }
    }

    #[test]
    fn releases_are_numbered_by_app_and_survive_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        let app: AppName = "one-app".parse().unwrap();
        let config = ConfigVars::from([("A".to_owned(), "1".to_owned())]);
        {
            let store = SqliteStore::open(&path).unwrap();
            store.create_app(&app, 3).unwrap();
            assert!(matches!(
                store.create_app(&app, 3),
                Err(StoreError::Taken(_))
            ));
            assert_eq!(
                store
                    .add_release(&app, release('a'), &ConfigVars::new())
                    .unwrap()
                    .version
                    .0,
                1
            );
            assert_eq!(
                store
                    .add_release(&app, release('b'), &config)
                    .unwrap()
                    .version
                    .0,
                2
            );
        }
        let store = SqliteStore::open(&path).unwrap();
        let versions: Vec<u64> = store
            .releases(&app)
            .unwrap()
            .iter()
            .map(|r| r.version.0)
            .collect();
        assert_eq!(versions, [2, 1]);
        let ids: Vec<Uuid> = store.releases(&app).unwrap().iter().map(|r| r.id).collect();
        assert!(ids[0] != ids[1] && !ids.contains(&Uuid::nil()), "{ids:?}");
        assert_eq!(store.config(&app).unwrap(), config);
        assert_eq!(
            store.release_config(&app, ReleaseVersion(1)).unwrap(),
            ConfigVars::new()
        );
        store.delete_app(&app).unwrap();
        assert!(store.releases(&app).unwrap().is_empty());
        assert!(matches!(store.app(&app), Err(StoreError::NoApp(_))));
    }

    #[test]
    fn pruning_keeps_the_newest_releases_and_their_numbers() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&directory.path().join("db")).unwrap();
        let [app, other]: [AppName; 2] = ["one-app", "two-app"].map(|name| name.parse().unwrap());
        for app in [&app, &other] {
            store.create_app(app, 1).unwrap();
            for slug in "abc".chars() {
                store
                    .add_release(app, release(slug), &ConfigVars::new())
                    .unwrap();
            }
        }
        let one = NonZeroU32::MIN;
        assert_eq!(store.apps_with_more_releases(one).unwrap().len(), 2);
        let pruned = store.prune_releases(&app, one).unwrap();
        assert_eq!(
            (pruned.releases, pruned.slugs.len(), pruned.images.len()),
            (2, 2, 2)
        );
        assert_eq!(
            store.prune_releases(&app, one).unwrap(),
            PrunedReleases::default()
        );
        assert_eq!(store.apps_with_more_releases(one).unwrap().len(), 1);
        assert_eq!(store.current_release(&app).unwrap().unwrap().version.0, 3);
        assert_eq!(store.releases(&other).unwrap().len(), 3);
        let next = store
            .add_release(&app, release('d'), &ConfigVars::new())
            .unwrap();
        assert_eq!(next.version.0, 4);
    }
}
