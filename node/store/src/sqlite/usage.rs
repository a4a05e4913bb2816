//! Usage of the node by apps, by day.

use corundum_abi::names::AppName;
use rusqlite::{Row, params};

use super::SqliteStore;
use super::releases::parsed;
use crate::error::StoreError;
use crate::usage::{DayUsage, UsageFigures, UsageStore};

impl UsageStore for SqliteStore {
    fn add_usage(&self, day: i64, figures: &[(AppName, UsageFigures)]) -> Result<(), StoreError> {
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        for (app, figures) in figures {
            transaction.execute(
                "insert into usage (app, day, requests, response_bytes, cpu_micros, megabyte_seconds) \
                 select name, ?2, ?3, ?4, ?5, ?6 from apps where name = ?1 \
                 on conflict (app, day) do update set requests = requests + ?3, \
                 response_bytes = response_bytes + ?4, cpu_micros = cpu_micros + ?5, \
                 megabyte_seconds = megabyte_seconds + ?6",
                params![
                    app.as_str(),
                    day,
                    integer(figures.requests),
                    integer(figures.response_bytes),
                    integer(figures.cpu_micros),
                    integer(figures.megabyte_seconds),
                ],
            )?;
        }
        Ok(transaction.commit()?)
    }

    fn usage_since(&self, day: i64, app: Option<&AppName>) -> Result<Vec<DayUsage>, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare(
            "select app, day, requests, response_bytes, cpu_micros, megabyte_seconds from usage \
             where day >= ?1 and (?2 is null or app = ?2) order by app, day",
        )?;
        let rows = statement.query_map(params![day, app.map(AppName::as_str)], |row| {
            Ok(DayUsage {
                app: parsed(row, 0)?,
                day: row.get(1)?,
                figures: UsageFigures {
                    requests: count(row, 2)?,
                    response_bytes: count(row, 3)?,
                    cpu_micros: count(row, 4)?,
                    megabyte_seconds: count(row, 5)?,
                },
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn forget_usage_before(&self, day: i64) -> Result<(), StoreError> {
        self.connection()
            .execute("delete from usage where day < ?1", [day])?;
        Ok(())
    }
}

/// SQLite's integers have a sign.
fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn count(row: &Row<'_>, at: usize) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(at)?).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apps::AppStore;

    #[test]
    fn figures_of_a_day_add_up_and_go_with_their_app() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&directory.path().join("store")).unwrap();
        let app = |name: &str| name.parse::<AppName>().unwrap();
        let figures = |requests| UsageFigures {
            requests,
            response_bytes: 10,
            cpu_micros: 20,
            megabyte_seconds: 30,
        };
        store.create_app(&app("one-app"), 1).unwrap();
        store.create_app(&app("two-app"), 1).unwrap();
        let both = [
            (app("one-app"), figures(1)),
            (app("two-app"), figures(2)),
            (app("no-app"), figures(3)),
        ];
        store.add_usage(100, &both).unwrap();
        store.add_usage(100, &both[..1]).unwrap();
        store.add_usage(101, &both[..1]).unwrap();
        let days = |day, app: Option<&AppName>| -> Vec<(String, i64, u64)> {
            let all = store.usage_since(day, app).unwrap().into_iter();
            all.map(|one| (one.app.to_string(), one.day, one.figures.requests))
                .collect()
        };
        let one = "one-app".to_owned();
        assert_eq!(
            days(0, None),
            [
                (one.clone(), 100, 2),
                (one.clone(), 101, 1),
                ("two-app".to_owned(), 100, 2)
            ]
        );
        assert_eq!(days(101, None), [(one.clone(), 101, 1)]);
        assert_eq!(days(0, Some(&app("two-app"))).len(), 1);
        let sum = store.usage_since(100, Some(&app("one-app"))).unwrap()[0].figures;
        assert_eq!((sum.response_bytes, sum.cpu_micros), (20, 40));
        store.forget_usage_before(101).unwrap();
        assert_eq!(days(0, None), [(one, 101, 1)]);
        store.delete_app(&app("one-app")).unwrap();
        assert_eq!(days(0, None), []);
    }
}
