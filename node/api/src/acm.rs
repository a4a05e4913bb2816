//! Automatic certificates of an app. The API's own: v3 shows only their state in each domain.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The state of an app's automatic certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcmResource {
    /// True if the node gets certificates for the app.
    pub enabled: bool,
    /// The URL of the ACME server's directory.
    pub directory: String,
    /// The app's hosts.
    pub hosts: Vec<AcmHost>,
}

/// The state of one host's certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcmHost {
    /// The host name.
    pub hostname: String,
    /// The state, for people: `Cert issued`, `In progress`, `Failing`.
    pub status: String,
    /// When the certificate expires.
    pub expires_at: Option<Timestamp>,
    /// Failed attempts since the last success.
    pub failures: u32,
    /// When the node tries again.
    pub next_attempt_at: Option<Timestamp>,
    /// The reason of the last failure.
    pub message: Option<String>,
}
