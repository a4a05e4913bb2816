//! The node's reserve of memory for dynos, and its distribution among apps.
//!
//! Dynos are admitted out of the reserve ([`crate::capacity::DYNO_BYTES`] each), and everything that the host holds for
//! them beyond that is drawn from it. It is a bound for all of them together, so the kernel never has to kill the node.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use corundum_exchange::{BoundedCounter, Reservation};

use crate::net::{AppNetwork, NodeNetwork};

/// The most that an app may hold, as a multiple of what it leaves to others above the floor. One app gets two thirds of
/// the reserve at most; ten equally greedy apps get a fourteenth each. No app has to be ended for another.
const SHARE: usize = 7;
/// Part of the reserve that greedy apps leave, whenever they come.
const FLOOR: usize = 4;
/// Part of the reserve that every app may hold, the floor included.
const SMALL: usize = 64;
/// Shortest time between two searches for idle dynos to end. Each visits all apps, and a dyno may ask without end.
const RELIEF_PAUSE: Duration = Duration::from_millis(100);

/// The bound of a draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DrawLimit {
    /// The app's share.
    Share,
    /// The whole reserve, for small amounts that end a dyno if they are refused.
    Reserve,
}

/// Ends idle dynos when the reserve is used up.
pub(crate) trait Relief: Send + Sync {
    /// Ends idle dynos until `bytes` more are free, or none is left.
    fn relieve(&self, bytes: usize);
}

/// The bytes and sockets that all dynos of a node may take.
pub(crate) struct NodeReserve {
    bytes: Arc<BoundedCounter>,
    network: Arc<NodeNetwork>,
    relief: OnceLock<Weak<dyn Relief>>,
    relieved: Mutex<Option<Instant>>,
}

impl NodeReserve {
    /// Creates a reserve of `limit` bytes without sockets of the kernel.
    #[cfg(test)]
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Self::with_sockets(limit, 0)
    }

    /// Creates a reserve of `limit` bytes and of `sockets` sockets of the kernel.
    pub(crate) fn with_sockets(limit: usize, sockets: usize) -> Arc<Self> {
        Arc::new(Self {
            bytes: BoundedCounter::new(limit),
            network: NodeNetwork::new(sockets),
            relief: OnceLock::new(),
            relieved: Mutex::new(None),
        })
    }

    /// Sets the owner of idle dynos. Only the first one counts.
    pub(crate) fn set_relief(&self, relief: Weak<dyn Relief>) {
        let _ = self.relief.set(relief);
    }

    /// Returns the counter.
    pub(crate) fn bytes(&self) -> &Arc<BoundedCounter> {
        &self.bytes
    }

    /// Returns whether so little is left that idle dynos should give back what they hold.
    pub(crate) fn is_scarce(&self) -> bool {
        self.bytes.available() < self.bytes.limit() / 4
    }

    /// Ends idle dynos so that `bytes` more are free. Returns whether it has tried.
    fn relieve(&self, bytes: usize) -> bool {
        let Some(relief) = self.relief.get().and_then(Weak::upgrade) else {
            return false;
        };
        {
            let mut relieved = self.relieved.lock().unwrap_or_else(PoisonError::into_inner);
            if relieved.is_some_and(|at| at.elapsed() < RELIEF_PAUSE) {
                return false;
            }
            *relieved = Some(Instant::now());
        }
        relief.relieve(bytes);
        true
    }
}

/// Share of the reserve that the dynos of one app hold beyond their admission.
pub(crate) struct AppShare {
    reserve: Arc<NodeReserve>,
    network: Arc<AppNetwork>,
    held: AtomicUsize,
}

impl AppShare {
    pub(crate) fn new(reserve: Arc<NodeReserve>) -> Arc<Self> {
        Arc::new(Self {
            network: AppNetwork::new(reserve.network.clone()),
            reserve,
            held: AtomicUsize::new(0),
        })
    }

    /// Returns the limits of the app's sockets and lookups.
    pub(crate) fn network(&self) -> &Arc<AppNetwork> {
        &self.network
    }

    /// Returns the bytes that the app holds.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Draws `bytes` from the reserve into `drawn`. On a node without memory this may end idle dynos.
    pub(crate) fn draw(
        &self,
        drawn: &mut Option<Reservation>,
        bytes: usize,
        limit: DrawLimit,
    ) -> bool {
        self.try_draw(drawn, bytes, limit)
            || (self.reserve.relieve(bytes) && self.try_draw(drawn, bytes, limit))
    }

    fn try_draw(&self, drawn: &mut Option<Reservation>, bytes: usize, limit: DrawLimit) -> bool {
        let most = match limit {
            DrawLimit::Share => {
                let all = self.reserve.bytes.limit();
                let left = self.reserve.bytes.available().saturating_sub(bytes);
                let above_floor = left.saturating_sub(all / FLOOR);
                above_floor.saturating_mul(SHARE).max(all / SMALL)
            }
            DrawLimit::Reserve => usize::MAX,
        };
        let more = |held: usize| held.checked_add(bytes).filter(|held| *held <= most);
        let order = Ordering::Relaxed;
        if self.held.fetch_update(order, order, more).is_err() {
            return false;
        }
        let is_drawn = match drawn {
            Some(drawn) => drawn.try_grow(bytes),
            None => {
                *drawn = self.reserve.bytes.try_reserve(bytes);
                drawn.is_some()
            }
        };
        if !is_drawn {
            self.held.fetch_sub(bytes, Ordering::Relaxed);
        }
        is_drawn
    }

    /// Returns `bytes` of `drawn` to the reserve.
    pub(crate) fn give_back(&self, drawn: &mut Option<Reservation>, bytes: usize) {
        let Some(reservation) = drawn else { return };
        let left = reservation.units().saturating_sub(bytes);
        self.held
            .fetch_sub(reservation.units() - left, Ordering::Relaxed);
        match left {
            0 => *drawn = None,
            left => drop(reservation.try_resize(left)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: usize = 1 << 20;

    /// Has an app draw megabytes until it gets no more.
    fn exhaust(share: &AppShare, drawn: &mut Option<Reservation>) -> usize {
        std::iter::from_fn(|| share.draw(drawn, MB, DrawLimit::Share).then_some(())).count()
    }

    #[test]
    fn greedy_apps_leave_room_for_a_newcomer() {
        let reserve = NodeReserve::new(1024 * MB);
        let first = AppShare::new(reserve.clone());
        let mut drawn = vec![None];
        assert_eq!(exhaust(&first, &mut drawn[0]), 672);
        for number in 1..10 {
            drawn.push(None);
            let got = exhaust(&AppShare::new(reserve.clone()), &mut drawn[number]);
            assert!(got >= 10, "app {number} got {got}");
            assert!(reserve.bytes.available() > 0);
        }
    }

    #[test]
    fn equally_greedy_apps_get_equal_shares() {
        let reserve = NodeReserve::new(1024 * MB);
        let apps: Vec<_> = (0..10).map(|_| AppShare::new(reserve.clone())).collect();
        let mut drawn: Vec<_> = apps.iter().map(|_| None).collect();
        for _ in 0..1024 {
            for (app, drawn) in apps.iter().zip(&mut drawn) {
                app.draw(drawn, MB, DrawLimit::Share);
            }
        }
        let held: Vec<_> = apps.iter().map(|app| app.held() / MB).collect();
        assert!(held.iter().all(|held| (74..=76).contains(held)), "{held:?}");
        assert!(reserve.bytes.available() >= 256 * MB);
    }

    #[test]
    fn returned_bytes_are_free_for_all() {
        let reserve = NodeReserve::new(8 * MB);
        let (one, other) = (
            AppShare::new(reserve.clone()),
            AppShare::new(reserve.clone()),
        );
        let (mut of_one, mut of_other) = (None, None);
        assert!(
            one.draw(&mut of_one, 6 * MB, DrawLimit::Reserve)
                && !other.draw(&mut of_other, 2 * MB, DrawLimit::Share)
        );
        one.give_back(&mut of_one, 5 * MB);
        assert_eq!((one.held(), reserve.bytes.in_use()), (MB, MB));
        assert!(other.draw(&mut of_other, 2 * MB, DrawLimit::Share));
        one.give_back(&mut of_one, 100 * MB);
        assert!(of_one.is_none() && one.held() == 0);
    }

    #[test]
    fn idle_dynos_end_when_the_reserve_is_used_up() {
        struct IdleDynos(Mutex<Vec<Reservation>>);
        impl Relief for IdleDynos {
            fn relieve(&self, _bytes: usize) {
                self.0.lock().unwrap().clear();
            }
        }
        let reserve = NodeReserve::new(8 * MB);
        let idle = Mutex::new(vec![reserve.bytes.try_reserve(6 * MB).unwrap()]);
        let idle: Arc<dyn Relief> = Arc::new(IdleDynos(idle));
        reserve.set_relief(Arc::downgrade(&idle));
        let (share, mut drawn) = (AppShare::new(reserve.clone()), None);
        assert!(share.draw(&mut drawn, 4 * MB, DrawLimit::Share));
        assert!(
            !share.draw(&mut drawn, 5 * MB, DrawLimit::Share),
            "more than there is"
        );
    }
}
