//! Certificates with their private keys, by app.

use std::fmt;

use corundum_abi::names::AppName;
use uuid::Uuid;

use crate::error::StoreError;

/// The source of a certificate. The order is that of preference: an added certificate prevails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CertOrigin {
    /// The node got it from an ACME server.
    Auto,
    /// The app's owner uploaded it.
    Added,
}

impl CertOrigin {
    /// Returns the name in the store and in listings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Added => "added",
        }
    }
}

/// A private key in PEM. It cannot be printed, so no log, listing or response shows it.
#[derive(Clone)]
pub struct PrivateKey(String);

impl PrivateKey {
    /// Takes a key in PEM.
    pub fn new(pem: String) -> Self {
        Self(pem)
    }

    /// Returns the key, for handshakes and the store.
    pub fn expose(&self) -> &str {
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
pub struct CertRecord {
    /// The key, which survives a replacement of the certificate.
    pub id: Uuid,
    /// Unique on the node.
    pub name: String,
    /// The source of the certificate.
    pub origin: CertOrigin,
    /// The chain in PEM, leaf first.
    pub chain: String,
    /// The leaf's private key.
    pub key: PrivateKey,
    /// When the first certificate of this name was added, in RFC 3339.
    pub created_at: String,
    /// When the certificate was last replaced, in RFC 3339.
    pub updated_at: String,
}

/// Reads and writes certificates.
pub trait CertStore {
    /// Adds a certificate, or replaces the app's certificate of the same name.
    ///
    /// # Errors
    ///
    /// [`StoreError::CertTaken`] if another app has a certificate of this name.
    fn put_cert(
        &self,
        app: &AppName,
        name: &str,
        origin: CertOrigin,
        chain: &str,
        key: &PrivateKey,
    ) -> Result<(), StoreError>;

    /// Removes an app's certificate.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoCert`] if the app does not have it.
    fn remove_cert(&self, app: &AppName, name: &str) -> Result<(), StoreError>;

    /// Returns an app's certificates, by name.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    fn certs(&self, app: &AppName) -> Result<Vec<CertRecord>, StoreError>;
}
