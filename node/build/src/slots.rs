//! Slots of builds: as many run at once as the node has memory for. Others wait in the order of their arrival, those that
//! nobody waits for behind all others.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use corundum_abi::names::AppName;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// Builds that may wait. Each is a pusher's connection and some processes of git.
const MAX_WAITING: usize = 64;

/// Time that a build waits for its slot: that of two builds at their own limit.
const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// The parties that a build delays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum BuildUrgency {
    /// A pusher or a client waits for the build, or visitors do.
    Awaited,
    /// The app serves meanwhile, and nobody has asked for the build.
    Background,
}

/// A build that got no slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoBuildSlot {
    /// Too many builds wait.
    #[error("{MAX_WAITING} builds are waiting already; try again when some of them have ended")]
    Full,
    /// Other builds took too long.
    #[error(
        "the build could not start within {} minutes, because of other builds; try again later",
        PATIENCE.as_secs() / 60
    )]
    Late,
}

/// The slots of a node.
#[derive(Debug)]
pub struct BuildSlots {
    count: usize,
    queue: watch::Sender<BuildQueue>,
}

#[derive(Debug, Default)]
struct BuildQueue {
    /// Number of the next build.
    next: u64,
    running: usize,
    waiting: VecDeque<WaitingBuild>,
}

#[derive(Debug)]
struct WaitingBuild {
    number: u64,
    app: AppName,
    urgency: BuildUrgency,
}

impl BuildSlots {
    /// Creates the slots for builds that take up to `one` bytes of memory each and `all` together. There is one at least.
    pub fn new(all: u64, one: u64) -> Arc<Self> {
        let count = all.checked_div(one).unwrap_or(1).max(1);
        Arc::new(Self {
            count: usize::try_from(count).unwrap_or(usize::MAX),
            queue: watch::Sender::default(),
        })
    }

    /// Waits for a slot. `on_wait` gets the number of builds before this one whenever it changes.
    ///
    /// Dropping the future leaves the queue.
    ///
    /// # Errors
    ///
    /// [`NoBuildSlot`].
    pub async fn acquire(
        self: &Arc<Self>,
        app: &AppName,
        urgency: BuildUrgency,
        mut on_wait: impl FnMut(usize),
    ) -> Result<BuildSlot, NoBuildSlot> {
        let mut changes = self.queue.subscribe();
        let ticket = self.enter(app, urgency)?;
        let start = async {
            let mut shown = 0;
            loop {
                let before = changes.borrow_and_update().before(ticket.number);
                if self.try_start(ticket.number) {
                    return;
                }
                if before != shown {
                    on_wait(before);
                    shown = before;
                }
                // The sender lives as long as this value.
                let _ = changes.changed().await;
            }
        };
        match urgency {
            BuildUrgency::Background => start.await,
            BuildUrgency::Awaited => tokio::time::timeout(PATIENCE, start)
                .await
                .map_err(|_| NoBuildSlot::Late)?,
        }
        Ok(BuildSlot {
            slots: self.clone(),
            urgency,
        })
    }

    /// Returns how many builds run or wait before that of an app, if that one waits.
    pub fn builds_before(&self, app: &AppName) -> Option<usize> {
        let queue = self.queue.borrow();
        let waiting = queue.waiting.iter().find(|build| build.app == *app)?;
        Some(queue.before(waiting.number))
    }

    fn enter(&self, app: &AppName, urgency: BuildUrgency) -> Result<Ticket<'_>, NoBuildSlot> {
        let mut entered = Err(NoBuildSlot::Full);
        self.queue.send_if_modified(|queue| {
            if queue.waiting.len() >= MAX_WAITING {
                return false;
            }
            let number = queue.next;
            queue.next += 1;
            let later = queue
                .waiting
                .iter()
                .position(|build| build.urgency > urgency);
            let build = WaitingBuild {
                number,
                app: app.clone(),
                urgency,
            };
            queue
                .waiting
                .insert(later.unwrap_or(queue.waiting.len()), build);
            entered = Ok(number);
            true
        });
        entered.map(|number| Ticket {
            slots: self,
            number,
        })
    }

    /// Starts the build if it is the next one and a slot is free.
    fn try_start(&self, number: u64) -> bool {
        self.queue.send_if_modified(|queue| {
            let is_next = queue
                .waiting
                .front()
                .is_some_and(|next| next.number == number);
            let starts = is_next && queue.running < self.count;
            if starts {
                queue.waiting.pop_front();
                queue.running += 1;
            }
            starts
        })
    }
}

impl BuildQueue {
    /// Returns how many builds run or wait before a waiting one.
    fn before(&self, number: u64) -> usize {
        let waiting = self.waiting.iter();
        self.running + waiting.take_while(|build| build.number != number).count()
    }
}

/// The slot of a running build, until it is dropped.
#[derive(Debug)]
pub struct BuildSlot {
    slots: Arc<BuildSlots>,
    urgency: BuildUrgency,
}

impl BuildSlot {
    /// Returns the parties that the build delays.
    pub fn urgency(&self) -> BuildUrgency {
        self.urgency
    }
}

impl Drop for BuildSlot {
    fn drop(&mut self) {
        self.slots.queue.send_modify(|queue| queue.running -= 1);
    }
}

/// A place in the queue, until it is dropped. A build that runs has left the queue already.
struct Ticket<'a> {
    slots: &'a BuildSlots,
    number: u64,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.slots.queue.send_if_modified(|queue| {
            let length = queue.waiting.len();
            queue.waiting.retain(|build| build.number != self.number);
            queue.waiting.len() < length
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::task::JoinHandle;

    use super::*;

    fn app(name: &str) -> AppName {
        name.parse().unwrap()
    }

    /// Starts a build that notes its name when it has a slot.
    fn start(
        slots: &Arc<BuildSlots>,
        name: &str,
        urgency: BuildUrgency,
        started: &Arc<Mutex<Vec<String>>>,
    ) -> JoinHandle<BuildSlot> {
        let (slots, app, started) = (slots.clone(), app(name), started.clone());
        tokio::spawn(async move {
            let slot = slots.acquire(&app, urgency, |_| {}).await.unwrap();
            started.lock().unwrap().push(app.to_string());
            slot
        })
    }

    async fn settle() {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn memory_decides_the_number_of_slots() {
        const GB: u64 = 1 << 30;
        for (all, one, count) in [(6 * GB, 3 * GB, 2), (GB, 3 * GB, 1), (0, GB, 1), (GB, 0, 1)] {
            assert_eq!(BuildSlots::new(all, one).count, count);
        }
    }

    #[tokio::test]
    async fn builds_start_in_order_and_background_builds_last() {
        let slots = BuildSlots::new(1, 1);
        let started = Arc::new(Mutex::new(Vec::new()));
        let first = app("first");
        let first = slots.acquire(&first, BuildUrgency::Awaited, |_| {});
        let mut running = first.await.unwrap();
        let mut builds = Vec::new();
        for (name, urgency) in [
            ("calm-a", BuildUrgency::Background),
            ("push-a", BuildUrgency::Awaited),
            ("calm-b", BuildUrgency::Background),
            ("push-b", BuildUrgency::Awaited),
        ] {
            builds.push((name, start(&slots, name, urgency, &started)));
            settle().await;
        }
        assert!(started.lock().unwrap().is_empty());
        for (name, before) in [("push-a", 1), ("push-b", 2), ("calm-a", 3), ("calm-b", 4)] {
            assert_eq!(slots.builds_before(&app(name)), Some(before), "{name}");
        }
        for name in ["push-a", "push-b", "calm-a", "calm-b"] {
            drop(running);
            let at = builds.iter().position(|(one, _)| *one == name).unwrap();
            running = builds.remove(at).1.await.unwrap();
            assert_eq!(started.lock().unwrap().last().unwrap(), name);
            assert_eq!(slots.builds_before(&app(name)), None);
        }
    }

    #[tokio::test]
    async fn waiting_build_learns_its_place_and_may_leave() {
        let slots = BuildSlots::new(2, 1);
        let of = |name: &str| {
            let (slots, app) = (slots.clone(), app(name));
            async move { slots.acquire(&app, BuildUrgency::Awaited, |_| {}).await }
        };
        let (one, two) = (of("one-app").await.unwrap(), of("two-app").await.unwrap());
        let leaving = tokio::spawn(of("three-app"));
        settle().await;
        let places = Arc::new(Mutex::new(Vec::new()));
        let last = tokio::spawn({
            let (slots, places) = (slots.clone(), places.clone());
            async move {
                let note = |before| places.lock().unwrap().push(before);
                let app = app("last-app");
                slots
                    .acquire(&app, BuildUrgency::Awaited, note)
                    .await
                    .unwrap()
            }
        });
        settle().await;
        leaving.abort();
        settle().await;
        assert_eq!(*places.lock().unwrap(), [3, 2]);
        drop(one);
        let last = last.await.unwrap();
        assert_eq!(slots.queue.borrow().running, 2);
        drop((two, last));
        let queue = slots.queue.borrow();
        assert!(queue.running == 0 && queue.waiting.is_empty());
    }

    #[tokio::test]
    async fn queue_is_bounded() {
        let slots = BuildSlots::new(1, 1);
        let started = Arc::new(Mutex::new(Vec::new()));
        let names = (0..=MAX_WAITING).map(|index| format!("app-{index}"));
        let builds: Vec<_> = names
            .map(|name| start(&slots, &name, BuildUrgency::Awaited, &started))
            .collect();
        settle().await;
        let refused = slots
            .acquire(&app("late"), BuildUrgency::Awaited, |_| {})
            .await;
        assert_eq!(refused.unwrap_err(), NoBuildSlot::Full);
        builds.iter().for_each(JoinHandle::abort);
        drop(builds);
        settle().await;
        let free = slots
            .acquire(&app("late"), BuildUrgency::Awaited, |_| {})
            .await;
        assert!(free.is_ok());
    }
}
