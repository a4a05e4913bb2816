//! Records of all apps at once. A node with ten thousand apps must not ask for each.

use std::collections::{HashMap, HashSet};

use corundum_abi::names::AppName;

use crate::domain_name::DomainName;
use crate::error::StoreError;
use crate::releases::ReleaseRecord;
use crate::settings::SettingValues;

/// Facts about an app that a node needs before the first request to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppOutline {
    /// The name.
    pub name: AppName,
    /// The most web dynos that the app may have.
    pub formation: u32,
    /// True if the app has been released.
    pub has_release: bool,
    /// Time of about the last request, in seconds since 1970; 0 if there was none.
    pub last_used: u64,
}

/// The outlines of the apps whose records can be read, and the errors of those whose cannot.
#[derive(Debug, Default)]
pub struct AppOutlines {
    /// The readable apps.
    pub apps: Vec<AppOutline>,
    /// One error for each damaged record, or one for the whole table.
    pub errors: Vec<StoreError>,
}

/// The current releases that can be read, and the errors of those that cannot.
#[derive(Debug, Default)]
pub struct CurrentReleases {
    /// The readable releases.
    pub releases: HashMap<AppName, ReleaseRecord>,
    /// One error for each damaged record.
    pub errors: Vec<StoreError>,
}

/// Reads records of all apps, each with one query.
pub trait AllAppsStore {
    /// Returns an outline of each app that can be read, the one used last first.
    fn app_outlines(&self) -> AppOutlines;

    /// Sets the times of about the last requests to apps, in seconds since 1970. A time never moves back.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn set_last_used(&self, apps: &[AppName], at: u64) -> Result<(), StoreError>;

    /// Returns the release that each app runs.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    fn current_releases(&self) -> Result<CurrentReleases, StoreError>;

    /// Returns the settings of all apps that have set any.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    fn all_settings(&self) -> Result<HashMap<AppName, SettingValues>, StoreError>;

    /// Returns the domains of all apps that have any.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    fn all_domains(&self) -> Result<HashMap<AppName, Vec<DomainName>>, StoreError>;

    /// Returns the apps with a certificate.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    fn apps_with_certs(&self) -> Result<HashSet<AppName>, StoreError>;

    /// Returns the apps with a log drain.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    fn apps_with_drains(&self) -> Result<HashSet<AppName>, StoreError>;
}
