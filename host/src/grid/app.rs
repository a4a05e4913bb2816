//! One app's formation: its dynos, and the queue of requests that wait for one.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use corundum_sdk::names::{AppName, DynoName, ProcessType, ReleaseVersion};
use tokio::sync::oneshot;

use super::lease::Lease;
use super::{Release, Shared};
use crate::dyno::Dyno;

/// What a dyno is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DynoState {
    /// It serves a request, or is being started for one.
    Busy,
    /// It waits for a request.
    Idle,
}

impl DynoState {
    /// The word that `ps` shows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Idle => "idle",
        }
    }
}

/// One dyno as `ps` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DynoStatus {
    /// Its name.
    pub name: DynoName,
    /// What it does.
    pub state: DynoState,
    /// Its release.
    pub release: ReleaseVersion,
    /// How long it has lived.
    pub age: Duration,
    /// Requests it had served when it was last idle.
    pub served: u32,
    /// Bytes of its memory, the image included, when it was last idle.
    pub memory: usize,
}

/// An app's formation at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppStatus {
    /// The app.
    pub name: AppName,
    /// Web dynos that it may have.
    pub formation: u32,
    /// Dynos that serve or start.
    pub busy: u32,
    /// Dynos that wait for a request.
    pub idle: u32,
    /// Requests that wait for a dyno.
    pub waiting: usize,
    /// Bytes of its dynos' memory, the image included in each, when each was last idle.
    pub memory: usize,
}

/// What a request that asks for a dyno gets.
pub(super) enum Acquire {
    /// A dyno, or the right to start one.
    Lease(Lease),
    /// A place in the queue.
    Wait(oneshot::Receiver<Lease>),
    /// The node is full.
    NodeFull,
    /// The queue is full.
    Backlog,
    /// There is no release.
    Blank,
    /// The formation is scaled to none.
    NoProcesses,
}

/// An app of the grid.
pub(super) struct App {
    name: AppName,
    shared: Arc<Shared>,
    state: Mutex<State>,
    /// One-off dynos that run.
    pub(super) runs: AtomicU32,
}

struct State {
    release: Option<Arc<Release>>,
    formation: u32,
    generation: u64,
    /// Waiting dynos, the last used last: it is the first to be used again, so that the others fall out of use.
    idle: VecDeque<Idle>,
    /// All dynos by number.
    live: BTreeMap<u32, Live>,
    waiting: VecDeque<oneshot::Sender<Lease>>,
}

struct Idle {
    dyno: Box<Dyno>,
    release: Arc<Release>,
    number: u32,
    generation: u64,
    served: u32,
    started: Instant,
    since: Instant,
}

/// What is known of a dyno while a request has it.
struct Live {
    release: ReleaseVersion,
    started: Instant,
    served: u32,
    memory: usize,
}

/// An app may have this many dynos until it is scaled.
const DEFAULT_FORMATION: u32 = 16;

impl App {
    pub(super) fn new(name: AppName, shared: Arc<Shared>) -> Self {
        let state = State {
            release: None,
            formation: DEFAULT_FORMATION,
            generation: 0,
            idle: VecDeque::new(),
            live: BTreeMap::new(),
            waiting: VecDeque::new(),
        };
        Self {
            name,
            shared,
            state: Mutex::new(state),
            runs: AtomicU32::new(0),
        }
    }

    pub(super) fn name(&self) -> &AppName {
        &self.name
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn release(&self) -> Option<Arc<Release>> {
        self.state().release.clone()
    }

    pub(super) fn deploy(self: &Arc<Self>, release: Option<Arc<Release>>) {
        let (old, waiting) = {
            let mut state = self.state();
            state.release = release;
            let waiting = match state.release {
                Some(_) => VecDeque::new(),
                None => std::mem::take(&mut state.waiting),
            };
            (std::mem::take(&mut state.idle), waiting)
        };
        drop(waiting);
        self.retire_all(old);
    }

    pub(super) fn restart(self: &Arc<Self>) {
        let old = {
            let mut state = self.state();
            state.generation += 1;
            std::mem::take(&mut state.idle)
        };
        self.retire_all(old);
    }

    pub(super) fn set_formation(self: &Arc<Self>, formation: u32) {
        let excess = {
            let mut state = self.state();
            state.formation = formation;
            let excess = state.live.len().saturating_sub(formation as usize);
            let excess = excess.min(state.idle.len());
            state.idle.drain(..excess).collect()
        };
        self.retire_all(excess);
        self.serve_waiting();
    }

    /// Gives a request a dyno, a place in the queue, or the reason why not.
    pub(super) fn acquire(self: &Arc<Self>) -> Acquire {
        let mut state = self.state();
        let Some(release) = state.release.clone() else {
            return Acquire::Blank;
        };
        if state.formation == 0 {
            return Acquire::NoProcesses;
        }
        // Whoever came first is served first.
        if state.waiting.is_empty() {
            if let Some(idle) = state.idle.pop_back() {
                return Acquire::Lease(self.lease(idle));
            }
            if state.live.len() < state.formation as usize {
                // The lock is not held while the node looks for a place among the apps.
                drop(state);
                if !self.shared.take_place() {
                    return Acquire::NodeFull;
                }
                return Acquire::Lease(self.new_lease(release));
            }
        }
        state.waiting.retain(|waiter| !waiter.is_closed());
        if state.waiting.len() >= self.shared.limits.backlog {
            return Acquire::Backlog;
        }
        let (sender, receiver) = oneshot::channel();
        state.waiting.push_back(sender);
        Acquire::Wait(receiver)
    }

    /// Takes a dyno back after its request.
    pub(super) fn returned(self: Arc<Self>, lease: Lease) {
        let due = lease.due(&self.shared.limits);
        if let Some(due) = due {
            tracing::debug!(app = %self.name, dyno = %lease.name(), reason = due.as_str(), "replacing a dyno");
            lease.retire();
            return;
        }
        let mut state = self.state();
        let current = state.release.as_ref().is_some_and(|release| {
            Arc::ptr_eq(release, &lease.release) && lease.generation == state.generation
        });
        if !current || state.live.len() > state.formation as usize {
            drop(state);
            lease.retire();
            return;
        }
        let mut lease = lease;
        while let Some(waiter) = state.waiting.pop_front() {
            match waiter.send(lease) {
                Ok(()) => return,
                Err(back) => lease = back,
            }
        }
        let (number, generation) = (lease.number, lease.generation);
        let (served, started) = (lease.served, lease.started);
        let release = lease.release.clone();
        let Some(dyno) = lease.into_idle() else {
            return;
        };
        if let Some(live) = state.live.get_mut(&number) {
            live.served = served;
            live.memory = dyno.memory_bytes();
        }
        let since = Instant::now();
        state.idle.push_back(Idle {
            dyno,
            release,
            number,
            generation,
            served,
            started,
            since,
        });
    }

    /// Notes a dyno's end and lets the next in the queue start one.
    pub(super) fn ended(self: Arc<Self>, number: u32) {
        self.state().live.remove(&number);
        self.shared.give_place();
        self.serve_waiting();
    }

    /// Lets waiting requests start dynos, as many as the formation and the node have places for.
    fn serve_waiting(self: &Arc<Self>) {
        loop {
            let release = {
                let mut state = self.state();
                state.waiting.retain(|waiter| !waiter.is_closed());
                let room = state.live.len() < state.formation as usize;
                match &state.release {
                    Some(release) if room && !state.waiting.is_empty() => release.clone(),
                    _ => return,
                }
            };
            if !self.shared.take_place() {
                return;
            }
            let lease = self.new_lease(release);
            let waiter = self.state().waiting.pop_front();
            let Some(waiter) = waiter else {
                lease.retire();
                return;
            };
            // A waiter that has just left drops the lease, which comes back here through its end.
            drop(waiter.send(lease));
        }
    }

    fn new_lease(self: &Arc<Self>, release: Arc<Release>) -> Lease {
        let mut state = self.state();
        let number = (1..)
            .find(|number| !state.live.contains_key(number))
            .unwrap_or(u32::MAX);
        let live = Live {
            release: release.version,
            started: Instant::now(),
            served: 0,
            memory: 0,
        };
        state.live.insert(number, live);
        Lease::new(self.clone(), release, number, state.generation)
    }

    fn lease(self: &Arc<Self>, idle: Idle) -> Lease {
        let Idle {
            dyno,
            release,
            number,
            generation,
            served,
            started,
            ..
        } = idle;
        Lease::from_idle(
            self.clone(),
            release,
            number,
            generation,
            dyno,
            (served, started),
        )
    }

    fn retire_all(self: &Arc<Self>, idle: VecDeque<Idle>) {
        for idle in idle {
            self.lease(idle).retire();
        }
    }

    /// Since when its longest idle dyno has been idle.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        self.state().idle.front().map(|idle| idle.since)
    }

    /// Ends the dyno that has been idle longest.
    pub(super) fn retire_one_idle(self: &Arc<Self>) {
        let idle = self.state().idle.pop_front();
        if let Some(idle) = idle {
            // Its slot must be free when this returns: another dyno is to take it.
            drop(self.lease(idle));
        }
    }

    /// Ends dynos that have been idle for longer than `most`.
    pub(super) fn retire_idle(self: &Arc<Self>, most: Duration) {
        let old = {
            let mut state = self.state();
            let count = state
                .idle
                .iter()
                .take_while(|idle| idle.since.elapsed() > most)
                .count();
            state.idle.drain(..count).collect()
        };
        self.retire_all(old);
    }

    pub(super) fn status(&self) -> AppStatus {
        let state = self.state();
        let (live, idle) = (state.live.len(), state.idle.len());
        let waiting = state.waiting.iter().filter(|waiter| !waiter.is_closed());
        AppStatus {
            name: self.name.clone(),
            formation: state.formation,
            busy: u32::try_from(live.saturating_sub(idle)).unwrap_or(u32::MAX),
            idle: u32::try_from(idle).unwrap_or(u32::MAX),
            waiting: waiting.count(),
            memory: state.live.values().map(|live| live.memory).sum(),
        }
    }

    pub(super) fn dynos(&self) -> Vec<DynoStatus> {
        let state = self.state();
        let status = |(number, live): (&u32, &Live)| DynoStatus {
            name: DynoName {
                process: ProcessType::web(),
                number: *number,
            },
            state: match state.idle.iter().any(|idle| idle.number == *number) {
                true => DynoState::Idle,
                false => DynoState::Busy,
            },
            release: live.release,
            age: live.started.elapsed(),
            served: live.served,
            memory: live.memory,
        };
        state.live.iter().map(status).collect()
    }
}
