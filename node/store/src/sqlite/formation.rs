//! Formations.

use std::collections::BTreeMap;

use corundum_abi::names::{AppName, ProcessType};
use rusqlite::{Row, params};

use super::SqliteStore;
use super::releases::parsed;
use crate::error::StoreError;
use crate::formation::{FormationStore, ProcessScale, ProcessScales};

impl FormationStore for SqliteStore {
    fn process_scales(&self, app: &AppName) -> Result<ProcessScales, StoreError> {
        let connection = self.connection();
        let mut statement =
            connection.prepare("select process, quantity, size from formation where app = ?1")?;
        let rows = statement.query_map([app.as_str()], |row| scale(row, 0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn set_process_scales(&self, app: &AppName, scales: &ProcessScales) -> Result<(), StoreError> {
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        for (process, scale) in scales {
            transaction.execute(
                "insert into formation (app, process, quantity, size) values (?1, ?2, ?3, ?4) \
                 on conflict (app, process) do update set quantity = ?3, size = ?4",
                params![
                    app.as_str(),
                    process.as_str(),
                    scale.quantity,
                    scale.size.as_str()
                ],
            )?;
        }
        Ok(transaction.commit()?)
    }

    fn all_process_scales(&self) -> Result<BTreeMap<AppName, ProcessScales>, StoreError> {
        let connection = self.connection();
        let mut statement = connection
            .prepare("select app, process, quantity, size from formation where quantity > 0 or process = 'web'")?;
        let rows = statement.query_map([], |row| Ok((parsed(row, 0)?, scale(row, 1)?)))?;
        let mut all: BTreeMap<AppName, ProcessScales> = BTreeMap::new();
        for row in rows {
            let (app, (process, scale)) = row?;
            all.entry(app).or_default().insert(process, scale);
        }
        Ok(all)
    }
}

/// Reads process type, quantity and size from the column `at` on.
fn scale(row: &Row<'_>, at: usize) -> rusqlite::Result<(ProcessType, ProcessScale)> {
    let scale = ProcessScale {
        quantity: row.get(at + 1)?,
        size: parsed(row, at + 2)?,
    };
    Ok((parsed(row, at)?, scale))
}

#[cfg(test)]
mod tests {
    use corundum_abi::dyno_size::DynoSize;

    use super::*;
    use crate::apps::AppStore;

    #[test]
    fn formations_belong_to_their_app_and_go_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&directory.path().join("store")).unwrap();
        let app: AppName = "one-app".parse().unwrap();
        let worker: ProcessType = "worker".parse().unwrap();
        let scales = |quantity, size| {
            ProcessScales::from([(worker.clone(), ProcessScale { quantity, size })])
        };
        assert!(
            store
                .set_process_scales(&app, &scales(1, DynoSize::Standard1x))
                .is_err()
        );
        store.create_app(&app, 1).unwrap();
        assert_eq!(store.process_scales(&app).unwrap(), ProcessScales::new());
        store
            .set_process_scales(&app, &scales(1, DynoSize::Standard1x))
            .unwrap();
        store
            .set_process_scales(&app, &scales(2, DynoSize::Standard2x))
            .unwrap();
        let all = store.all_process_scales().unwrap();
        assert_eq!(
            all,
            BTreeMap::from([(app.clone(), scales(2, DynoSize::Standard2x))])
        );
        store
            .set_process_scales(&app, &scales(0, DynoSize::Standard2x))
            .unwrap();
        assert_eq!(store.all_process_scales().unwrap(), BTreeMap::new());
        assert_eq!(
            store.process_scales(&app).unwrap(),
            scales(0, DynoSize::Standard2x)
        );
        store.delete_app(&app).unwrap();
        assert_eq!(store.process_scales(&app).unwrap(), ProcessScales::new());
    }
}
