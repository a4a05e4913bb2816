//! ACME accounts and attempts.

use corundum_abi::names::AppName;
use rusqlite::{OptionalExtension, params};

use super::SqliteStore;
use crate::acme::{AcmeAttempts, AcmeStore};
use crate::certs::PrivateKey;
use crate::error::StoreError;

impl AcmeStore for SqliteStore {
    fn acme_account(&self, directory: &str) -> Result<Option<PrivateKey>, StoreError> {
        let connection = self.connection();
        let found = connection.query_row(
            "select credentials from acme_accounts where directory = ?1",
            [directory],
            |row| row.get(0),
        );
        Ok(found.optional()?.map(PrivateKey::new))
    }

    fn set_acme_account(
        &self,
        directory: &str,
        credentials: Option<&PrivateKey>,
    ) -> Result<(), StoreError> {
        let connection = self.connection();
        match credentials {
            Some(credentials) => connection.execute(
                "insert or replace into acme_accounts values (?1, ?2)",
                [directory, credentials.expose()],
            )?,
            None => connection.execute(
                "delete from acme_accounts where directory = ?1",
                [directory],
            )?,
        };
        Ok(())
    }

    fn attempts(&self, host: &str) -> Result<Option<AcmeAttempts>, StoreError> {
        let connection = self.connection();
        let found = connection.query_row(
            "select failures, next_attempt, message from acme_hosts where host = ?1",
            [host],
            |row| {
                Ok(AcmeAttempts {
                    failures: row.get(0)?,
                    next: row.get(1)?,
                    message: row.get(2)?,
                })
            },
        );
        Ok(found.optional()?)
    }

    fn set_attempts(
        &self,
        app: &AppName,
        host: &str,
        attempts: Option<&AcmeAttempts>,
    ) -> Result<(), StoreError> {
        let connection = self.connection();
        match attempts {
            Some(AcmeAttempts {
                failures,
                next,
                message,
            }) => connection.execute(
                "insert or replace into acme_hosts values (?1, ?2, ?3, ?4, ?5)",
                params![host, app.as_str(), failures, next, message],
            )?,
            None => connection.execute("delete from acme_hosts where host = ?1", [host])?,
        };
        Ok(())
    }
}
