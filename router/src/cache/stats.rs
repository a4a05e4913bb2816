//! Per-app counters of the cache, and each app's recent purges.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use corundum_abi::names::AppName;

use super::cache_status::CacheStatus;
use super::surrogate_keys::SurrogateKey;

/// Recent purges that an app's counters remember. A response during whose fetch more purges happened is not stored.
const REMEMBERED_PURGES: usize = 1024;

/// Counters of one app.
#[derive(Debug, Default)]
pub(crate) struct CacheCounters {
    hits: AtomicU64,
    misses: AtomicU64,
    stale: AtomicU64,
    revalidated: AtomicU64,
    collapsed: AtomicU64,
    bypassed: AtomicU64,
    /// Stored responses, and their bytes.
    pub(crate) entries: AtomicU64,
    pub(crate) bytes: AtomicU64,
    /// Encoded variants made so far.
    pub(crate) compressed: AtomicU64,
    purges: Mutex<RecentPurges>,
}

#[derive(Debug, Default)]
struct RecentPurges {
    count: u64,
    recent: VecDeque<SurrogateKey>,
}

/// Snapshot of an app's counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheSnapshot {
    /// Requests that a fresh stored response answered.
    pub hits: u64,
    /// Cacheable requests that the app answered.
    pub misses: u64,
    /// Requests that a stale response answered.
    pub stale: u64,
    /// Requests that a stored response answered after the app confirmed it with a 304.
    pub revalidated: u64,
    /// Requests that waited for another one and shared its response.
    pub collapsed: u64,
    /// Requests that bypassed the cache.
    pub bypassed: u64,
    /// Stored responses.
    pub entries: u64,
    /// Bytes of stored responses and their encoded variants.
    pub bytes: u64,
    /// Encoded variants made so far. If there are many more of them than entries, the cache is too small.
    pub compressed: u64,
}

impl CacheSnapshot {
    /// Share of the cacheable requests for which no dyno made a response, from 0 to 1; none without such requests.
    pub fn hit_ratio(&self) -> Option<f64> {
        let served = self.hits + self.stale + self.revalidated + self.collapsed;
        let all = served + self.misses;
        (all > 0).then(|| served as f64 / all as f64)
    }
}

impl CacheCounters {
    /// Counts a request.
    pub(crate) fn count(&self, status: &CacheStatus) {
        let counter = match status {
            CacheStatus::Hit { .. } => &self.hits,
            CacheStatus::Stale { .. } => &self.stale,
            CacheStatus::Revalidated => &self.revalidated,
            CacheStatus::Collapsed(_) => &self.collapsed,
            CacheStatus::Miss { .. } => &self.misses,
            CacheStatus::Bypass(_) | CacheStatus::NotCached => &self.bypassed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> CacheSnapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CacheSnapshot {
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

    /// Number of purges so far. A fetch keeps it, to detect purges during the fetch.
    pub(crate) fn purges(&self) -> u64 {
        self.purges
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .count
    }

    /// Records a purge.
    pub(crate) fn record_purge(&self, key: SurrogateKey) {
        let mut purges = self.purges.lock().unwrap_or_else(PoisonError::into_inner);
        purges.count += 1;
        purges.recent.push_back(key);
        if purges.recent.len() > REMEMBERED_PURGES {
            purges.recent.pop_front();
        }
    }

    /// Returns whether any of these keys may have been purged since the number of purges was `before`.
    pub(crate) fn purged_since(&self, before: u64, keys: &[SurrogateKey]) -> bool {
        let purges = self.purges.lock().unwrap_or_else(PoisonError::into_inner);
        let missed = usize::try_from(purges.count - before).unwrap_or(usize::MAX);
        missed > purges.recent.len()
            || purges
                .recent
                .iter()
                .rev()
                .take(missed)
                .any(|key| keys.contains(key))
    }
}

/// Counters of all apps.
#[derive(Debug, Default)]
pub(crate) struct CacheCountersByApp {
    apps: RwLock<HashMap<AppName, Arc<CacheCounters>>>,
}

impl CacheCountersByApp {
    /// Counters of an app, created if there are none.
    pub(crate) fn of(&self, app: &AppName) -> Arc<CacheCounters> {
        if let Some(stats) = self.known(app) {
            return stats;
        }
        let mut apps = self.apps.write().unwrap_or_else(PoisonError::into_inner);
        apps.entry(app.clone()).or_default().clone()
    }

    /// Counters of an app, if there are any.
    pub(crate) fn known(&self, app: &AppName) -> Option<Arc<CacheCounters>> {
        let apps = self.apps.read().unwrap_or_else(PoisonError::into_inner);
        apps.get(app).cloned()
    }

    /// Drops the counters of a removed app.
    pub(crate) fn remove(&self, app: &AppName) {
        let mut apps = self.apps.write().unwrap_or_else(PoisonError::into_inner);
        apps.remove(app);
    }

    /// Snapshots of all counters, sorted by app.
    pub(crate) fn all(&self) -> Vec<(AppName, CacheSnapshot)> {
        let apps = self.apps.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = apps
            .iter()
            .map(|(app, stats)| (app.clone(), stats.snapshot()))
            .collect();
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purges_during_a_fetch_are_detected_and_forgotten_ones_count_as_matching() {
        let stats = CacheCounters::default();
        let before = stats.purges();
        assert!(!stats.purged_since(before, &[1]));
        stats.record_purge(1);
        assert!(stats.purged_since(before, &[2, 1]) && !stats.purged_since(before, &[2]));
        assert!(!stats.purged_since(stats.purges(), &[1]));
        for _ in 0..=REMEMBERED_PURGES {
            stats.record_purge(3);
        }
        assert!(stats.purged_since(before, &[2]));
    }
}
