//! What the node knows: apps, releases, config vars and tokens.
//!
//! [`Store`] is what the node asks of it, with a trait of its own for each thing that hangs on apps: [`domains`],
//! [`settings`], [`certs`], [`acme`]. [`sqlite`] keeps it in a file, for one node, in the tables of [`schema`]; a store that several nodes
//! share is another implementation.

pub(crate) mod acme;
pub(crate) mod certs;
pub(crate) mod domains;
pub(crate) mod drains;
mod schema;
pub(crate) mod settings;
mod sqlite;

use std::collections::BTreeMap;

use corundum_abi::names::{AppName, ReleaseVersion, SlugDigest};
use corundum_compiler::slug::Description;
use serde::{Deserialize, Serialize};

use super::domains::DomainName;

pub(crate) use sqlite::SqliteStore;

/// The store cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// SQLite's own.
    #[error("the store: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// Its file cannot be opened.
    #[error("the store's file: {0}")]
    File(#[from] std::io::Error),
    /// A value that another version wrote.
    #[error("the store holds what this version does not understand: {0}")]
    Value(#[from] serde_json::Error),
    /// A store of a later version.
    #[error("the store is of a newer version of corundum: run that one")]
    Newer,
    /// A name that is taken.
    #[error("Name {0} is already taken")]
    Taken(AppName),
    /// A host name that an app has.
    #[error(
        "{0} is already a domain of {1}: remove it there first (corundum domains:remove {0} --app {1})"
    )]
    DomainTaken(DomainName, AppName),
    /// A host name that the app does not have.
    #[error("Couldn't find that domain name: {0}")]
    NoDomain(DomainName),
    /// A certificate's name that another app has.
    #[error("a certificate of another app has the name {0}: choose another with --name")]
    CertTaken(String),
    /// A certificate that the app does not have.
    #[error("Couldn't find that certificate: {0}")]
    NoCert(String),
    /// No such app.
    #[error("Couldn't find that app: {0}")]
    NoApp(AppName),
    /// No such release.
    #[error("Couldn't find that release: {0}")]
    NoRelease(ReleaseVersion),
}

/// An app.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AppRecord {
    pub(crate) name: AppName,
    /// RFC 3339.
    pub(crate) created_at: String,
    /// Web dynos at most.
    pub(crate) formation: u32,
}

/// A release.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ReleaseRecord {
    pub(crate) version: ReleaseVersion,
    pub(crate) description: String,
    pub(crate) created_at: String,
    pub(crate) commit: String,
    pub(crate) slug: SlugDigest,
    /// The image's directory name.
    pub(crate) image: String,
    pub(crate) about: Description,
}

/// Config vars.
pub(crate) type Config = BTreeMap<String, String>;

/// Where apps, releases, config vars and tokens are kept. What a method has returned survives a kill.
pub(crate) trait Store:
    drains::DrainStore
    + acme::AcmeStore
    + certs::CertStore
    + domains::DomainStore
    + settings::SettingStore
    + Send
    + Sync
{
    /// Adds an app with so many web dynos.
    fn create_app(&self, name: &AppName, formation: u32) -> Result<AppRecord, StoreError>;

    /// All apps, by name.
    fn apps(&self) -> Result<Vec<AppRecord>, StoreError>;

    /// An app.
    fn app(&self, name: &AppName) -> Result<AppRecord, StoreError>;

    /// Deletes an app with its releases and config vars.
    fn delete_app(&self, name: &AppName) -> Result<(), StoreError>;

    /// Sets how many web dynos an app may have.
    fn set_formation(&self, name: &AppName, formation: u32) -> Result<(), StoreError>;

    /// The config vars of an app: those of its current release, if it has one.
    fn config(&self, app: &AppName) -> Result<Config, StoreError>;

    /// Sets an app's config vars while it has no release.
    fn set_config(&self, app: &AppName, config: &Config) -> Result<(), StoreError>;

    /// Adds a release and its config vars in one step: from then on it is the app's current one.
    fn add_release(
        &self,
        app: &AppName,
        release: ReleaseRecord,
        config: &Config,
    ) -> Result<ReleaseRecord, StoreError>;

    /// An app's releases, newest first.
    fn releases(&self, app: &AppName) -> Result<Vec<ReleaseRecord>, StoreError>;

    /// The release that an app runs, if it has one.
    fn current_release(&self, app: &AppName) -> Result<Option<ReleaseRecord>, StoreError>;

    /// Whether a release of any app has this slug.
    fn names_slug(&self, slug: &SlugDigest) -> Result<bool, StoreError>;

    /// The config vars that a release was made with.
    fn release_config(&self, app: &AppName, version: ReleaseVersion) -> Result<Config, StoreError>;

    /// Notes that an image was made anew.
    fn set_image(
        &self,
        app: &AppName,
        version: ReleaseVersion,
        image: &str,
    ) -> Result<(), StoreError>;

    /// Adds a token by its hash.
    fn add_token(&self, hash: &str) -> Result<(), StoreError>;

    /// Whether a token of this hash was given out. Hashes are compared, so timing tells nothing of the token.
    fn has_token(&self, hash: &str) -> Result<bool, StoreError>;
}

/// The time, as RFC 3339 has it, in whole seconds.
pub(crate) fn now() -> String {
    jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}
