//! Builds.

use corundum_abi::names::{AppName, ReleaseVersion};
use rusqlite::{OptionalExtension, Row, params};
use uuid::Uuid;

use super::{SqliteStore, uuid_at};
use crate::builds::{BuildRecord, BuildResult, BuildState, BuildStore};
use crate::error::StoreError;
use crate::time::now;

/// Builds of an app that the store keeps: their output would otherwise grow without end.
const MAX_BUILDS: u32 = 100;

impl BuildStore for SqliteStore {
    fn add_build(&self, app: &AppName, commit: &str) -> Result<BuildRecord, StoreError> {
        let now = now();
        let record = BuildRecord {
            id: Uuid::new_v4(),
            state: BuildState::Pending,
            commit: commit.to_owned(),
            slug: None,
            release: None,
            created_at: now.clone(),
            updated_at: now,
        };
        let connection = self.connection();
        connection.execute(
            "insert into builds (id, app, status, git_commit, created_at, updated_at, output) \
             values (?1, ?2, ?3, ?4, ?5, ?5, '')",
            params![
                record.id.to_string(),
                app.as_str(),
                record.state.as_str(),
                commit,
                record.created_at
            ],
        )?;
        connection.execute(
            "delete from builds where app = ?1 and rowid not in \
             (select rowid from builds where app = ?1 order by rowid desc limit ?2)",
            params![app.as_str(), MAX_BUILDS],
        )?;
        Ok(record)
    }

    fn finish_build(&self, id: Uuid, result: &BuildResult) -> Result<(), StoreError> {
        let state = match result.release {
            Some(_) => BuildState::Succeeded,
            None => BuildState::Failed,
        };
        self.connection().execute(
            "update builds set status = ?2, slug = ?3, release = ?4, output = ?5, updated_at = ?6 where id = ?1",
            params![
                id.to_string(),
                state.as_str(),
                result.slug.as_ref().map(|slug| slug.as_str()),
                result.release.map(|release| release.0),
                result.output,
                now()
            ],
        )?;
        Ok(())
    }

    fn fail_pending_builds(&self) -> Result<(), StoreError> {
        self.connection().execute(
            "update builds set status = ?1, updated_at = ?3 where status = ?2",
            params![
                BuildState::Failed.as_str(),
                BuildState::Pending.as_str(),
                now()
            ],
        )?;
        Ok(())
    }

    fn builds(&self, app: &AppName) -> Result<Vec<BuildRecord>, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare(
            "select id, status, git_commit, slug, release, created_at, updated_at from builds \
             where app = ?1 order by rowid desc",
        )?;
        let rows = statement.query_map([app.as_str()], record)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn build_output(&self, app: &AppName, id: Uuid) -> Result<Option<String>, StoreError> {
        let connection = self.connection();
        let output = connection.query_row(
            "select output from builds where app = ?1 and id = ?2 and status <> ?3",
            params![app.as_str(), id.to_string(), BuildState::Pending.as_str()],
            |row| row.get(0),
        );
        Ok(output.optional()?)
    }
}

fn record(row: &Row<'_>) -> rusqlite::Result<BuildRecord> {
    let slug: Option<String> = row.get(3)?;
    Ok(BuildRecord {
        id: uuid_at(row, 0)?,
        state: BuildState::from_name(row.get_ref(1)?.as_str()?),
        commit: row.get(2)?,
        slug: slug.and_then(|slug| slug.parse().ok()),
        release: row.get::<_, Option<u64>>(4)?.map(ReleaseVersion),
        created_at: row.get(5)?,
        updated_at: row.get(6)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apps::AppStore;

    #[test]
    fn build_is_pending_until_it_succeeds_or_fails() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&directory.path().join("db")).unwrap();
        let app: AppName = "one-app".parse().unwrap();
        store.create_app(&app, 1).unwrap();
        let ids: Vec<Uuid> = ["a", "b", "c"]
            .iter()
            .map(|commit| store.add_build(&app, commit).unwrap().id)
            .collect();
        assert_eq!(store.build_output(&app, ids[0]).unwrap(), None);
        let mut result = BuildResult {
            slug: "a".repeat(64).parse().ok(),
            release: Some(ReleaseVersion(1)),
            output: "-----> done\n".to_owned(),
        };
        store.finish_build(ids[0], &result).unwrap();
        result.release = None;
        store.finish_build(ids[1], &result).unwrap();
        let states = || -> Vec<BuildState> {
            store
                .builds(&app)
                .unwrap()
                .iter()
                .map(|build| build.state)
                .collect()
        };
        assert_eq!(
            states(),
            [
                BuildState::Pending,
                BuildState::Failed,
                BuildState::Succeeded
            ]
        );
        store.fail_pending_builds().unwrap();
        assert_eq!(states()[0], BuildState::Failed);
        let output = store.build_output(&app, ids[0]).unwrap();
        assert_eq!(output.as_deref(), Some("-----> done\n"));
        let newest = &store.builds(&app).unwrap()[2];
        assert_eq!(
            (newest.slug.clone(), newest.release),
            (result.slug, Some(ReleaseVersion(1)))
        );
        store.delete_app(&app).unwrap();
        assert!(store.builds(&app).unwrap().is_empty());
    }
}
