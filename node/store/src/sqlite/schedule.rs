//! The last runs of scheduled commands.

use corundum_abi::names::AppName;
use rusqlite::params;

use super::SqliteStore;
use crate::error::StoreError;
use crate::schedule::{LastRuns, ScheduleStore};

impl ScheduleStore for SqliteStore {
    fn last_runs(&self, app: &AppName) -> Result<LastRuns, StoreError> {
        let connection = self.connection();
        let mut statement =
            connection.prepare("select command, planned from schedule_runs where app = ?1")?;
        let rows = statement.query_map([app.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn set_last_run(&self, app: &AppName, command: &str, at: i64) -> Result<(), StoreError> {
        self.connection().execute(
            "insert into schedule_runs (app, command, planned) values (?1, ?2, ?3) \
             on conflict (app, command) do update set planned = ?3",
            params![app.as_str(), command, at],
        )?;
        Ok(())
    }

    fn keep_last_runs(&self, app: &AppName, kept: &[String]) -> Result<(), StoreError> {
        let known = self.last_runs(app)?;
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        for command in known.keys().filter(|command| !kept.contains(command)) {
            transaction.execute(
                "delete from schedule_runs where app = ?1 and command = ?2",
                [app.as_str(), command],
            )?;
        }
        Ok(transaction.commit()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apps::AppStore;

    #[test]
    fn runs_of_commands_that_are_gone_are_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&directory.path().join("store")).unwrap();
        let app: AppName = "one-app".parse().unwrap();
        store.create_app(&app, 1).unwrap();
        store.set_last_run(&app, "a", 1).unwrap();
        store.set_last_run(&app, "a", 2).unwrap();
        store.set_last_run(&app, "b", 3).unwrap();
        store.keep_last_runs(&app, &["a".to_owned()]).unwrap();
        assert_eq!(
            store.last_runs(&app).unwrap(),
            LastRuns::from([("a".to_owned(), 2)])
        );
        store.delete_app(&app).unwrap();
        assert_eq!(store.last_runs(&app).unwrap(), LastRuns::new());
    }
}
