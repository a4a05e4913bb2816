//! The node's places for dynos, and who gets one when there are none left.
//!
//! An app that wants a place on a full node waits for its turn. Places come from dynos that end, from idle ones, and from
//! apps that have more of them than whoever waits: such an app gives a dyno up when its request has ended, though it may
//! have others waiting. So apps that want many end with as many each; where there are more apps than places, each gets
//! one in turn.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Shared;
use super::app::App;

/// A dyno that has been idle for so long may be ended for any app that waits.
const UNUSED: Duration = Duration::from_secs(1);
/// An app without any dyno waits this long before another gives it its last one.
const TURN: Duration = Duration::from_millis(100);

/// The node's places.
#[derive(Default)]
pub(super) struct Places {
    /// Dynos that exist or are being started.
    live: AtomicU32,
    /// The length of `turns`.
    hungry: AtomicUsize,
    turns: Mutex<VecDeque<Turn>>,
}

/// An app that waits for a place.
struct Turn {
    app: Arc<App>,
    since: Instant,
}

impl Places {
    /// Dynos of all apps.
    pub(super) fn live(&self) -> u32 {
        self.live.load(Ordering::Relaxed)
    }

    fn take(&self, limit: u32) -> bool {
        let more = |live| (live < limit).then_some(live + 1);
        let taken = self
            .live
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, more);
        taken.is_ok()
    }

    fn free(&self) {
        self.live.fetch_sub(1, Ordering::SeqCst);
    }

    fn turns(&self) -> MutexGuard<'_, VecDeque<Turn>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an app behind the others that wait, if it does not wait already.
    fn join(&self, app: &Arc<App>) {
        let mut turns = self.turns();
        if turns.iter().any(|turn| Arc::ptr_eq(&turn.app, app)) {
            return;
        }
        turns.push_back(Turn {
            app: app.clone(),
            since: Instant::now(),
        });
        self.hungry.fetch_add(1, Ordering::SeqCst);
    }

    fn pop(&self, wanted: impl Fn(&Turn) -> bool) -> Option<Turn> {
        let mut turns = self.turns();
        let index = turns.iter().position(wanted)?;
        self.hungry.fetch_sub(1, Ordering::SeqCst);
        turns.remove(index)
    }
}

impl Shared {
    /// Takes a place for one more dyno of an app that has `held`; on a full node, that of an idle one.
    pub(super) fn take_place(&self, held: usize) -> bool {
        self.places.take(self.limits.dynos) || {
            self.end_an_idle_one(held) && self.places.take(self.limits.dynos)
        }
    }

    /// Ends an idle dyno of the app that has most, if it has more than `held` or does not use it.
    fn end_an_idle_one(&self, held: usize) -> bool {
        let idle = self.all_apps().into_iter().filter_map(|app| {
            let (since, live) = app.longest_idle()?;
            (live > held || since.elapsed() > UNUSED).then_some((live, since.elapsed(), app))
        });
        match idle.max_by_key(|(live, idle, _)| (*live, *idle)) {
            Some((.., app)) => {
                app.retire_one_idle();
                true
            }
            None => false,
        }
    }

    /// Lets an app wait for its turn.
    pub(super) fn wait_for_turn(&self, app: &Arc<App>) {
        self.places.join(app);
        // A place may have come back before this app was there to get it.
        self.serve_turns();
    }

    /// Gives a place back: to `heir` if it has use for it, else to whoever waits longest.
    pub(super) fn give_place(&self, heir: Option<Arc<App>>) {
        match heir {
            Some(heir) => self.grant_to(&heir),
            None => self.places.free(),
        }
        self.serve_turns();
    }

    /// Gives free places to those who wait, in turn.
    fn serve_turns(&self) {
        while self.somebody_waits() && self.places.take(self.limits.dynos) {
            match self.places.pop(|_| true) {
                Some(turn) => self.grant_to(&turn.app),
                None => return self.places.free(),
            }
        }
    }

    /// Gives a place that is taken to an app. If it wants more, it waits for its next turn.
    fn grant_to(&self, app: &Arc<App>) {
        if !app.grant() {
            self.places.free();
        }
        if app.wanted().is_some() {
            self.places.join(app);
        }
    }

    /// Whether an app waits for a place.
    pub(super) fn somebody_waits(&self) -> bool {
        self.places.hungry.load(Ordering::SeqCst) > 0
    }

    /// Makes room for those who wait, of dynos that nobody uses. To be called now and then.
    pub(super) fn serve_hungry(&self) {
        while self.somebody_waits() && self.end_an_idle_one(usize::MAX) {}
    }

    /// Who should have the place of a dyno that `app` could use again or, if it is not `needed`, let wait. No longer in
    /// the queue then: the place is theirs. Not to be called with an app's state locked.
    pub(super) fn heir(&self, app: &Arc<App>, held: usize, needed: Needed) -> Option<Arc<App>> {
        let fewer = match needed {
            Needed::Yes => 2,
            Needed::No => 1,
        };
        let turn = self.places.pop(|turn| {
            let theirs = turn.app.live();
            !Arc::ptr_eq(&turn.app, app)
                && (theirs + fewer <= held || (theirs == 0 && turn.since.elapsed() > TURN))
        });
        turn.map(|turn| turn.app)
    }
}

/// Whether an app has requests waiting for a dyno that it could give up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needed {
    Yes,
    No,
}
