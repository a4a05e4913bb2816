//! Certificates with their private keys, by app.

use std::fmt;

use corundum_abi::names::AppName;
use rusqlite::{Row, params};

use super::{SqliteStore, StoreError, now};

/// Where a certificate comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// The node got it from an ACME server.
    Auto,
    /// Its owner gave it. Such a one prevails.
    Added,
}

impl Origin {
    /// Its word in the store and in listings.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Added => "added",
        }
    }
}

/// A private key in PEM. It is shown in no log, no listing and no answer: there is no way to print it.
#[derive(Clone)]
pub(crate) struct PrivateKey(String);

impl PrivateKey {
    /// Takes a key in PEM.
    pub(crate) fn new(pem: String) -> Self {
        Self(pem)
    }

    /// The key, for handshakes and the store.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[private key]")
    }
}

/// A certificate of an app.
#[derive(Debug, Clone)]
pub(crate) struct CertRecord {
    /// Its name, unique on the node.
    pub(crate) name: String,
    pub(crate) origin: Origin,
    /// The chain in PEM, the certificate itself first.
    pub(crate) chain: String,
    pub(crate) key: PrivateKey,
    /// RFC 3339.
    pub(crate) updated_at: String,
}

/// Where certificates are kept.
pub(crate) trait CertStore {
    /// Adds a certificate under a name that is free, or puts it in the place of that app's of the same name.
    fn put_cert(
        &self,
        app: &AppName,
        name: &str,
        origin: Origin,
        chain: &str,
        key: &PrivateKey,
    ) -> Result<(), StoreError>;

    /// Removes an app's certificate.
    fn remove_cert(&self, app: &AppName, name: &str) -> Result<(), StoreError>;

    /// The certificates of an app, by name.
    fn certs(&self, app: &AppName) -> Result<Vec<CertRecord>, StoreError>;
}

impl CertStore for SqliteStore {
    fn put_cert(
        &self,
        app: &AppName,
        name: &str,
        origin: Origin,
        chain: &str,
        key: &PrivateKey,
    ) -> Result<(), StoreError> {
        let put = self.connection().execute(
            "insert into certs values (?1, ?2, ?3, ?4, ?5, ?6) on conflict (name) do update \
             set origin = ?3, chain = ?4, key = ?5, updated_at = ?6 where app = ?2",
            params![
                name,
                app.as_str(),
                origin.as_str(),
                chain,
                key.expose(),
                now()
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
            "select name, origin, chain, key, updated_at from certs where app = ?1 order by name",
        )?;
        let rows = statement.query_map([app.as_str()], record)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn record(row: &Row<'_>) -> rusqlite::Result<CertRecord> {
    let origin = match row.get_ref(1)?.as_str()? {
        "auto" => Origin::Auto,
        _ => Origin::Added,
    };
    Ok(CertRecord {
        name: row.get(0)?,
        origin,
        chain: row.get(2)?,
        key: PrivateKey(row.get(3)?),
        updated_at: row.get(4)?,
    })
}
