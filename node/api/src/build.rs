//! Builds.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::reference::{AppRef, IdRef, SlugRef, UserRef};

/// The state of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BuildStatus {
    /// The build runs.
    Pending,
    /// The build made a slug.
    Succeeded,
    /// The build made no slug; its output says why.
    Failed,
}

/// A build, of a git push too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildResource {
    /// The build's key.
    pub id: Uuid,
    /// The app.
    pub app: AppRef,
    /// The buildpacks: always empty, since the node's packs take their place.
    pub buildpacks: Vec<Buildpack>,
    /// Builds that run or wait before this one, while it waits for memory; the API's own.
    #[serde(default)]
    pub builds_before: Option<usize>,
    /// When the build began.
    pub created_at: Timestamp,
    /// The generation of the platform, as a plain string here.
    pub generation: String,
    /// The URL of the build's output.
    pub output_stream_url: String,
    /// The release that the build became.
    pub release: Option<IdRef>,
    /// The slug that the build made.
    pub slug: Option<SlugRef>,
    /// The source of the build.
    pub source_blob: SourceBlob,
    /// The stack, as a plain string here.
    pub stack: String,
    /// The state of the build.
    pub status: BuildStatus,
    /// When the state last changed.
    pub updated_at: Timestamp,
    /// The account that started the build.
    pub user: UserRef,
}

/// A buildpack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Buildpack {
    /// The URL of the buildpack.
    pub url: String,
    /// The name of the buildpack.
    pub name: Option<String>,
}

/// The source of a build.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceBlob {
    /// The checksum of the archive; `null` for a git push.
    #[serde(default)]
    pub checksum: Option<String>,
    /// The URL of the archive; `null` for a git push.
    #[serde(default)]
    pub url: Option<String>,
    /// The commit.
    #[serde(default)]
    pub version: Option<String>,
    /// A description of the commit.
    #[serde(default)]
    pub version_description: Option<String>,
}
