//! Releases and the config vars that they run with.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use corundum_abi::names::{AppName, ReleaseVersion, SlugDigest};
use corundum_compiler::slug::SlugDescription;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::StoreError;

/// Config vars by name.
pub type ConfigVars = BTreeMap<String, String>;

/// The name of an image's directory. It is always a UUID, so that a damaged record never names another place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImageName(Uuid);

impl ImageName {
    /// Makes up a name.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }
}

impl FromStr for ImageName {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Ok(Self(Uuid::try_parse(text)?))
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A release.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReleaseRecord {
    /// The key, which [`ReleaseStore::add_release`] assigns.
    pub id: Uuid,
    /// Numbered by app, from 1.
    pub version: ReleaseVersion,
    /// The change that made the release, such as "Deploy 1a2b3c4d".
    pub description: String,
    /// RFC 3339.
    pub created_at: String,
    /// The commit that was pushed.
    pub commit: String,
    /// The slug that the release runs.
    pub slug: SlugDigest,
    /// The directory name of the image.
    pub image: ImageName,
    /// The slug's own description: Ruby series, process types, isolation.
    pub about: SlugDescription,
}

/// Releases that were removed, and what they named.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PrunedReleases {
    /// The number of releases.
    pub releases: u64,
    /// Their slugs, which other releases may name, too.
    pub slugs: Vec<SlugDigest>,
    /// Their images.
    pub images: Vec<ImageName>,
}

/// Reads and writes releases and config vars.
pub trait ReleaseStore {
    /// Returns an app's config vars: those of its current release, if it has one.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    fn config(&self, app: &AppName) -> Result<ConfigVars, StoreError>;

    /// Sets the config vars of an app that has no release yet.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn set_config(&self, app: &AppName, config: &ConfigVars) -> Result<(), StoreError>;

    /// Adds a release with its config vars in one transaction and returns it with its key and its version. From then on it is the
    /// app's current release.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn add_release(
        &self,
        app: &AppName,
        release: ReleaseRecord,
        config: &ConfigVars,
    ) -> Result<ReleaseRecord, StoreError>;

    /// Returns an app's releases, newest first.
    ///
    /// # Errors
    ///
    /// [`StoreError::UnreadableRelease`] if one of the records is damaged; the store cannot be read.
    fn releases(&self, app: &AppName) -> Result<Vec<ReleaseRecord>, StoreError>;

    /// Returns a release of an app, if the app has it.
    ///
    /// # Errors
    ///
    /// [`StoreError::UnreadableRelease`] if its record is damaged; the store cannot be read.
    fn release(
        &self,
        app: &AppName,
        version: ReleaseVersion,
    ) -> Result<Option<ReleaseRecord>, StoreError>;

    /// Returns the release that an app runs, if it has one.
    ///
    /// # Errors
    ///
    /// [`StoreError::UnreadableRelease`] if its record is damaged; the store cannot be read.
    fn current_release(&self, app: &AppName) -> Result<Option<ReleaseRecord>, StoreError>;

    /// Returns whether a release of any app uses a slug.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    fn names_slug(&self, slug: &SlugDigest) -> Result<bool, StoreError>;

    /// Returns the apps that have more than `keep` releases.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    fn apps_with_more_releases(&self, keep: NonZeroU32) -> Result<Vec<AppName>, StoreError>;

    /// Removes an app's releases except the newest `keep`, and returns what they named. Names that cannot be read are left
    /// out.
    ///
    /// # Errors
    ///
    /// The store cannot be written; nothing is removed then.
    fn prune_releases(&self, app: &AppName, keep: NonZeroU32)
    -> Result<PrunedReleases, StoreError>;

    /// Returns the config vars that a release was made with.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoRelease`] if the release does not exist.
    fn release_config(
        &self,
        app: &AppName,
        version: ReleaseVersion,
    ) -> Result<ConfigVars, StoreError>;

    /// Replaces the image of a release.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn set_image(
        &self,
        app: &AppName,
        version: ReleaseVersion,
        image: &ImageName,
    ) -> Result<(), StoreError>;
}
