//! Log drains: receivers that the node sends an app's log to.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::reference::{AppRef, NamedRef};

/// A log drain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogDrainResource {
    /// The drain's key.
    pub id: Uuid,
    /// Always `null`: a node has no add-ons.
    pub addon: Option<NamedRef>,
    /// The app.
    pub app: Option<AppRef>,
    /// When the drain was added.
    pub created_at: Timestamp,
    /// The token that the node sends with each message: `d.UUID`.
    pub token: String,
    /// When the drain was last changed.
    pub updated_at: Timestamp,
    /// The URL with its password and query masked.
    pub url: String,
}

/// A request to add a log drain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogDrainCreate {
    /// The URL: `syslog://`, `syslog+tls://` or `https://`.
    pub url: String,
}
