//! Errors of the store, and the question whose fault an error is.

use corundum_abi::names::{AppName, ReleaseVersion};
use uuid::Uuid;

use crate::domain_name::DomainName;

/// The party that can mend an error, from which the API derives a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The client named something that does not exist (404).
    NotFound,
    /// The client asked for something invalid, or the app itself failed (422).
    Client,
    /// Another operation on the same app is in progress (409).
    Conflict,
    /// The node failed: its disk, its store, a program it needs, a defect (500).
    Node,
}

/// An error that says whose fault it is.
pub trait HasFault: std::error::Error {
    /// Returns the party that can mend the error.
    fn fault(&self) -> Fault;
}

/// A failed operation of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite reports an error.
    #[error("store: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// SQLite reports an error while the schema is migrated.
    #[error("store: migration failed: {0}")]
    Migration(rusqlite_migration::Error),
    /// The store's file cannot be opened.
    #[error("store: cannot open its file: {0}")]
    File(#[from] std::io::Error),
    /// A JSON column holds a value that this version cannot read.
    #[error("store: unknown value in a column: {0}")]
    Value(#[from] serde_json::Error),
    /// Another process keeps the store locked.
    #[error("store: another process keeps it locked: try again")]
    Locked,
    /// A later version of corundum has migrated the store.
    #[error("store: written by a newer version of corundum; run that version")]
    Newer,
    /// A table contradicts itself.
    #[error(
        "store: damaged: {0}; stop the node and restore a backup (corundum restore), or repair corundum.sqlite with sqlite3 and .recover"
    )]
    Damaged(String),
    /// The log of a killed process was damaged.
    #[error(
        "store: its log was damaged, and the last {0} changes before the node stopped are lost: compare the apps with a backup, then restart the node to go on without the changes"
    )]
    Dropped(u64),
    /// The record of an app is damaged.
    #[error(
        "store: the record of app \"{app}\" cannot be read: {cause}; restore a backup (corundum restore), or repair corundum.sqlite with sqlite3"
    )]
    UnreadableApp {
        /// The app's name, as far as it can be read.
        app: String,
        /// The cause.
        cause: rusqlite::Error,
    },
    /// The record of a release is damaged.
    #[error(
        "store: the record of release {version} of app \"{app}\" cannot be read: {cause}; push the app again, then remove the record with: corundum storage:prune --app {app} --keep 1"
    )]
    UnreadableRelease {
        /// The app's name, as far as it can be read.
        app: String,
        /// The release.
        version: ReleaseVersion,
        /// The cause.
        cause: rusqlite::Error,
    },
    /// Another app has the name.
    #[error("Name {0} is already taken")]
    Taken(AppName),
    /// An app has the domain already.
    #[error(
        "{0} is already a domain of {1}: remove it there first (corundum domains:remove {0} --app {1})"
    )]
    DomainTaken(DomainName, AppName),
    /// The app does not have the domain.
    #[error("Couldn't find that domain name: {0}")]
    NoDomain(DomainName),
    /// A certificate of another app has the name.
    #[error("certificate name {0} is taken by another app: choose another with --name")]
    CertTaken(String),
    /// The app does not have the certificate.
    #[error("Couldn't find that certificate: {0}")]
    NoCert(String),
    /// The add-on does not exist.
    #[error("Couldn't find that add-on: {0}")]
    NoAddon(String),
    /// The app has an attachment of the name.
    #[error(
        "The name {0} is taken by another attachment of the app: choose another with --as, or detach that one"
    )]
    AttachmentTaken(String),
    /// The app does not exist.
    #[error("Couldn't find that app: {0}")]
    NoApp(AppName),
    /// No app has the key.
    #[error("Couldn't find that app: {0}")]
    NoAppId(Uuid),
    /// No token has the key.
    #[error("Couldn't find that authorization: {0}")]
    NoToken(Uuid),
    /// The release does not exist.
    #[error("Couldn't find that release: {0}")]
    NoRelease(ReleaseVersion),
}

impl HasFault for StoreError {
    fn fault(&self) -> Fault {
        match self {
            Self::NoApp(_)
            | Self::NoAppId(_)
            | Self::NoRelease(_)
            | Self::NoDomain(_)
            | Self::NoCert(_)
            | Self::NoAddon(_)
            | Self::NoToken(_) => Fault::NotFound,
            Self::Taken(_)
            | Self::DomainTaken(..)
            | Self::CertTaken(_)
            | Self::AttachmentTaken(_) => Fault::Client,
            Self::Sqlite(_)
            | Self::Migration(_)
            | Self::File(_)
            | Self::Value(_)
            | Self::Damaged(_)
            | Self::Dropped(_)
            | Self::Locked
            | Self::UnreadableApp { .. }
            | Self::UnreadableRelease { .. }
            | Self::Newer => Fault::Node,
        }
    }
}
