//! The node's records: its account and access tokens, apps, builds, releases, config vars, domains, certificates, log
//! drains, grants, settings, add-ons and their attachments, and what apps have used.
//!
//! Each resource has a file with its record and a trait that reads and writes it; [`Store`] is all of these traits
//! together. [`SqliteStore`] keeps the records of one node in a file. A store that several nodes share is another
//! implementation of the same traits, beside the folder `sqlite`. A new resource (an add-on, a worker process) gets a
//! file with its record and trait here, a file with its queries in `sqlite`, and a migration.
//!
//! Every method that returns has made its change durable: it survives a kill and a power cut.

#![forbid(unsafe_code)]

mod account;
mod acme;
mod addon_backups;
mod addons;
mod all_apps;
mod apps;
mod builds;
mod certs;
mod domain_name;
mod domains;
mod drains;
mod error;
mod formation;
mod live;
mod outbound;
mod releases;
mod schedule;
mod settings;
mod sqlite;
mod store;
mod time;
mod tokens;
mod usage;

pub use account::{AccountRecord, AccountStore};
pub use acme::{AcmeAttempts, AcmeStore};
pub use addon_backups::{
    AddonBackupRecord, AddonBackupStore, BackupOrigin, BackupScheduleRecord, BackupState,
};
pub use addons::{AddonAttachmentRecord, AddonRecord, AddonState, AddonStore};
pub use all_apps::{AllAppsStore, AppOutline, AppOutlines, CurrentReleases};
pub use apps::{AppRecord, AppStore, ReadableApps};
pub use builds::{BuildRecord, BuildResult, BuildState, BuildStore};
pub use certs::{CertOrigin, CertRecord, CertStore, PrivateKey};
pub use domain_name::{DomainName, InvalidDomainName};
pub use domains::{DomainRecord, DomainStore};
pub use drains::{DrainRecord, DrainStore};
pub use error::{Fault, HasFault, StoreError};
pub use formation::{FormationStore, ProcessScale, ProcessScales};
pub use live::{LiveRecords, LiveStore};
pub use outbound::{OutboundGrantRecord, OutboundGrantStore};
pub use releases::{ConfigVars, ImageName, PrunedReleases, ReleaseRecord, ReleaseStore};
pub use schedule::{LastRuns, ScheduleStore};
pub use settings::{SettingStore, SettingValues};
pub use sqlite::SqliteStore;
pub use store::Store;
pub use time::now;
pub use tokens::{NewToken, TokenRecord, TokenStore};
pub use usage::{DayUsage, UsageFigures, UsageStore};
