//! The records that keep files alive: apps with their repositories, releases with their slugs and images.

use std::collections::HashMap;

use corundum_abi::names::{AppName, ReleaseVersion, SlugDigest};

use crate::error::StoreError;
use crate::releases::ImageName;

/// Everything that the records of all apps and releases name. It is complete, or there is none of it.
#[derive(Debug, Default)]
pub struct LiveRecords {
    /// All apps.
    pub apps: Vec<AppName>,
    /// The slugs of all releases, each with a release that names it.
    pub slugs: HashMap<SlugDigest, (AppName, ReleaseVersion)>,
    /// The images of the apps' current releases.
    pub images: HashMap<ImageName, AppName>,
}

/// Tells which files are in use. Files may be deleted on this knowledge only.
pub trait LiveStore {
    /// Checks the structure of the tables of apps and releases, and that their indexes agree with them. Reads both tables
    /// whole, beside other work.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] if they are damaged; [`StoreError::Dropped`] if the log that a killed process has left was; the
    /// store cannot be read.
    fn check_integrity(&self) -> Result<(), StoreError>;

    /// Returns what all records name. Parses every column of every app and release.
    ///
    /// # Errors
    ///
    /// Any record that cannot be read; the store cannot be read.
    fn live_records(&self) -> Result<LiveRecords, StoreError>;
}
