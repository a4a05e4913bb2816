//! Builds: the record of each attempt to make a slug.

use corundum_abi::names::{AppName, ReleaseVersion, SlugDigest};
use uuid::Uuid;

use crate::error::StoreError;

/// The state of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildState {
    /// The build runs.
    Pending,
    /// The build made a slug.
    Succeeded,
    /// The build made no slug.
    Failed,
}

impl BuildState {
    /// Returns the name in the store.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }

    /// Reads a name of the store. A name of a later version counts as failed.
    pub(crate) fn from_name(name: &str) -> Self {
        match name {
            "pending" => Self::Pending,
            "succeeded" => Self::Succeeded,
            _ => Self::Failed,
        }
    }
}

/// A build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildRecord {
    /// The key.
    pub id: Uuid,
    /// The state.
    pub state: BuildState,
    /// The commit that is built.
    pub commit: String,
    /// The slug that the build made.
    pub slug: Option<SlugDigest>,
    /// The release that the build became.
    pub release: Option<ReleaseVersion>,
    /// RFC 3339.
    pub created_at: String,
    /// When the state last changed, in RFC 3339.
    pub updated_at: String,
}

/// The end of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildResult {
    /// The slug that the build made.
    pub slug: Option<SlugDigest>,
    /// The release that the build became; a build without one has failed.
    pub release: Option<ReleaseVersion>,
    /// The lines that the build printed.
    pub output: String,
}

/// Reads and writes builds.
pub trait BuildStore {
    /// Adds a build that begins now. The store keeps an app's last 100 builds.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn add_build(&self, app: &AppName, commit: &str) -> Result<BuildRecord, StoreError>;

    /// Records the end of a build.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn finish_build(&self, id: Uuid, result: &BuildResult) -> Result<(), StoreError>;

    /// Marks all pending builds as failed: those of a process that was killed.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn fail_pending_builds(&self) -> Result<(), StoreError>;

    /// Returns an app's builds, newest first.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    fn builds(&self, app: &AppName) -> Result<Vec<BuildRecord>, StoreError>;

    /// Returns the lines that a build of an app printed; none if the app has no such build or it still runs.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    fn build_output(&self, app: &AppName, id: Uuid) -> Result<Option<String>, StoreError>;
}
