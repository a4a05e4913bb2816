//! Slots for dynos on a node, and their distribution among apps when the node is full.
//!
//! An app that wants a slot on a full node joins a queue. Slots come from dynos that end, from idle dynos, and from
//! apps that have more dynos than the waiting one: such an app gives a dyno up after its request, even if it has more
//! requests waiting. Apps that want many dynos therefore end up with the same number each. If there are more apps than
//! slots, each gets one in turn.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use corundum_exchange::{BoundedCounter, Reservation};

use super::registry::AppRegistry;
use crate::capacity::DYNO_BYTES;
use crate::reserve::Relief;
use crate::slots::{MappingBudget, SlotMappings};

/// Idle time after which any waiting app may take a dyno's slot.
const UNUSED: Duration = Duration::from_secs(1);
/// Time that an app without dynos waits before another app gives up its last one.
const LAST_DYNO: Duration = Duration::from_millis(100);

/// A slot for one dyno with its part of the node's reserve. Return it with [`SlotAdmission::release`] rather than by
/// dropping it, so that waiting apps get it.
pub(super) struct DynoSlot {
    _slot: Reservation,
    _bytes: Reservation,
    _mappings: SlotMappings,
}

/// Capacity of a node for dynos.
pub(super) struct NodeRoom {
    /// Slots of the engine.
    pub(super) slots: Arc<BoundedCounter>,
    /// The reserve of memory.
    pub(super) reserve: Arc<BoundedCounter>,
    /// Kernel mappings.
    pub(super) mappings: Arc<MappingBudget>,
}

impl NodeRoom {
    fn try_slot(&self) -> Option<DynoSlot> {
        Some(DynoSlot {
            _slot: self.slots.try_reserve(1)?,
            _bytes: self.reserve.try_reserve(DYNO_BYTES)?,
            _mappings: self.mappings.reserve_slot()?,
        })
    }
}

/// An app as the admission sees it: a holder of dynos that may want more.
pub(super) trait Tenant: Sized {
    /// Returns the number of dynos that exist or are being started.
    fn live(&self) -> usize;
    /// Returns the time since which the longest idle dyno has been idle, and the number of dynos.
    fn longest_idle(&self) -> Option<(Instant, usize)>;
    /// Ends the longest idle dyno. Its slot and its memory are free when this returns.
    fn end_longest_idle(self: &Arc<Self>);
    /// Returns the bytes of the node's reserve that the app's dynos hold.
    fn held_bytes(&self) -> usize;
    /// Returns whether a waiting request may start a dyno.
    fn wants_dyno(&self) -> bool;
    /// Lets the first waiting request start a dyno in `slot`. Returns the slot if no request waits any more.
    fn grant(self: &Arc<Self>, slot: DynoSlot) -> Result<(), DynoSlot>;
}

/// The slots of a node and the queue of apps that wait for one.
pub(super) struct SlotAdmission<A> {
    apps: Arc<AppRegistry<A>>,
    /// Counts dynos that exist or are being started.
    room: NodeRoom,
    /// Length of `queue`, to be read without the lock.
    waiters: AtomicUsize,
    queue: Mutex<VecDeque<Waiter<A>>>,
}

/// An app that waits for a slot.
struct Waiter<A> {
    app: Arc<A>,
    since: Instant,
}

/// The demand of an app for a dyno that has just served a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Demand {
    /// Requests of the app wait for a dyno.
    Waiting,
    /// The dyno would become idle.
    None,
}

impl<A: Tenant> SlotAdmission<A> {
    /// Creates the admission of a node with `room`.
    pub(super) fn new(apps: Arc<AppRegistry<A>>, room: NodeRoom) -> Self {
        Self {
            apps,
            room,
            waiters: AtomicUsize::new(0),
            queue: Mutex::default(),
        }
    }

    /// Returns the number of dynos of all apps.
    pub(super) fn live(&self) -> usize {
        self.room.slots.in_use()
    }

    /// Reserves a slot for one more dyno of an app that has `held`. On a full node this may end an idle dyno.
    pub(super) fn reserve(&self, held: usize) -> Option<DynoSlot> {
        let slot = self.room.try_slot();
        slot.or_else(|| match self.end_an_idle_dyno(held) {
            true => self.room.try_slot(),
            false => None,
        })
    }

    /// Ends an idle dyno of the app with the most dynos, among apps that have more than `held` or an unused dyno.
    fn end_an_idle_dyno(&self, held: usize) -> bool {
        let idle = self.apps.all().into_iter().filter_map(|app| {
            let (since, live) = app.longest_idle()?;
            (live > held || since.elapsed() > UNUSED).then_some((live, since.elapsed(), app))
        });
        match idle.max_by_key(|(live, idle, _)| (*live, *idle)) {
            Some((.., app)) => {
                app.end_longest_idle();
                true
            }
            None => false,
        }
    }

    /// Puts an app at the end of the queue, unless it is in the queue already.
    pub(super) fn wait(&self, app: &Arc<A>) {
        self.enqueue(app);
        // A slot may have been released before the app was in the queue.
        self.serve_waiters();
    }

    /// Releases a slot: to `next_owner` if that app still wants it, else to the first in the queue.
    pub(super) fn release(&self, slot: DynoSlot, next_owner: Option<Arc<A>>) {
        match next_owner {
            Some(app) => self.grant_to(&app, slot),
            None => drop(slot),
        }
        self.serve_waiters();
    }

    /// Grants free slots to waiting apps in turn.
    fn serve_waiters(&self) {
        while self.has_waiters()
            && let Some(slot) = self.room.try_slot()
        {
            let Some(waiter) = self.dequeue(|_| true) else {
                return;
            };
            self.grant_to(&waiter.app, slot);
        }
    }

    /// Grants a slot to an app. If the app wants more, it joins the queue again.
    fn grant_to(&self, app: &Arc<A>, slot: DynoSlot) {
        // An app that no longer wants the slot returns it, and it is free again.
        drop(app.grant(slot));
        if app.wants_dyno() {
            self.enqueue(app);
        }
    }

    /// Returns whether an app waits for a slot.
    pub(super) fn has_waiters(&self) -> bool {
        self.waiters.load(Ordering::SeqCst) > 0
    }

    /// Ends unused dynos while apps wait, and grants what has become free. The grid calls it once a second: memory that a
    /// running dyno returns frees room without a word to the waiting apps.
    pub(super) fn end_unused_dynos(&self) {
        self.serve_waiters();
        while self.has_waiters() && self.end_an_idle_dyno(usize::MAX) {}
    }

    /// Chooses the next owner of the slot of a dyno that `app`, which has `held` dynos, could use again.
    ///
    /// The returned app is no longer in the queue; the caller must release the slot to it. Do not call this while an
    /// app's state is locked.
    pub(super) fn next_owner(&self, app: &Arc<A>, held: usize, demand: Demand) -> Option<Arc<A>> {
        let fewer = match demand {
            Demand::Waiting => 2,
            Demand::None => 1,
        };
        let waiter = self.dequeue(|waiter| {
            let theirs = waiter.app.live();
            !Arc::ptr_eq(&waiter.app, app)
                && (theirs + fewer <= held || (theirs == 0 && waiter.since.elapsed() > LAST_DYNO))
        });
        waiter.map(|waiter| waiter.app)
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Waiter<A>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enqueue(&self, app: &Arc<A>) {
        let mut queue = self.queue();
        if queue.iter().any(|waiter| Arc::ptr_eq(&waiter.app, app)) {
            return;
        }
        queue.push_back(Waiter {
            app: app.clone(),
            since: Instant::now(),
        });
        self.waiters.fetch_add(1, Ordering::SeqCst);
    }

    fn dequeue(&self, wanted: impl Fn(&Waiter<A>) -> bool) -> Option<Waiter<A>> {
        let mut queue = self.queue();
        let index = queue.iter().position(wanted)?;
        self.waiters.fetch_sub(1, Ordering::SeqCst);
        queue.remove(index)
    }
}

impl<A: Tenant + Send + Sync> Relief for SlotAdmission<A> {
    fn relieve(&self, bytes: usize) {
        let mut apps = self.apps.all();
        apps.retain(|app| app.longest_idle().is_some());
        // The app that holds most gives back first.
        apps.sort_by_cached_key(|app| std::cmp::Reverse(app.held_bytes()));
        for app in apps {
            while app.longest_idle().is_some() {
                if self.room.reserve.available() > bytes.saturating_mul(2) {
                    return;
                }
                app.end_longest_idle();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slots::SLOT_MAPPINGS;

    /// An app that takes `wanted` more slots and holds them.
    #[derive(Default)]
    struct TestTenant {
        wanted: AtomicUsize,
        slots: Mutex<Vec<DynoSlot>>,
    }

    impl TestTenant {
        fn wanting(wanted: usize) -> Arc<Self> {
            Arc::new(Self {
                wanted: AtomicUsize::new(wanted),
                ..Self::default()
            })
        }
    }

    impl Tenant for TestTenant {
        fn live(&self) -> usize {
            self.slots.lock().unwrap().len()
        }

        fn longest_idle(&self) -> Option<(Instant, usize)> {
            None
        }

        fn end_longest_idle(self: &Arc<Self>) {}

        fn held_bytes(&self) -> usize {
            0
        }

        fn wants_dyno(&self) -> bool {
            self.wanted.load(Ordering::SeqCst) > 0
        }

        fn grant(self: &Arc<Self>, slot: DynoSlot) -> Result<(), DynoSlot> {
            if !self.wants_dyno() {
                return Err(slot);
            }
            self.wanted.fetch_sub(1, Ordering::SeqCst);
            self.slots.lock().unwrap().push(slot);
            Ok(())
        }
    }

    fn admission(slots: usize) -> SlotAdmission<TestTenant> {
        with_room(slots, usize::MAX, usize::MAX)
    }

    fn with_room(slots: usize, reserve: usize, mappings: usize) -> SlotAdmission<TestTenant> {
        let room = NodeRoom {
            slots: BoundedCounter::new(slots),
            reserve: BoundedCounter::new(reserve),
            mappings: MappingBudget::new(mappings),
        };
        SlotAdmission::new(Arc::new(AppRegistry::new()), room)
    }

    #[test]
    fn released_slots_go_to_waiting_apps_in_turn() {
        let admission = admission(2);
        let held: Vec<_> = (0..2).filter_map(|_| admission.reserve(0)).collect();
        assert!(admission.reserve(2).is_none());
        let (first, second) = (TestTenant::wanting(2), TestTenant::wanting(1));
        admission.wait(&first);
        admission.wait(&second);
        assert_eq!((first.live(), second.live(), admission.live()), (0, 0, 2));
        for slot in held {
            admission.release(slot, None);
        }
        assert_eq!((first.live(), second.live()), (1, 1));
        assert!(admission.has_waiters(), "the first app wants another slot");
    }

    #[test]
    fn next_owner_has_fewer_dynos_and_gets_the_slot() {
        let admission = admission(2);
        let (holder, waiting) = (TestTenant::wanting(2), TestTenant::wanting(1));
        admission.wait(&holder);
        assert_eq!(holder.live(), 2);
        admission.wait(&waiting);
        assert!(admission.next_owner(&holder, 1, Demand::Waiting).is_none());
        let next = admission.next_owner(&holder, 2, Demand::Waiting).unwrap();
        assert!(Arc::ptr_eq(&next, &waiting) && !admission.has_waiters());
        let slot = holder.slots.lock().unwrap().pop().unwrap();
        admission.release(slot, Some(next));
        assert_eq!((holder.live(), waiting.live(), admission.live()), (1, 1, 2));
    }

    #[test]
    fn memory_and_mappings_limit_dynos_like_slots() {
        let of_memory = with_room(100, 2 * DYNO_BYTES + 1, usize::MAX);
        let of_mappings = with_room(100, usize::MAX, 2 * SLOT_MAPPINGS + 1);
        for admission in [of_memory, of_mappings] {
            let held: Vec<_> = (0..100).filter_map(|_| admission.reserve(0)).collect();
            assert_eq!((held.len(), admission.live()), (2, 2));
            let waiting = TestTenant::wanting(1);
            admission.wait(&waiting);
            assert_eq!(waiting.live(), 0);
            drop(held);
            // Whatever returned the room, the waiting app gets it.
            admission.end_unused_dynos();
            assert_eq!(waiting.live(), 1);
        }
    }

    #[test]
    fn unwanted_slot_is_free_again() {
        let admission = admission(1);
        let slot = admission.reserve(0).unwrap();
        admission.release(slot, Some(TestTenant::wanting(0)));
        assert_eq!(admission.live(), 0);
    }
}
