//! Domains.

use corundum_abi::names::AppName;
use rusqlite::{OptionalExtension, params};
use uuid::Uuid;

use super::{SqliteStore, uuid_at};
use crate::domain_name::DomainName;
use crate::domains::{DomainRecord, DomainStore};
use crate::error::StoreError;
use crate::time::now;

impl DomainStore for SqliteStore {
    fn add_domain(&self, app: &AppName, host: &DomainName) -> Result<DomainRecord, StoreError> {
        let record = DomainRecord {
            id: Uuid::new_v4(),
            hostname: host.clone(),
            created_at: now(),
        };
        let connection = self.connection();
        let added = connection.execute(
            "insert or ignore into domains (host, app, created_at, id) values (?1, ?2, ?3, ?4)",
            params![
                host.as_str(),
                app.as_str(),
                record.created_at,
                record.id.to_string()
            ],
        )?;
        if added == 1 {
            return Ok(record);
        }
        let owner: Option<String> = connection
            .query_row(
                "select app from domains where host = ?1",
                [host.as_str()],
                |row| row.get(0),
            )
            .optional()?;
        let owner = owner.and_then(|owner| owner.parse().ok());
        Err(StoreError::DomainTaken(
            host.clone(),
            owner.unwrap_or_else(|| app.clone()),
        ))
    }

    fn remove_domain(&self, app: &AppName, host: &DomainName) -> Result<(), StoreError> {
        let removed = self.connection().execute(
            "delete from domains where host = ?1 and app = ?2",
            [host.as_str(), app.as_str()],
        )?;
        match removed {
            0 => Err(StoreError::NoDomain(host.clone())),
            _ => Ok(()),
        }
    }

    fn domains(&self, app: &AppName) -> Result<Vec<DomainRecord>, StoreError> {
        let connection = self.connection();
        let mut statement = connection
            .prepare("select host, created_at, id from domains where app = ?1 order by host")?;
        let rows = statement.query_map([app.as_str()], |row| {
            Ok((row.get::<_, String>(0)?, row.get(1)?, uuid_at(row, 2)?))
        })?;
        let mut domains = Vec::new();
        for row in rows {
            let (host, created_at, id) = row?;
            if let Ok(hostname) = host.parse() {
                domains.push(DomainRecord {
                    id,
                    hostname,
                    created_at,
                });
            }
        }
        Ok(domains)
    }
}
