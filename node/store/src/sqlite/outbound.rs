//! Grants of outbound targets.

use corundum_abi::names::AppName;
use corundum_abi::outbound::OutboundTarget;
use rusqlite::{Row, params};
use uuid::Uuid;

use super::releases::parsed;
use super::{SqliteStore, uuid_at};
use crate::error::StoreError;
use crate::outbound::{OutboundGrantRecord, OutboundGrantStore};
use crate::time::now;

impl OutboundGrantStore for SqliteStore {
    fn add_outbound_grant(
        &self,
        app: &AppName,
        target: &OutboundTarget,
    ) -> Result<OutboundGrantRecord, StoreError> {
        let (app, target) = (app.as_str(), target.to_string());
        let connection = self.connection();
        connection.execute(
            "insert into outbound_grants (id, app, target, created_at) values (?1, ?2, ?3, ?4) \
             on conflict (app, target) do nothing",
            params![Uuid::new_v4().to_string(), app, target, now()],
        )?;
        Ok(connection.query_row(
            "select id, target, created_at from outbound_grants where app = ?1 and target = ?2",
            [app, &target],
            grant_record,
        )?)
    }

    fn remove_outbound_grant(&self, app: &AppName, id: Uuid) -> Result<usize, StoreError> {
        Ok(self.connection().execute(
            "delete from outbound_grants where id = ?1 and app = ?2",
            [id.to_string().as_str(), app.as_str()],
        )?)
    }

    fn outbound_grants(&self, app: &AppName) -> Result<Vec<OutboundGrantRecord>, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare(
            "select id, target, created_at from outbound_grants where app = ?1 order by created_at, rowid",
        )?;
        let rows = statement.query_map([app.as_str()], grant_record)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn grant_record(row: &Row<'_>) -> rusqlite::Result<OutboundGrantRecord> {
    Ok(OutboundGrantRecord {
        id: uuid_at(row, 0)?,
        target: parsed(row, 1)?,
        created_at: row.get(2)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apps::AppStore;

    #[test]
    fn grants_belong_to_their_app_and_go_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&directory.path().join("store")).unwrap();
        let (one, two): (AppName, AppName) =
            ("one-app".parse().unwrap(), "two-app".parse().unwrap());
        store.create_app(&one, 1).unwrap();
        store.create_app(&two, 1).unwrap();
        let target: OutboundTarget = "tcp://10.0.0.1:5432".parse().unwrap();
        let added = store.add_outbound_grant(&one, &target).unwrap();
        assert_eq!(store.add_outbound_grant(&one, &target).unwrap(), added);
        assert_eq!(
            store.outbound_grants(&one).unwrap(),
            std::slice::from_ref(&added)
        );
        assert_eq!(store.outbound_grants(&two).unwrap(), []);
        assert_eq!(store.remove_outbound_grant(&two, added.id).unwrap(), 0);
        assert_eq!(store.remove_outbound_grant(&one, added.id).unwrap(), 1);
        store.add_outbound_grant(&one, &target).unwrap();
        store.delete_app(&one).unwrap();
        assert_eq!(store.outbound_grants(&one).unwrap(), []);
        let missing = store.add_outbound_grant(&one, &target);
        assert!(missing.is_err());
    }
}
