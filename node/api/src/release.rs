//! Releases.

use corundum_abi::names::ReleaseVersion;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::identity::Identity;
use crate::reference::{AppRef, IdRef, SlugRef, UserRef};

/// The state of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseStatus {
    /// The release is being made.
    Pending,
    /// The release booted and was live.
    Succeeded,
    /// The release did not become live.
    Failed,
}

/// A release: a slug with config vars.
///
/// The fields from `commit` on are the node's own; clients of v3 ignore them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseResource {
    /// The release's key.
    pub id: Uuid,
    /// The add-ons at the time of the release: always empty.
    pub addon_plan_names: Vec<String>,
    /// The app.
    pub app: AppRef,
    /// The artifacts: always empty; `slug` names the one.
    pub artifacts: Vec<IdRef>,
    /// When the release was made.
    pub created_at: Timestamp,
    /// True if the app runs this release.
    pub current: bool,
    /// The change that made the release: `Deploy 1a2b3c4d`, `Set A config vars`.
    pub description: String,
    /// True if a rollback may choose this release: all but the current one.
    pub eligible_for_rollback: bool,
    /// Always `null`: releases run no command whose output could be read.
    pub output_stream_url: Option<String>,
    /// The slug.
    pub slug: Option<SlugRef>,
    /// The state of the release.
    pub status: ReleaseStatus,
    /// When the release was last changed.
    pub updated_at: Timestamp,
    /// The account that made the release.
    pub user: UserRef,
    /// The number of the release, without `v` in JSON.
    pub version: ReleaseVersion,
    /// The commit that was pushed; empty if unknown.
    pub commit: String,
    /// The series of Ruby: `3.3`; `null` for other languages.
    pub ruby: Option<String>,
    /// The language: `ruby`.
    #[serde(default)]
    pub language: String,
    /// The series of the language: `3.3`.
    #[serde(default)]
    pub series: String,
}

/// A request to make an older release the current one under a new number.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseCreate {
    /// The release to restore: a UUID, `v2` or `2`; the previous one if absent or `null`.
    #[serde(default)]
    pub release: Option<Identity<ReleaseVersion>>,
}
