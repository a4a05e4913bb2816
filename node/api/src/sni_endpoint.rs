//! SNI endpoints: an app's certificates.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::reference::AppRef;

/// The origin of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CertificateOrigin {
    /// The node got the certificate from an ACME server.
    Auto,
    /// The app's owner added the certificate.
    Added,
}

impl CertificateOrigin {
    /// Returns the word that `certs` prints.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Added => "added",
        }
    }
}

/// A certificate of an app. Private keys are never part of a response.
///
/// The fields from `origin` on are the node's own; clients of v3 ignore them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SniEndpointResource {
    /// The certificate's key.
    pub id: Uuid,
    /// The app.
    pub app: AppRef,
    /// The chain in PEM, the certificate itself first.
    pub certificate_chain: String,
    /// When the certificate was added.
    pub created_at: Timestamp,
    /// A name for people; `null`, since `name` serves as one.
    pub display_name: Option<String>,
    /// The keys of the domains that the node presents the certificate for.
    pub domains: Vec<Uuid>,
    /// The name, unique on the node.
    pub name: String,
    /// The certificate's contents; `null` if the node cannot read it.
    pub ssl_cert: Option<SslCert>,
    /// When the certificate was last replaced.
    pub updated_at: Timestamp,
    /// The origin of the certificate.
    pub origin: CertificateOrigin,
    /// The hosts that the node presents the certificate for: domains and the app's own name.
    pub hosts: Vec<String>,
}

/// The contents of a certificate.
///
/// The fields from `serial` on are the node's own; clients of v3 ignore them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SslCert {
    /// The certificate's key, the same as the endpoint's.
    pub id: Uuid,
    /// True if an ACME server issued the certificate for the node.
    pub acm: bool,
    /// True if another certificate signs this one. The question mark is v3's.
    #[serde(rename = "ca_signed?")]
    pub ca_signed: bool,
    /// The hosts that the certificate names.
    pub cert_domains: Vec<String>,
    /// When the certificate expires.
    pub expires_at: Timestamp,
    /// The issuer's distinguished name.
    pub issuer: String,
    /// True if the certificate signs itself, so that browsers do not trust it. The question mark is v3's.
    #[serde(rename = "self_signed?")]
    pub self_signed: bool,
    /// When the certificate becomes valid.
    pub starts_at: Timestamp,
    /// The subject's distinguished name.
    pub subject: String,
    /// The serial number in hexadecimal.
    pub serial: String,
    /// The SHA-256 of the certificate.
    pub fingerprint: String,
    /// True if the certificate has expired.
    pub expired: bool,
}

/// A request to add a certificate, or to replace the one of the same name.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SniEndpointCreate {
    /// The name; the node makes one up without it. The node's own: v3 takes no name.
    #[serde(default)]
    pub name: Option<String>,
    /// The chain in PEM, the certificate itself first.
    pub certificate_chain: String,
    /// The private key in PEM.
    pub private_key: String,
}

impl std::fmt::Debug for SniEndpointCreate {
    /// Leaves the private key out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SniEndpointCreate")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
