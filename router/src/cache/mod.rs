//! The HTTP cache: a shared one (RFC 9111), in memory, bounded in bytes, one for all apps of a node.
//!
//! [`admit`](lookup) says what is to become of a request; [`fetch`] asks the app where it must, once for all who want the
//! same. The rules live in files of their own, without any state: [`directives`] and [`policy`] read what a response
//! says, [`freshness`] counts, [`storable`] judges, [`vary`], [`key`] and [`influence`] see to it that nobody is served
//! what was made for another; [`semantics`](crate::semantics) evaluates conditions and ranges. [`store`] keeps what is
//! stored, [`forms`] its encoded forms, [`groups`] finds what is purged.
//!
//! Nothing is guessed: what says nothing of its freshness is not stored.

mod account;
mod deliver;
pub mod directives;
pub(crate) mod fetch;
mod filling;
mod flight;
mod forms;
pub mod freshness;
mod groups;
pub mod influence;
pub mod key;
pub(crate) mod lookup;
pub(crate) mod pass;
pub mod policy;
mod purge;
mod serve;
pub mod storable;
mod store;
mod stored;
mod urls;
pub mod vary;
pub mod verdict;

use std::sync::Arc;

use corundum_abi::names::AppName;
use tokio::sync::Semaphore;

pub use account::Stats;
pub use purge::Scope;
pub(crate) use stored::{CACHE_STATUS, X_CACHE};

use account::{Account, Accounts};
use flight::Flights;
use groups::{Group, Groups, Of};
use store::{Slot, Store};
use stored::{Kept, Stored};

/// Bytes of a cache that nobody has given a size.
pub const DEFAULT_BYTES: u64 = 64 << 20;

/// Bytes that one response may have in a cache that is large enough: what is larger is a download, and would push out
/// thousands of pages.
const LARGEST: u64 = 8 << 20;

/// A node's cache.
#[derive(Debug)]
pub struct Cache {
    store: Store,
    flights: Arc<Flights>,
    groups: Arc<Groups>,
    accounts: Accounts,
    /// Turns to make forms of large bodies.
    makers: Arc<Semaphore>,
}

/// What a cache holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Bytes that are taken.
    pub bytes: u64,
    /// Bytes that may be.
    pub capacity: u64,
}

impl Cache {
    /// A cache of so many bytes; with none, nothing is stored.
    pub fn new(bytes: u64) -> Self {
        let most = (bytes / 16).min(LARGEST);
        Self {
            store: Store::new(bytes, most as usize),
            flights: Arc::default(),
            groups: Arc::default(),
            accounts: Accounts::default(),
            makers: Arc::new(Semaphore::new(forms::AT_A_TIME)),
        }
    }

    /// Whether anything is ever stored.
    fn is_on(&self) -> bool {
        self.store.most > 0
    }

    /// What it holds.
    pub fn size(&self) -> Size {
        Size {
            bytes: self.store.bytes(),
            capacity: self.store.capacity(),
        }
    }

    /// What is counted of an app.
    pub fn stats(&self, app: &AppName) -> Stats {
        self.accounts
            .known(app)
            .map(|account| account.stats())
            .unwrap_or_default()
    }

    /// What is counted of each app, by name.
    pub fn all_stats(&self) -> Vec<(AppName, Stats)> {
        self.accounts.all()
    }

    /// Purges an app's responses; returns how many. What is on its way and began before is not stored either.
    pub fn purge(&self, app: &AppName, scope: &Scope) -> usize {
        // Who has no account has asked for nothing, and nothing is on its way.
        let account = self.accounts.known(app);
        account.map_or(0, |account| self.purge_in(&account, app, scope))
    }

    /// Forgets an app that is no more.
    pub fn remove_app(&self, app: &AppName) {
        self.purge(app, &Scope::App);
        self.accounts.remove(app);
    }

    fn purge_in(&self, account: &Account, app: &AppName, scope: &Scope) -> usize {
        let of = match scope {
            Scope::App => Of::App,
            Scope::Url { host, target } => Of::Url(host, target.as_bytes()),
            Scope::Tag(tag) => Of::Tag(tag),
        };
        let group = self.groups.number(app.as_str(), of);
        // In this order: what is stored in between sees the note.
        account.note_purge(group);
        self.groups
            .keys(group)
            .iter()
            .filter(|key| self.store.remove(key))
            .count()
    }

    /// Stores a response in its groups.
    ///
    /// # Errors
    ///
    /// The response, if any of them has been purged since there were `before` purges: it is not stored then.
    fn keep(
        &self,
        stored: Stored,
        account: &Arc<Account>,
        groups: &[Group],
        before: u64,
    ) -> Result<Arc<Stored>, Arc<Stored>> {
        let bytes = stored.weight() as u64;
        let membership = self.groups.join(&stored.key, groups);
        let kept = Some(Kept::new(account.clone(), membership, bytes));
        let stored = Arc::new(Stored { kept, ..stored });
        self.store
            .put(stored.key.clone(), Slot::Stored(stored.clone()));
        // Those of the one before: nobody would find them.
        self.store.remove_forms(&stored.key);
        if account.purged_since(before, groups) {
            self.store.remove_this(&stored);
            return Err(stored);
        }
        Ok(stored)
    }
}
