//! The limit of an app's concurrent requests (H22).
//!
//! Each app has a fixed limit. Beyond its first requests it also draws from a pool that all apps share, so that apps
//! whose clients are slow do not take the places of the others' requests together.

use std::sync::Arc;

use crate::fair_pool::{FairPool, PoolReservation};
use crate::metrics::AppMetrics;

/// An app's first requests, one of so many of its limit, do not come from the pool: they touch no counter that apps
/// share.
const OUTSIDE_POOL: u32 = 64;

/// Creates the pool of all apps, of which each may have `most` requests. One app alone may use half of the pool, which
/// is its limit; two apps use a third each, and so on.
pub(crate) fn pool(most: u32) -> Arc<FairPool> {
    FairPool::new(2 * most as usize, 1)
}

/// One of an app's concurrent requests; dropping it frees the slot.
#[derive(Debug)]
pub(crate) struct Permit {
    app: Arc<AppMetrics>,
    _from_pool: Option<PoolReservation>,
}

impl Permit {
    /// Acquires one of the `most` slots of an app, or `None` if all are in use or the others need them.
    pub(crate) fn acquire(app: &Arc<AppMetrics>, most: u32, pool: &Arc<FairPool>) -> Option<Self> {
        // The drop of `permit` undoes the increment of a request beyond the limit.
        let before = app.begin();
        let mut permit = Self {
            app: app.clone(),
            _from_pool: None,
        };
        if before >= u64::from(most) {
            return None;
        }
        if before >= u64::from((most / OUTSIDE_POOL).max(1)) {
            let reservation = pool.of(&app.shares().requests).try_reserve(1)?;
            permit._from_pool = Some(reservation);
        }
        Some(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.app.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_are_limited_for_each_app_and_released_on_drop() {
        let (app, other, pool) = (Arc::default(), Arc::default(), pool(1));
        let first = Permit::acquire(&app, 1, &pool);
        assert!(first.is_some() && Permit::acquire(&app, 1, &pool).is_none());
        assert!(Permit::acquire(&other, 1, &pool).is_some());
        drop(first);
        assert!(Permit::acquire(&app, 1, &pool).is_some());
        assert_eq!(app.in_flight(), 0);
    }

    #[test]
    fn apps_with_slow_clients_leave_slots_for_the_next_app() {
        const MOST: u32 = 10_000;
        let pool = pool(MOST);
        let fill = || -> Vec<Permit> {
            let app = Arc::default();
            std::iter::from_fn(|| Permit::acquire(&app, MOST, &pool)).collect()
        };
        let held = [fill(), fill(), fill()];
        let counts = held.each_ref().map(Vec::len);
        assert_eq!(counts[0], MOST as usize, "one app alone has its limit");
        assert!(counts[1] > 5000 && counts[2] > 2500, "{counts:?}");
        let all: usize = counts.iter().sum();
        assert!(all < 2 * MOST as usize, "connections are left for others");
    }
}
