//! The disk of a node. The API's own: v3 has no such resource.

use corundum_abi::names::AppName;
use serde::{Deserialize, Serialize};

use crate::reference::AppRef;

/// The disk that one app takes, in bytes. A slug that several apps use counts for each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AppStorage {
    /// The app.
    pub app: AppRef,
    /// The releases that a rollback may name.
    pub releases: u64,
    /// The repository.
    pub repository: u64,
    /// The slugs of all releases.
    pub slugs: u64,
    /// The image of the current release.
    pub image: u64,
    /// All of it.
    pub bytes: u64,
}

/// The disk that a node takes, in bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StorageResource {
    /// The apps.
    pub apps: Vec<AppStorage>,
    /// The bytes that one app may take; `null` if they are not limited.
    pub app_quota: Option<u64>,
    /// The store.
    pub store: u64,
    /// Full images of the apps used last, which can be made again.
    pub full_images: u64,
    /// Fetched gems.
    pub gems: u64,
    /// Running builds.
    pub work: u64,
    /// Files that nothing names any more.
    pub trash: u64,
    /// Bytes that are free on the file system.
    pub free: u64,
    /// The reasons why the node deletes nothing, and the apps that cannot be measured; none if all is well.
    pub problems: Vec<String>,
}

/// The request to free disk.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoragePrune {
    /// The app; without one, all apps.
    pub app: Option<AppName>,
    /// The newest releases to keep; without a number, those that the node is configured to keep.
    pub keep: Option<u32>,
    /// True if the node empties the trash at once.
    pub empty_trash: bool,
}

/// The disk that was freed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StoragePruned {
    /// Releases that were removed.
    pub releases: u64,
    /// Repositories that were collected.
    pub repositories: u64,
    /// Files that nothing names, which went to the trash.
    pub files: u64,
    /// Bytes that were deleted from the trash.
    pub deleted: u64,
    /// Bytes that are still in the trash.
    pub trash: u64,
}
