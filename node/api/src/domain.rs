//! Domains: the host names that serve an app.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::patch::Patch;
use crate::reference::{AppRef, NamedRef};

/// The origin of a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DomainKind {
    /// The name that the platform gives each app. v3's word for it.
    Heroku,
    /// A name that the app's owner added.
    Custom,
}

/// A host name of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainResource {
    /// The domain's key.
    pub id: Uuid,
    /// The state of the domain's automatic certificate; `null` while automatic certificates are off.
    pub acm_status: Option<String>,
    /// The reason of a failed automatic certificate.
    pub acm_status_reason: Option<String>,
    /// The app.
    pub app: AppRef,
    /// The host name that the domain's CNAME record should name: the app's own; `null` for that itself. Clients wait for
    /// a custom domain until it has one.
    pub cname: Option<String>,
    /// When the domain was added.
    pub created_at: Timestamp,
    /// The host name, or `*.` and one.
    pub hostname: String,
    /// The origin of the domain.
    pub kind: DomainKind,
    /// The certificate that the node presents for the host.
    pub sni_endpoint: Option<NamedRef>,
    /// The state of the domain: `none` for the app's own, `succeeded` for custom ones.
    pub status: String,
    /// When the domain was last changed.
    pub updated_at: Timestamp,
}

/// A request to add a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainCreate {
    /// The host name.
    pub hostname: String,
    /// Ignored: the node chooses certificates by their names.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    pub sni_endpoint: Patch<String>,
}
