//! Figures: what is counted of each app, each dyno and the router itself, cheaply enough to be always on.
//!
//! [`histogram`] counts durations in a fixed number of words; [`window`] makes the last minutes out of what is counted for
//! ever. Memory is bounded: some 15 kB an app, 4 kB a dyno that was used lately. Whoever shows figures (`ps`, `/metrics`)
//! lives elsewhere.

mod app;
mod dyno;
mod histogram;
mod window;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use corundum_abi::names::AppName;

pub use app::{AppMetrics, MetricsSummary};
pub use dyno::DynoMetrics;
pub use histogram::HistogramSnapshot;
pub use window::{SummaryPeriod, TICK};

/// The figures of all apps.
#[derive(Debug, Default)]
pub struct MetricsRegistry {
    apps: RwLock<HashMap<AppName, Arc<AppMetrics>>>,
}

impl MetricsRegistry {
    /// The figures of an app. A [`Site`](crate::site::Site) holds them, so that no request has to look for them.
    pub fn of(&self, app: &AppName) -> Arc<AppMetrics> {
        let known = |apps: &HashMap<AppName, Arc<AppMetrics>>| apps.get(app).cloned();
        let found = known(&self.apps.read().unwrap_or_else(PoisonError::into_inner));
        found.unwrap_or_else(|| {
            let mut apps = self.apps.write().unwrap_or_else(PoisonError::into_inner);
            apps.entry(app.clone()).or_default().clone()
        })
    }

    /// Forgets an app.
    pub fn remove(&self, app: &AppName) {
        let mut apps = self.apps.write().unwrap_or_else(PoisonError::into_inner);
        apps.remove(app);
    }

    /// All apps, by name.
    pub fn all(&self) -> Vec<(AppName, Arc<AppMetrics>)> {
        let apps = self.apps.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = apps.iter().map(|(a, f)| (a.clone(), f.clone())).collect();
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        all
    }

    /// Moves the windows on; to be called every [`TICK`].
    pub fn tick(&self) {
        self.all().iter().for_each(|(_, metrics)| metrics.tick());
    }
}

/// What is counted of the router itself.
#[derive(Debug, Default)]
pub struct RouterMetrics {
    accepted: AtomicU64,
    closed: AtomicU64,
    unrouted: AtomicU64,
}

impl RouterMetrics {
    /// Connections so far.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Connections that are open.
    pub fn open(&self) -> u64 {
        // In this order: one that is closed in between must not make the difference negative.
        let closed = self.closed.load(Ordering::Acquire);
        self.accepted().saturating_sub(closed)
    }

    /// Requests that named no app of the node.
    pub fn unrouted(&self) -> u64 {
        self.unrouted.load(Ordering::Relaxed)
    }

    pub(crate) fn count_unrouted(&self) {
        self.unrouted.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection, until what is returned is dropped.
    pub(crate) fn connection(self: &Arc<Self>) -> OpenConnection {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        OpenConnection(self.clone())
    }
}

/// An open connection.
pub(crate) struct OpenConnection(Arc<RouterMetrics>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.closed.fetch_add(1, Ordering::Release);
    }
}
