//! Accounts at ACME servers, and failed attempts to get a certificate, by host.

use corundum_abi::names::AppName;

use crate::certs::PrivateKey;
use crate::error::StoreError;

/// The failed attempts for a host since the last success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcmeAttempts {
    /// Consecutive failures.
    pub failures: u32,
    /// The time of the next attempt, in seconds of Unix time.
    pub next: i64,
    /// The error of the last attempt.
    pub message: String,
}

/// Reads and writes the state of ACME.
pub trait AcmeStore {
    /// Returns the credentials of the account at a directory. They hold its private key.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    fn acme_account(&self, directory: &str) -> Result<Option<PrivateKey>, StoreError>;

    /// Sets the credentials of the account at a directory, or forgets them.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn set_acme_account(
        &self,
        directory: &str,
        credentials: Option<&PrivateKey>,
    ) -> Result<(), StoreError>;

    /// Returns the failed attempts for a host.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    fn attempts(&self, host: &str) -> Result<Option<AcmeAttempts>, StoreError>;

    /// Sets the failed attempts for a host, or forgets them.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn set_attempts(
        &self,
        app: &AppName,
        host: &str,
        attempts: Option<&AcmeAttempts>,
    ) -> Result<(), StoreError>;
}
