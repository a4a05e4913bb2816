//! What is counted of an app's use of the cache, and what it has purged lately.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use corundum_abi::names::AppName;

use super::groups::Group;
use super::verdict::Verdict;

/// Purges that are remembered, for responses that were on their way. A response that has seen more pass is not stored.
const REMEMBERED: usize = 1024;

/// One app's account.
#[derive(Debug, Default)]
pub(crate) struct Account {
    hits: AtomicU64,
    misses: AtomicU64,
    stale: AtomicU64,
    revalidated: AtomicU64,
    collapsed: AtomicU64,
    bypassed: AtomicU64,
    /// Responses that are stored, and their bytes.
    pub(crate) entries: AtomicU64,
    pub(crate) bytes: AtomicU64,
    /// Encoded forms of responses that were made to be kept.
    pub(crate) compressed: AtomicU64,
    purges: Mutex<Purges>,
}

#[derive(Debug, Default)]
struct Purges {
    count: u64,
    recent: VecDeque<Group>,
}

/// What is counted of an app's use of the cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Requests that were served without the app, from fresh responses.
    pub hits: u64,
    /// Requests that the app answered although the cache might have.
    pub misses: u64,
    /// Requests that were served a stale response, as it allowed.
    pub stale: u64,
    /// Requests that were served from the cache with the app's consent (304).
    pub revalidated: u64,
    /// Requests that waited for the answer to another one and shared it.
    pub collapsed: u64,
    /// Requests that were none of the cache's business.
    pub bypassed: u64,
    /// Responses that are stored.
    pub entries: u64,
    /// Bytes that they take, with their compressed forms.
    pub bytes: u64,
    /// Compressed forms that were made of them to be kept. Many more of these than entries: the cache is too small.
    pub compressed: u64,
}

impl Stats {
    /// The part of the requests that a cache may serve at all which no dyno had to make a response for, 0 to 1; none
    /// without any.
    pub fn hit_ratio(&self) -> Option<f64> {
        let served = self.hits + self.stale + self.revalidated + self.collapsed;
        let all = served + self.misses;
        (all > 0).then(|| served as f64 / all as f64)
    }
}

impl Account {
    /// Counts a request.
    pub(crate) fn count(&self, verdict: &Verdict) {
        let counter = match verdict {
            Verdict::Hit { .. } => &self.hits,
            Verdict::Stale { .. } => &self.stale,
            Verdict::Revalidated => &self.revalidated,
            Verdict::Collapsed(_) => &self.collapsed,
            Verdict::Miss { .. } => &self.misses,
            Verdict::Bypass(_) | Verdict::NotAllowed => &self.bypassed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            hits: read(&self.hits),
            misses: read(&self.misses),
            stale: read(&self.stale),
            revalidated: read(&self.revalidated),
            collapsed: read(&self.collapsed),
            bypassed: read(&self.bypassed),
            entries: read(&self.entries),
            bytes: read(&self.bytes),
            compressed: read(&self.compressed),
        }
    }

    /// How many purges there have been: to be kept by who fetches a response.
    pub(crate) fn purges(&self) -> u64 {
        self.purges
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .count
    }

    /// Notes a purge.
    pub(crate) fn note_purge(&self, group: Group) {
        let mut purges = self.purges.lock().unwrap_or_else(PoisonError::into_inner);
        purges.count += 1;
        purges.recent.push_back(group);
        if purges.recent.len() > REMEMBERED {
            purges.recent.pop_front();
        }
    }

    /// Whether any of these groups may have been purged since there were `before` purges.
    pub(crate) fn purged_since(&self, before: u64, groups: &[Group]) -> bool {
        let purges = self.purges.lock().unwrap_or_else(PoisonError::into_inner);
        let missed = usize::try_from(purges.count - before).unwrap_or(usize::MAX);
        missed > purges.recent.len()
            || purges
                .recent
                .iter()
                .rev()
                .take(missed)
                .any(|group| groups.contains(group))
    }
}

/// The accounts of all apps.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    apps: RwLock<HashMap<AppName, Arc<Account>>>,
}

impl Accounts {
    /// An app's account, opened if it has none.
    pub(crate) fn of(&self, app: &AppName) -> Arc<Account> {
        if let Some(account) = self.known(app) {
            return account;
        }
        let mut apps = self.apps.write().unwrap_or_else(PoisonError::into_inner);
        apps.entry(app.clone()).or_default().clone()
    }

    /// An app's account, if it has one.
    pub(crate) fn known(&self, app: &AppName) -> Option<Arc<Account>> {
        let apps = self.apps.read().unwrap_or_else(PoisonError::into_inner);
        apps.get(app).cloned()
    }

    /// Closes the account of an app that is no more.
    pub(crate) fn remove(&self, app: &AppName) {
        let mut apps = self.apps.write().unwrap_or_else(PoisonError::into_inner);
        apps.remove(app);
    }

    /// All, by name.
    pub(crate) fn all(&self) -> Vec<(AppName, Stats)> {
        let apps = self.apps.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = apps
            .iter()
            .map(|(app, account)| (app.clone(), account.stats()))
            .collect();
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purge_is_seen_by_what_began_before_it_and_one_that_is_forgotten_is_taken_for_seen() {
        let account = Account::default();
        let before = account.purges();
        assert!(!account.purged_since(before, &[1]));
        account.note_purge(1);
        assert!(account.purged_since(before, &[2, 1]) && !account.purged_since(before, &[2]));
        assert!(!account.purged_since(account.purges(), &[1]));
        for _ in 0..=REMEMBERED {
            account.note_purge(3);
        }
        assert!(account.purged_since(before, &[2]));
    }
}
