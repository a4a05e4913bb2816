//! Outbound connections of an app: an addition to v3.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The targets that an app may reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboundResource {
    /// The node's rule for targets without a grant: `public`, `listed` or `granted`.
    pub default: String,
    /// The list in `app.json` of the current release; `null` if it has none.
    pub listed: Option<Vec<String>>,
    /// The targets that are granted to the app, beside its list.
    pub grants: Vec<OutboundGrantResource>,
}

/// A target that is granted to an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboundGrantResource {
    /// The grant's key.
    pub id: Uuid,
    /// When the target was granted.
    pub created_at: Timestamp,
    /// The target: `https://HOST`, `tcp://HOST:PORT`, `udp://HOST:PORT`, a network or `*`.
    pub target: String,
}

/// A request to grant a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboundGrantCreate {
    /// The target.
    pub target: String,
}
