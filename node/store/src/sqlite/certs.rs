//! Certificates.

use corundum_abi::names::AppName;
use rusqlite::{Row, params};
use uuid::Uuid;

use super::{SqliteStore, uuid_at};
use crate::certs::{CertOrigin, CertRecord, CertStore, PrivateKey};
use crate::error::StoreError;
use crate::time::now;

impl CertStore for SqliteStore {
    fn put_cert(
        &self,
        app: &AppName,
        name: &str,
        origin: CertOrigin,
        chain: &str,
        key: &PrivateKey,
    ) -> Result<(), StoreError> {
        let put = self.connection().execute(
            "insert into certs (name, app, origin, chain, key, updated_at, created_at, id) \
             values (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7) on conflict (name) do update \
             set origin = ?3, chain = ?4, key = ?5, updated_at = ?6 where app = ?2",
            params![
                name,
                app.as_str(),
                origin.as_str(),
                chain,
                key.expose(),
                now(),
                Uuid::new_v4().to_string()
            ],
        )?;
        match put {
            0 => Err(StoreError::CertTaken(name.to_owned())),
            _ => Ok(()),
        }
    }

    fn remove_cert(&self, app: &AppName, name: &str) -> Result<(), StoreError> {
        let removed = self.connection().execute(
            "delete from certs where name = ?1 and app = ?2",
            [name, app.as_str()],
        )?;
        match removed {
            0 => Err(StoreError::NoCert(name.to_owned())),
            _ => Ok(()),
        }
    }

    fn certs(&self, app: &AppName) -> Result<Vec<CertRecord>, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare(
            "select name, origin, chain, key, updated_at, created_at, id from certs where app = ?1 order by name",
        )?;
        let rows = statement.query_map([app.as_str()], record)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn record(row: &Row<'_>) -> rusqlite::Result<CertRecord> {
    let origin = match row.get_ref(1)?.as_str()? {
        "auto" => CertOrigin::Auto,
        _ => CertOrigin::Added,
    };
    Ok(CertRecord {
        id: uuid_at(row, 6)?,
        name: row.get(0)?,
        origin,
        chain: row.get(2)?,
        key: PrivateKey::new(row.get(3)?),
        created_at: row.get(5)?,
        updated_at: row.get(4)?,
    })
}
