//! Apps.

use std::collections::BTreeMap;

use corundum_abi::names::{AppName, ProcessType};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::autoscale::AutoscaleRule;
use crate::patch::Patch;
use crate::reference::{NamedRef, ReleaseRef, UserRef};

/// An app.
///
/// The fields from `formation` on are the node's own; clients of v3 ignore them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppResource {
    /// The app's key, which survives a change of the name.
    pub id: Uuid,
    /// The app's name, a label of its host name.
    pub name: AppName,
    /// True if the node gets certificates for the app's domains.
    pub acm: bool,
    /// Always `null`: apps are not archived.
    pub archived_at: Option<Timestamp>,
    /// The stack of the next build.
    pub build_stack: NamedRef,
    /// The language that the last build detected.
    pub buildpack_provided_description: Option<String>,
    /// The state of the app's creation: always `complete`. The Heroku CLI reads it.
    pub create_status: String,
    /// When the app was created.
    pub created_at: Timestamp,
    /// The generation of the platform: `cedar`. Clients choose protocols by it.
    pub generation: NamedRef,
    /// The URL of the app's git repository.
    pub git_url: String,
    /// Always `null`: a node has no private networks.
    pub internal_routing: Option<bool>,
    /// True if every request gets the maintenance page.
    pub maintenance: bool,
    /// Always `null`: a node has no organizations.
    pub organization: Option<NamedRef>,
    /// The account that owns the app.
    pub owner: UserRef,
    /// The node's region.
    pub region: NamedRef,
    /// When the current release was made.
    pub released_at: Option<Timestamp>,
    /// Bytes of the repository; `null` if unknown.
    pub repo_size: Option<u64>,
    /// Bytes of the current slug; `null` if unknown.
    pub slug_size: Option<u64>,
    /// Always `null`: a node has no private spaces.
    pub space: Option<NamedRef>,
    /// The stack of the current release.
    pub stack: NamedRef,
    /// Always `null`: a node has no teams.
    pub team: Option<NamedRef>,
    /// When the app or its release was last changed.
    pub updated_at: Timestamp,
    /// The URL that serves the app.
    pub web_url: Option<String>,
    /// Most dynos by process type.
    pub formation: BTreeMap<ProcessType, u32>,
    /// The autoscaling rule of `web`; `null` while autoscaling is off.
    pub autoscale: Option<AutoscaleRule>,
    /// The current release.
    pub release: Option<ReleaseRef>,
    /// The series of Ruby that the current release runs: `3.3`; `null` for other languages.
    pub ruby: Option<String>,
    /// The language that the current release runs: `ruby`.
    #[serde(default)]
    pub language: Option<String>,
    /// The series of the language: `3.3`.
    #[serde(default)]
    pub series: Option<String>,
}

/// A request to create an app.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppCreate {
    /// The name; the node makes one up without it.
    #[serde(default)]
    pub name: Option<AppName>,
}

/// A request to change an app.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppUpdate {
    /// True if every request gets the maintenance page.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    pub maintenance: Patch<bool>,
}
