//! One app's formation: its dynos, and the queue of requests that wait for one.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use corundum_abi::names::{AppName, DynoName, ProcessType, ReleaseVersion};
use tokio::sync::oneshot;

use super::breaker::{Breaker, Crash};
use super::dispatch::DispatchError;
use super::lease::Lease;
use super::places::Needed;
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
    /// Whether requests are refused since its dynos only crash.
    pub circuit_open: bool,
    /// Bytes of its dynos' memory, the image included in each, when each was last idle.
    pub memory: usize,
}

/// What a request that asks for a dyno gets.
pub(super) enum Acquire {
    /// A dyno, or the right to start one.
    Lease(Lease),
    /// A place in the queue.
    Wait(oneshot::Receiver<Granted>),
    /// The reason why not.
    Refused(DispatchError),
}

/// What a request that waits for a dyno gets in the end.
pub(super) type Granted = Result<Lease, DispatchError>;

/// An app of the grid.
pub(super) struct App {
    name: AppName,
    shared: Arc<Shared>,
    state: Mutex<State>,
    /// One-off dynos that run.
    pub(super) runs: AtomicU32,
    /// Whether a dyno has crashed since the last one that answered: most requests need not ask the breaker.
    troubled: AtomicBool,
}

struct State {
    release: Option<Arc<Release>>,
    /// Whether there is to be a release soon.
    expected: bool,
    breaker: Breaker,
    formation: u32,
    generation: u64,
    /// Waiting dynos, the last used last: it is the first to be used again, so that the others fall out of use.
    idle: VecDeque<Idle>,
    /// All dynos by number.
    live: BTreeMap<u32, Live>,
    waiting: VecDeque<oneshot::Sender<Granted>>,
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
            expected: false,
            breaker: Breaker::default(),
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
            troubled: AtomicBool::new(false),
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

    pub(super) fn expect_release(&self) {
        let mut state = self.state();
        state.expected = state.release.is_none();
    }

    pub(super) fn deploy(self: &Arc<Self>, release: Option<Arc<Release>>) {
        let (old, waiting) = {
            let mut state = self.state();
            let expected = std::mem::take(&mut state.expected);
            state.release = release;
            state.breaker = Breaker::default();
            self.troubled.store(false, Ordering::Relaxed);
            let waiting = match state.release {
                Some(_) => VecDeque::new(),
                None => std::mem::take(&mut state.waiting),
            };
            (std::mem::take(&mut state.idle), (waiting, expected))
        };
        let (waiting, expected) = waiting;
        let reason = match expected {
            true => DispatchError::Crashed("its image cannot be loaded".to_owned()),
            false => DispatchError::Blank,
        };
        for waiter in waiting {
            let _ = waiter.send(Err(reason.clone()));
        }
        self.retire_all(old);
        self.serve_waiting();
    }

    pub(super) fn restart(self: &Arc<Self>) {
        let old = {
            let mut state = self.state();
            state.generation += 1;
            state.breaker = Breaker::default();
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
            return match state.expected {
                true => self.queue(&mut state),
                false => Acquire::Refused(DispatchError::Blank),
            };
        };
        if state.formation == 0 {
            return Acquire::Refused(DispatchError::NoProcesses);
        }
        if state.breaker.is_open()
            && let Err(left) = state.breaker.ask(Instant::now())
        {
            return Acquire::Refused(DispatchError::Crashing(left));
        }
        let room = state.live.len() < state.formation as usize;
        // Whoever came first is served first.
        if state.waiting.is_empty() {
            if let Some(idle) = state.idle.pop_back() {
                return Acquire::Lease(self.lease(idle));
            }
            if room {
                // The lock is not held while the node looks for a place among the apps.
                let held = state.live.len();
                drop(state);
                if self.shared.take_place(held) {
                    return Acquire::Lease(self.new_lease(release));
                }
                state = self.state();
            }
        }
        let queued = self.queue(&mut state);
        drop(state);
        if room {
            self.shared.wait_for_turn(self);
        }
        queued
    }

    fn queue(&self, state: &mut State) -> Acquire {
        state.waiting.retain(|waiter| !waiter.is_closed());
        if state.waiting.len() >= self.shared.limits.backlog {
            return Acquire::Refused(DispatchError::Backlog);
        }
        let (sender, receiver) = oneshot::channel();
        state.waiting.push_back(sender);
        Acquire::Wait(receiver)
    }

    /// Takes a dyno back after its request.
    pub(super) fn returned(self: Arc<Self>, mut lease: Lease) {
        let due = lease.due(&self.shared.limits);
        if let Some(due) = due {
            tracing::debug!(app = %self.name, dyno = %lease.name(), reason = due.as_str(), "replacing a dyno");
            lease.retire();
            return;
        }
        if self.shared.somebody_waits()
            && let Some(heir) = self.heir()
        {
            lease.heir = Some(heir);
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
        while let Some(waiter) = state.waiting.pop_front() {
            match waiter.send(Ok(lease)) {
                Ok(()) | Err(Err(_)) => return,
                Err(Ok(back)) => lease = back,
            }
        }
        self.rest(state, lease);
    }

    /// The app that should have the place of a dyno of this one.
    fn heir(self: &Arc<Self>) -> Option<Arc<Self>> {
        let (held, idle) = {
            let state = self.state();
            (state.live.len(), state.waiting.is_empty())
        };
        let needed = if idle { Needed::No } else { Needed::Yes };
        self.shared.heir(self, held, needed)
    }

    /// Lets a dyno wait for a request.
    fn rest(&self, mut state: MutexGuard<'_, State>, lease: Lease) {
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

    /// Notes a dyno's end, and lets the next in the queue start one. Its place goes to `heir`, if it has one.
    pub(super) fn ended(self: Arc<Self>, number: u32, heir: Option<Arc<Self>>) {
        self.state().live.remove(&number);
        self.shared.give_place(heir);
        self.serve_waiting();
    }

    /// Notes that a dyno has answered.
    pub(super) fn succeeded(&self, dyno: &DynoName) {
        if !self.troubled.load(Ordering::Relaxed) {
            return;
        }
        self.troubled.store(false, Ordering::Relaxed);
        if self.state().breaker.succeeded() {
            let line = "Circuit closed -> a dyno has answered: requests are served again";
            self.shared.log.platform_line(&self.name, dyno, line);
        }
    }

    /// Notes that a dyno has ended without an answer. If the circuit opens with it, nobody waits for another.
    pub(super) fn crashed(&self, dyno: &DynoName, crash: Crash) {
        let (pause, waiting) = {
            let mut state = self.state();
            let pause = state.breaker.crashed(crash, Instant::now());
            self.troubled
                .store(state.breaker.is_troubled(), Ordering::Relaxed);
            let Some(pause) = pause else { return };
            (pause, std::mem::take(&mut state.waiting))
        };
        let line = format!(
            "Circuit opened -> dynos do nothing but crash: requests get H10 at once, and the next attempt is in {:.1} s",
            pause.as_secs_f64()
        );
        self.shared.log.platform_line(&self.name, dyno, &line);
        for waiter in waiting {
            let _ = waiter.send(Err(DispatchError::Crashing(pause)));
        }
    }

    /// The release of a dyno that may be started for a request that waits, if there is one.
    pub(super) fn wanted(&self) -> Option<(Arc<Release>, usize)> {
        let mut state = self.state();
        state.waiting.retain(|waiter| !waiter.is_closed());
        let held = state.live.len();
        let room = held < state.formation as usize;
        let release = state.release.clone()?;
        (room && !state.waiting.is_empty()).then_some((release, held))
    }

    /// Lets waiting requests start dynos, as many as the formation and the node have places for.
    fn serve_waiting(self: &Arc<Self>) {
        while let Some((_, held)) = self.wanted() {
            if !self.shared.take_place(held) {
                self.shared.wait_for_turn(self);
                return;
            }
            if !self.grant() {
                self.shared.give_place(None);
                return;
            }
        }
    }

    /// Gives the first of those that wait the right to start a dyno, whose place is taken; whether one waits.
    pub(super) fn grant(self: &Arc<Self>) -> bool {
        let Some((release, _)) = self.wanted() else {
            return false;
        };
        let lease = self.new_lease(release);
        let waiter = self.state().waiting.pop_front();
        match waiter {
            // A waiter that has just left drops the lease, which comes back through its end.
            Some(waiter) => drop(waiter.send(Ok(lease))),
            None => lease.retire(),
        }
        true
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

    /// Since when its longest idle dyno has been idle, and how many dynos it has.
    pub(super) fn longest_idle(&self) -> Option<(Instant, usize)> {
        let state = self.state();
        Some((state.idle.front()?.since, state.live.len()))
    }

    /// How many dynos it has.
    pub(super) fn live(&self) -> usize {
        self.state().live.len()
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
            circuit_open: state.breaker.is_open(),
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
