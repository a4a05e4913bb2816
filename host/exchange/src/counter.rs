//! A counter with an upper bound, for anything that is limited in number: dynos, bytes of memory, bytes of bodies.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts units in use, up to a limit. A [`Reservation`] holds units and returns them when it is dropped.
///
/// All operations are sequentially consistent: code that returns units and then reads a list of waiters, and code that
/// adds a waiter and then tries to reserve, never miss each other.
#[derive(Debug)]
pub struct BoundedCounter {
    limit: usize,
    available: AtomicUsize,
}

/// Units of a [`BoundedCounter`] that are in use until this is dropped.
#[derive(Debug)]
pub struct Reservation {
    counter: Arc<BoundedCounter>,
    units: usize,
}

impl BoundedCounter {
    /// Creates a counter that lends at most `limit` units.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            available: AtomicUsize::new(limit),
        })
    }

    /// Reserves `units` if that many are available. Reserving 0 units always succeeds.
    pub fn try_reserve(self: &Arc<Self>, units: usize) -> Option<Reservation> {
        self.take(units).then(|| Reservation {
            counter: self.clone(),
            units,
        })
    }

    /// Returns the units that can be reserved.
    pub fn available(&self) -> usize {
        self.available.load(Ordering::SeqCst)
    }

    /// Returns the most units that can be in use.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Returns the units in use.
    pub fn in_use(&self) -> usize {
        self.limit - self.available.load(Ordering::SeqCst)
    }

    fn take(&self, units: usize) -> bool {
        let less = |available: usize| available.checked_sub(units);
        self.available
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
            .is_ok()
    }

    fn give_back(&self, units: usize) {
        self.available.fetch_add(units, Ordering::SeqCst);
    }
}

impl Reservation {
    /// Reserves `units` more. Returns false, and reserves none, if that many are not available.
    pub fn try_grow(&mut self, units: usize) -> bool {
        let grown = self.counter.take(units);
        if grown {
            self.units += units;
        }
        grown
    }

    /// Changes the reservation to `units`. Returns false, and changes nothing, if it cannot grow to that many.
    pub fn try_resize(&mut self, units: usize) -> bool {
        match self.units.checked_sub(units) {
            Some(surplus) => {
                self.units = units;
                self.counter.give_back(surplus);
                true
            }
            None => self.try_grow(units - self.units),
        }
    }

    /// Returns the units that this reservation holds.
    pub fn units(&self) -> usize {
        self.units
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.counter.give_back(self.units);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_reservations_return_their_units() {
        let counter = BoundedCounter::new(10);
        let mut reservation = counter.try_reserve(6).unwrap();
        assert!(counter.try_reserve(5).is_none());
        assert!(!reservation.try_grow(5) && reservation.try_grow(4));
        assert_eq!((reservation.units(), counter.in_use()), (10, 10));
        drop(reservation);
        assert!(counter.try_reserve(10).is_some());
        assert_eq!(counter.in_use(), 0);
    }

    #[test]
    fn resized_reservations_hold_their_new_size() {
        let counter = BoundedCounter::new(10);
        let mut reservation = counter.try_reserve(4).unwrap();
        assert!(reservation.try_resize(10) && !reservation.try_resize(11));
        assert_eq!(counter.in_use(), 10);
        assert!(reservation.try_resize(3));
        assert_eq!((reservation.units(), counter.in_use()), (3, 3));
    }

    #[test]
    fn concurrent_reservations_stay_within_the_limit() {
        let counter = BoundedCounter::new(3);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        let reservation = counter.try_reserve(1);
                        assert!(counter.in_use() <= 3);
                        drop(reservation);
                    }
                });
            }
        });
        assert_eq!(counter.in_use(), 0);
    }

    #[test]
    fn unbounded_counter_does_not_overflow() {
        let counter = BoundedCounter::new(usize::MAX);
        let mut reservation = counter.try_reserve(usize::MAX).unwrap();
        assert!(!reservation.try_grow(1));
        assert!(reservation.try_grow(0));
    }
}
