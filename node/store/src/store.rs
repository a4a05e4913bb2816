//! The interface of a store as a whole.

use crate::account::AccountStore;
use crate::acme::AcmeStore;
use crate::addon_backups::AddonBackupStore;
use crate::addons::AddonStore;
use crate::all_apps::AllAppsStore;
use crate::apps::AppStore;
use crate::builds::BuildStore;
use crate::certs::CertStore;
use crate::domains::DomainStore;
use crate::drains::DrainStore;
use crate::formation::FormationStore;
use crate::live::LiveStore;
use crate::outbound::OutboundGrantStore;
use crate::releases::ReleaseStore;
use crate::schedule::ScheduleStore;
use crate::settings::SettingStore;
use crate::tokens::TokenStore;
use crate::usage::UsageStore;

/// All records of a node. Every type that implements the traits of the single resources is a store.
pub trait Store:
    AccountStore
    + AcmeStore
    + AddonBackupStore
    + AddonStore
    + AllAppsStore
    + AppStore
    + BuildStore
    + CertStore
    + DomainStore
    + DrainStore
    + FormationStore
    + LiveStore
    + OutboundGrantStore
    + ReleaseStore
    + ScheduleStore
    + SettingStore
    + TokenStore
    + UsageStore
    + Send
    + Sync
{
}

impl<T> Store for T where
    T: AccountStore
        + AcmeStore
        + AddonBackupStore
        + AddonStore
        + AllAppsStore
        + AppStore
        + BuildStore
        + CertStore
        + DomainStore
        + DrainStore
        + FormationStore
        + LiveStore
        + OutboundGrantStore
        + ReleaseStore
        + ScheduleStore
        + SettingStore
        + TokenStore
        + UsageStore
        + Send
        + Sync
{
}
