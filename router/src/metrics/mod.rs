//! Metrics of each app, each dyno and the router itself, cheap enough to be always on.
//!
//! [`histogram`] counts durations in a fixed number of words; [`window`] derives the last minutes from counters that
//! only grow. Memory is bounded: about 15 kB an app, and 4 kB a dyno with recent requests. Presentation (`ps`,
//! `/metrics`) is elsewhere.

mod app;
mod dyno;
mod histogram;
mod summary;
mod window;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use corundum_abi::names::AppName;

pub use app::AppMetrics;
pub use dyno::DynoCounters;
pub use histogram::HistogramSnapshot;
pub use summary::MetricsSummary;
pub use window::{SummaryPeriod, TICK};

/// Metrics of all apps.
#[derive(Debug, Default)]
pub struct MetricsRegistry {
    apps: RwLock<HashMap<AppName, Arc<AppMetrics>>>,
}

impl MetricsRegistry {
    /// Returns the metrics of an app. The app's `VirtualHost` holds them, so that requests need no lookup.
    pub fn of(&self, app: &AppName) -> Arc<AppMetrics> {
        let known = |apps: &HashMap<AppName, Arc<AppMetrics>>| apps.get(app).cloned();
        let found = known(&self.apps.read().unwrap_or_else(PoisonError::into_inner));
        found.unwrap_or_else(|| {
            let mut apps = self.apps.write().unwrap_or_else(PoisonError::into_inner);
            apps.entry(app.clone()).or_default().clone()
        })
    }

    /// Removes an app.
    pub fn remove(&self, app: &AppName) {
        let mut apps = self.apps.write().unwrap_or_else(PoisonError::into_inner);
        apps.remove(app);
    }

    /// Returns all apps, sorted by name.
    pub fn all(&self) -> Vec<(AppName, Arc<AppMetrics>)> {
        let apps = self.apps.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = apps.iter().map(|(a, f)| (a.clone(), f.clone())).collect();
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        all
    }

    /// Advances the windows; call it every [`TICK`].
    pub fn tick(&self) {
        self.all().iter().for_each(|(_, metrics)| metrics.tick());
    }
}

/// Counters of the router itself.
#[derive(Debug, Default)]
pub struct RouterMetrics {
    accepted: AtomicU64,
    closed: AtomicU64,
    unrouted: AtomicU64,
}

impl RouterMetrics {
    /// Returns the connections that have been accepted.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Returns the connections that are open.
    pub fn open(&self) -> u64 {
        // In this order: a connection that closes in between must not make the difference negative.
        let closed = self.closed.load(Ordering::Acquire);
        self.accepted().saturating_sub(closed)
    }

    /// Returns the requests that named no app of the node.
    pub fn unrouted(&self) -> u64 {
        self.unrouted.load(Ordering::Relaxed)
    }

    pub(crate) fn count_unrouted(&self) {
        self.unrouted.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection as open until the guard is dropped.
    pub(crate) fn connection(self: &Arc<Self>) -> OpenConnection {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        OpenConnection(self.clone())
    }
}

/// Keeps a connection counted as open.
pub(crate) struct OpenConnection(Arc<RouterMetrics>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.closed.fetch_add(1, Ordering::Release);
    }
}
