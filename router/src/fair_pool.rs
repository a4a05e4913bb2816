//! Pools of units that all apps of a node share, with a fair share for each app.
//!
//! A slow client decides how long its response holds units, so a pool cannot take them back. It keeps units free
//! instead: an app gets more only while it holds no more than a multiple of what is left for the others. One app alone
//! may therefore use most of the pool, and each further one finds units, however many the apps before it hold. As units
//! come back, the apps that wait for some converge to equal shares.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A pool of units that apps hold until they drop a [`PoolReservation`].
#[derive(Debug)]
pub(crate) struct FairPool {
    free: AtomicUsize,
    /// Units that an app may hold for each unit that is left free.
    ratio: usize,
}

/// Units of one pool that one app holds.
#[derive(Debug, Default)]
pub(crate) struct PoolShare(AtomicUsize);

/// A pool as one app sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AppPool<'a> {
    pool: &'a Arc<FairPool>,
    share: &'a Arc<PoolShare>,
}

/// Units that an app holds until this is dropped.
#[derive(Debug)]
pub(crate) struct PoolReservation {
    pool: Arc<FairPool>,
    share: Arc<PoolShare>,
    units: usize,
}

/// One app's shares of all pools.
#[derive(Debug, Default)]
pub(crate) struct AppShares {
    /// Concurrent requests.
    pub(crate) requests: Arc<PoolShare>,
    /// Bytes of waiting bodies.
    pub(crate) bodies: Arc<PoolShare>,
    /// Bytes of encoders.
    pub(crate) encoders: Arc<PoolShare>,
}

impl FairPool {
    /// Creates a pool of `units`. An app that is alone may hold `ratio` of each `ratio + 1` units.
    pub(crate) fn new(units: usize, ratio: usize) -> Arc<Self> {
        Arc::new(Self {
            free: AtomicUsize::new(units),
            ratio,
        })
    }

    /// Returns the pool as the app with this share sees it.
    pub(crate) fn of<'a>(self: &'a Arc<Self>, share: &'a Arc<PoolShare>) -> AppPool<'a> {
        AppPool { pool: self, share }
    }

    fn take(&self, share: &PoolShare, units: usize) -> bool {
        if units == 0 {
            return true;
        }
        // Counted before the check, so that two requests of one app see each other.
        let held = share.0.fetch_add(units, Ordering::Relaxed) + units;
        let left = |free: usize| {
            let left = free.checked_sub(units)?;
            (held <= left.saturating_mul(self.ratio)).then_some(left)
        };
        let taken = self
            .free
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, left)
            .is_ok();
        if !taken {
            share.0.fetch_sub(units, Ordering::Relaxed);
        }
        taken
    }

    fn give_back(&self, share: &PoolShare, units: usize) {
        share.0.fetch_sub(units, Ordering::Relaxed);
        self.free.fetch_add(units, Ordering::AcqRel);
    }
}

impl AppPool<'_> {
    /// Reserves `units` if the app may have that many. Reserving 0 units always succeeds.
    pub(crate) fn try_reserve(self, units: usize) -> Option<PoolReservation> {
        self.pool.take(self.share, units).then(|| self.held(units))
    }

    /// Returns a reservation of 0 units, from which others can be made.
    pub(crate) fn empty(self) -> PoolReservation {
        self.held(0)
    }

    fn held(self, units: usize) -> PoolReservation {
        PoolReservation {
            pool: self.pool.clone(),
            share: self.share.clone(),
            units,
        }
    }
}

impl PoolReservation {
    /// Reserves `units` more. Returns false, and reserves none, if the app may not have that many.
    pub(crate) fn try_grow(&mut self, units: usize) -> bool {
        let grown = self.pool.take(&self.share, units);
        if grown {
            self.units += units;
        }
        grown
    }

    /// Makes another reservation of the same app in the same pool.
    pub(crate) fn try_another(&self, units: usize) -> Option<Self> {
        self.pool.of(&self.share).try_reserve(units)
    }
}

impl Drop for PoolReservation {
    fn drop(&mut self) {
        self.pool.give_back(&self.share, self.units);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Takes single units until the pool refuses.
    fn fill(pool: &Arc<FairPool>, share: &Arc<PoolShare>) -> Vec<PoolReservation> {
        std::iter::from_fn(|| pool.of(share).try_reserve(1)).collect()
    }

    fn shares(count: usize) -> Vec<Arc<PoolShare>> {
        (0..count).map(|_| Arc::default()).collect()
    }

    #[test]
    fn app_that_is_alone_uses_most_of_a_pool_and_leaves_the_rest() {
        for (ratio, most) in [(1, 450), (2, 600)] {
            let (pool, share) = (FairPool::new(900, ratio), Arc::default());
            assert_eq!(fill(&pool, &share).len(), most);
            // All came back.
            assert_eq!(fill(&pool, &share).len(), most);
        }
    }

    #[test]
    fn apps_that_take_all_they_can_leave_units_for_the_next() {
        let (pool, shares) = (FairPool::new(372, 2), shares(4));
        let held: Vec<_> = shares.iter().map(|share| fill(&pool, share)).collect();
        let counts: Vec<_> = held.iter().map(Vec::len).collect();
        assert_eq!(counts, [248, 82, 28, 9]);
    }

    #[test]
    fn shares_become_equal_as_units_come_back() {
        let (pool, shares) = (FairPool::new(900, 2), shares(2));
        let mut hog = fill(&pool, &shares[0]);
        let mut other = fill(&pool, &shares[1]);
        for _ in 0..2000 {
            // One response of each app ends, and both apps want as many units as they can get.
            hog.pop();
            other.pop();
            other.extend(fill(&pool, &shares[1]));
            hog.extend(fill(&pool, &shares[0]));
        }
        let (hog, other) = (hog.len(), other.len());
        assert!(hog.abs_diff(other) <= 2, "{hog} and {other}");
    }

    #[test]
    fn refused_growth_reserves_nothing() {
        let (pool, share) = (FairPool::new(9, 2), Arc::default());
        let mut reservation = pool.of(&share).try_reserve(4).unwrap();
        assert!(!reservation.try_grow(3) && reservation.try_grow(2));
        assert!(reservation.try_another(1).is_none() && reservation.try_another(0).is_some());
        drop(reservation);
        assert!(pool.of(&share).try_reserve(6).is_some());
    }

    proptest! {
        #[test]
        fn any_sequence_keeps_the_bound_and_returns_every_unit(
            steps in proptest::collection::vec((0..3usize, 0..40usize, any::<bool>()), 0..200),
        ) {
            const UNITS: usize = 100;
            let (pool, shares) = (FairPool::new(UNITS, 2), shares(3));
            let mut held: Vec<(usize, PoolReservation)> = Vec::new();
            for (app, units, drops) in steps {
                if drops && !held.is_empty() {
                    held.swap_remove(units % held.len());
                } else if let Some(reservation) = pool.of(&shares[app]).try_reserve(units) {
                    held.push((app, reservation));
                    let all: usize = held.iter().map(|(_, one)| one.units).sum();
                    let own = held.iter().filter(|(of, _)| *of == app);
                    let own: usize = own.map(|(_, one)| one.units).sum();
                    prop_assert!(all <= UNITS);
                    prop_assert!(units == 0 || own <= 2 * (UNITS - all));
                }
            }
            drop(held);
            prop_assert_eq!(pool.free.load(Ordering::Relaxed), UNITS);
            for share in &shares {
                prop_assert_eq!(share.0.load(Ordering::Relaxed), 0);
            }
        }
    }
}
