//! Accounts at ACME servers, and how far the node is with each host's certificate.

use corundum_abi::names::AppName;
use rusqlite::{OptionalExtension, params};

use super::certs::PrivateKey;
use super::{SqliteStore, StoreError};

/// A host whose certificate the node could not get yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attempts {
    /// Attempts that failed, one after another.
    pub(crate) failures: u32,
    /// When it is tried again, in seconds of Unix time.
    pub(crate) next: i64,
    /// Why the last one failed.
    pub(crate) message: String,
}

/// Where what ACME needs is kept.
pub(crate) trait AcmeStore {
    /// The credentials of the account at a directory: they hold its private key.
    fn acme_account(&self, directory: &str) -> Result<Option<PrivateKey>, StoreError>;

    /// Sets them; none forgets them.
    fn set_acme_account(
        &self,
        directory: &str,
        credentials: Option<&PrivateKey>,
    ) -> Result<(), StoreError>;

    /// The attempts of a host that failed.
    fn attempts(&self, host: &str) -> Result<Option<Attempts>, StoreError>;

    /// Sets them; none forgets them.
    fn set_attempts(
        &self,
        app: &AppName,
        host: &str,
        attempts: Option<&Attempts>,
    ) -> Result<(), StoreError>;
}

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

    fn attempts(&self, host: &str) -> Result<Option<Attempts>, StoreError> {
        let connection = self.connection();
        let found = connection.query_row(
            "select failures, next_attempt, message from acme_hosts where host = ?1",
            [host],
            |row| {
                Ok(Attempts {
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
        attempts: Option<&Attempts>,
    ) -> Result<(), StoreError> {
        let connection = self.connection();
        match attempts {
            Some(Attempts {
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
