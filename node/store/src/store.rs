//! The interface of a store as a whole.

use crate::acme::AcmeStore;
use crate::apps::AppStore;
use crate::certs::CertStore;
use crate::domains::DomainStore;
use crate::drains::DrainStore;
use crate::releases::ReleaseStore;
use crate::settings::SettingStore;
use crate::tokens::TokenStore;

/// All records of a node. Every type that implements the traits of the single resources is a store.
pub trait Store:
    AcmeStore
    + AppStore
    + CertStore
    + DomainStore
    + DrainStore
    + ReleaseStore
    + SettingStore
    + TokenStore
    + Send
    + Sync
{
}

impl<T> Store for T where
    T: AcmeStore
        + AppStore
        + CertStore
        + DomainStore
        + DrainStore
        + ReleaseStore
        + SettingStore
        + TokenStore
        + Send
        + Sync
{
}
