//! Log sessions: URLs that stream an app's log.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::lenient;

/// A log session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSessionResource {
    /// The session's key.
    pub id: Uuid,
    /// When the session was created.
    pub created_at: Timestamp,
    /// The URL of the log, which is read without a token.
    pub logplex_url: String,
    /// When the session was last changed.
    pub updated_at: Timestamp,
}

/// A request for a log session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSessionCreate {
    /// The dyno or the process type. Clients send this field in place of the two that the schema has.
    #[serde(default)]
    pub dyno: Option<String>,
    /// The dyno.
    #[serde(default)]
    pub dyno_name: Option<String>,
    /// Lines of the past to begin with; 100 without it.
    #[serde(default, deserialize_with = "lenient::optional_number")]
    pub lines: Option<u32>,
    /// The source: `app` or `heroku`.
    #[serde(default)]
    pub source: Option<String>,
    /// True to continue with new lines.
    #[serde(default)]
    pub tail: Option<bool>,
    /// The process type.
    #[serde(rename = "type", default)]
    pub process_type: Option<String>,
}
