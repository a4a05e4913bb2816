//! One app's formation: its dynos, and the queue of requests that wait for one.

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use corundum_abi::names::{AppName, DynoName, ProcessType, ReleaseVersion};
use corundum_abi::scgi::RequestHead;
use corundum_exchange::ConnectionLink;
use tokio::sync::{Notify, oneshot};

use super::admission::{Demand, DynoSlot, SlotAdmission, Tenant};
use super::background::BackgroundTimer;
use super::breaker::Breaker;
use super::commands::CommandDynos;
use super::context::GridContext;
use super::crashing_routes::{CrashingRoutes, Route, RouteLabel};
use super::error::DispatchError;
use super::lease::{DynoFacts, Lease};
use super::release::GridRelease;
use super::slow_requests::SlowRequests;
use super::status::{AppStatus, DynoState, DynoStatus};
use crate::dyno::Dyno;
use crate::memory::MemoryLimits;
use crate::reserve::AppShare;

/// Time after a release could not be loaded until a request tries again. Loading may mean booting the app.
const LOAD_RETRY: Duration = Duration::from_secs(5);
/// Maximum number of dynos of an app that has not been scaled.
const DEFAULT_FORMATION: u32 = 16;
/// Dynos in a row that do not start before the grid stops starting them.
const FAILED_STARTS: u32 = 5;
/// Crashes since the last successes after which an app's dynos start and run at low priority.
const MANY_CRASHES: u32 = 3;

/// Answer to a request that asks for a dyno.
pub(super) enum Acquisition {
    /// A dyno, or the right to start one.
    Lease(Lease),
    /// A place in the queue.
    Wait(oneshot::Receiver<Grant>),
    /// The request cannot be served now.
    Refused(DispatchError),
}

/// Result of waiting in the queue.
pub(super) type Grant = Result<Lease, DispatchError>;

type Waiting = VecDeque<oneshot::Sender<Grant>>;

/// An app of the grid.
pub(super) struct GridApp {
    name: AppName,
    context: Arc<GridContext>,
    admission: Arc<SlotAdmission<GridApp>>,
    share: Arc<AppShare>,
    formation: Mutex<FormationState>,
    /// Commands in dynos of their own.
    pub(super) commands: CommandDynos,
    /// True if a request has crashed a dyno and its route is not forgotten. Otherwise requests skip the look-up.
    has_crashed: AtomicBool,
    /// True if most requests compute for long.
    pub(super) slow_requests: SlowRequests,
    /// True if dynos crash so often that their starts would take the processor from other apps.
    crashes_often: AtomicBool,
    /// True if a request has come since the node looked last.
    is_used: AtomicBool,
    /// Quota of a web dyno's memory in bytes; 0 for the engine's.
    web_memory: AtomicUsize,
    /// Notified when a release has been loaded, or cannot be.
    loaded: Notify,
}

struct FormationState {
    release: Option<Arc<GridRelease>>,
    /// The way to a release while there is none.
    loading: ReleaseLoading,
    /// The circuit of starts.
    breaker: Breaker,
    routes: CrashingRoutes,
    /// Maximum number of dynos.
    size: u32,
    /// Number of restarts.
    generation: u64,
    /// Idle dynos, the last used one at the end. That one is used first, so that the others can go unused and end.
    idle: VecDeque<IdleDyno>,
    /// All dynos by number.
    live: BTreeMap<u32, LiveDyno>,
    /// Dynos that have taken over a connection.
    connected: usize,
    waiting: Waiting,
}

/// The way from the store to the grid, for an app without a loaded release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReleaseLoading {
    /// The app has no release.
    Blank,
    /// The app has a release, which its next request needs.
    Asleep,
    /// The release is being loaded.
    Wanted,
    /// The release could not be loaded at this time.
    Failed(Instant),
}

struct IdleDyno {
    dyno: Box<Dyno>,
    facts: DynoFacts,
    slot: DynoSlot,
    since: Instant,
}

/// Facts about a dyno that its app knows while a request uses it.
struct LiveDyno {
    release: ReleaseVersion,
    /// Number of restarts that the app had seen when the dyno was started.
    generation: u64,
    started: Instant,
    /// False while the dyno is being started.
    is_ready: bool,
    served: u32,
    memory: usize,
    linear_memory: usize,
    /// The timer of its threads, if they want to run before the next request.
    timer: Option<BackgroundTimer>,
    /// The client's connection that the dyno has taken over. It does not count as a dyno of the formation then.
    connection: Option<Arc<ConnectionLink>>,
}

impl FormationState {
    /// Returns whether a dyno may be started now.
    fn may_start(&self, now: Instant) -> bool {
        self.serving() < self.size as usize && self.breaker.pause(now).is_zero()
    }

    /// Returns the number of dynos of the formation: those that may serve requests, or will.
    fn serving(&self) -> usize {
        self.live.len().saturating_sub(self.connected)
    }

    /// Asks the clients of taken connections to connect again, which leads them to other dynos.
    fn retire_connections(&self) {
        let connections = self
            .live
            .values()
            .filter_map(|dyno| dyno.connection.as_ref());
        connections.for_each(|link| link.retire());
    }

    /// Returns the time for which nothing serves requests: no dyno is ready or being started, and none may be started.
    fn hopeless_pause(&self, now: Instant) -> Option<Duration> {
        let pause = self.breaker.pause(now);
        (!pause.is_zero() && !self.live.values().any(|live| live.is_ready)).then_some(pause)
    }

    /// Takes the waiting requests if nothing serves them for a time, which is returned.
    fn take_hopeless(&mut self, now: Instant) -> Option<(Waiting, Duration)> {
        let pause = self.hopeless_pause(now)?;
        Some((std::mem::take(&mut self.waiting), pause))
    }
}

impl GridApp {
    pub(super) fn new(
        name: AppName,
        context: Arc<GridContext>,
        admission: Arc<SlotAdmission<GridApp>>,
    ) -> Self {
        let formation = FormationState {
            release: None,
            loading: ReleaseLoading::Blank,
            breaker: Breaker::new(FAILED_STARTS),
            routes: CrashingRoutes::default(),
            size: DEFAULT_FORMATION,
            generation: 0,
            idle: VecDeque::new(),
            live: BTreeMap::new(),
            connected: 0,
            waiting: VecDeque::new(),
        };
        let share = AppShare::new(context.engine.reserve().clone());
        Self {
            name,
            context,
            admission,
            share,
            formation: Mutex::new(formation),
            commands: CommandDynos::default(),
            has_crashed: AtomicBool::new(false),
            slow_requests: SlowRequests::default(),
            crashes_often: AtomicBool::new(false),
            is_used: AtomicBool::new(false),
            web_memory: AtomicUsize::new(0),
            loaded: Notify::new(),
        }
    }

    pub(super) fn name(&self) -> &AppName {
        &self.name
    }

    pub(super) fn context(&self) -> &Arc<GridContext> {
        &self.context
    }

    /// Returns what the app's dynos hold of the node's reserve.
    pub(super) fn share(&self) -> &Arc<AppShare> {
        &self.share
    }

    pub(super) fn admission(&self) -> &SlotAdmission<GridApp> {
        &self.admission
    }

    fn formation(&self) -> MutexGuard<'_, FormationState> {
        self.formation
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn release(&self) -> Option<Arc<GridRelease>> {
        self.formation().release.clone()
    }

    /// Announces that the app has a release, which its first request loads.
    pub(super) fn expect_release(&self) {
        self.formation().loading = ReleaseLoading::Asleep;
    }

    /// Returns whether the app has a release that is not loaded.
    pub(super) fn expects_release(&self) -> bool {
        let formation = self.formation();
        formation.release.is_none() && formation.loading != ReleaseLoading::Blank
    }

    /// Returns whether a request has come since the last call.
    pub(super) fn take_used(&self) -> bool {
        self.is_used.load(Ordering::Relaxed) && self.is_used.swap(false, Ordering::Relaxed)
    }

    /// Unloads the release of an app without dynos and returns whether it did. The next request loads it again.
    pub(super) fn unload(&self) -> bool {
        let mut formation = self.formation();
        let is_in_use = !formation.live.is_empty()
            || !formation.waiting.is_empty()
            || !self.commands.is_empty();
        if is_in_use || formation.release.take().is_none() {
            return false;
        }
        formation.loading = ReleaseLoading::Asleep;
        true
    }

    /// Makes a release that was loaded the current one, unless the app has got another one meanwhile. Returns whether it
    /// is.
    pub(super) fn deploy_loaded(self: &Arc<Self>, release: Arc<GridRelease>) -> bool {
        {
            let mut formation = self.formation();
            if formation.release.is_some() || formation.loading == ReleaseLoading::Blank {
                return false;
            }
            formation.release = Some(release);
        }
        self.loaded.notify_waiters();
        self.start_for_waiting();
        true
    }

    /// Fails the requests that wait for the release, because it cannot be loaded. Requests try again after a while.
    pub(super) fn give_up(&self) {
        let waiting = {
            let mut formation = self.formation();
            if formation.release.is_some() || formation.loading == ReleaseLoading::Blank {
                return;
            }
            formation.loading = ReleaseLoading::Failed(Instant::now());
            std::mem::take(&mut formation.waiting)
        };
        for waiter in waiting {
            let _ = waiter.send(Err(not_loaded()));
        }
        self.loaded.notify_waiters();
    }

    /// Requests the release, unless a recent attempt to load it has failed. Returns whether it will be loaded.
    fn want_release(&self, formation: &mut FormationState) -> bool {
        match formation.loading {
            ReleaseLoading::Failed(at) if at.elapsed() < LOAD_RETRY => return false,
            ReleaseLoading::Failed(_) | ReleaseLoading::Asleep => {
                formation.loading = ReleaseLoading::Wanted;
                let _ = self.context.wanted.send(self.name.clone());
            }
            ReleaseLoading::Wanted => {}
            ReleaseLoading::Blank => return false,
        }
        true
    }

    /// Returns the current release, after loading it if it is not loaded.
    pub(super) async fn loaded_release(&self) -> Option<Arc<GridRelease>> {
        let mut loaded = pin!(self.loaded.notified());
        loaded.as_mut().enable();
        {
            let mut formation = self.formation();
            if formation.release.is_some() || !self.want_release(&mut formation) {
                return formation.release.clone();
            }
        }
        let _ = tokio::time::timeout(self.context.limits.queue, loaded).await;
        self.release()
    }

    /// Makes `release` the current one. `None` ends the app: requests in the queue fail.
    pub(super) fn deploy(self: &Arc<Self>, release: Option<Arc<GridRelease>>) {
        let (old, waiting) = {
            let mut formation = self.formation();
            formation.loading = match release {
                Some(_) => ReleaseLoading::Asleep,
                None => ReleaseLoading::Blank,
            };
            formation.release = release;
            formation.retire_connections();
            self.forget_crashes(&mut formation);
            let waiting = match formation.release {
                Some(_) => VecDeque::new(),
                None => std::mem::take(&mut formation.waiting),
            };
            (std::mem::take(&mut formation.idle), waiting)
        };
        for waiter in waiting {
            let _ = waiter.send(Err(DispatchError::Blank));
        }
        self.loaded.notify_waiters();
        self.retire_all(old, "new release");
        self.start_for_waiting();
    }

    /// Replaces the app's dynos, each when it becomes idle.
    pub(super) fn restart(self: &Arc<Self>) {
        let old = {
            let mut formation = self.formation();
            formation.generation += 1;
            formation.retire_connections();
            self.forget_crashes(&mut formation);
            std::mem::take(&mut formation.idle)
        };
        self.retire_all(old, "restart");
    }

    fn forget_crashes(&self, formation: &mut FormationState) {
        formation.breaker = Breaker::new(FAILED_STARTS);
        formation.routes = CrashingRoutes::default();
        self.update_crash_flags(formation);
    }

    fn update_crash_flags(&self, formation: &FormationState) {
        let crashes = formation.routes.crashes();
        let failures = crashes.saturating_add(formation.breaker.failures());
        self.has_crashed.store(crashes > 0, Ordering::Relaxed);
        self.crashes_often
            .store(failures >= MANY_CRASHES, Ordering::Relaxed);
    }

    /// Returns whether requests of the app have to look for crashes of their route.
    pub(super) fn has_crashed(&self) -> bool {
        self.has_crashed.load(Ordering::Relaxed)
    }

    /// Returns whether dynos crash so often that their starts would take the processor from other apps.
    pub(super) fn crashes_often(&self) -> bool {
        self.crashes_often.load(Ordering::Relaxed)
    }

    /// Sets the quota of the memory of web dynos that start from now on.
    pub(super) fn set_web_memory(&self, bytes: usize) {
        self.web_memory.store(bytes, Ordering::Relaxed);
    }

    /// Returns the limits of a web dyno's memory, if they are not the engine's.
    pub(super) fn web_memory(&self) -> Option<MemoryLimits> {
        let bytes = self.web_memory.load(Ordering::Relaxed);
        (bytes > 0).then(|| MemoryLimits::hard(bytes))
    }

    /// Sets the maximum number of dynos.
    pub(super) fn set_formation(self: &Arc<Self>, size: u32) {
        let excess = {
            let mut formation = self.formation();
            formation.size = size;
            let excess = formation.serving().saturating_sub(size as usize);
            if size == 0 {
                formation.retire_connections();
            }
            let excess = excess.min(formation.idle.len());
            formation.idle.drain(..excess).collect()
        };
        self.retire_all(excess, "scaled down");
        self.start_for_waiting();
    }

    /// Gives a request a dyno, a place in the queue, or a refusal. `route` is given if the app
    /// [has crashed](Self::has_crashed).
    ///
    /// Idle dynos serve even while the circuit of starts is open, because they did start.
    pub(super) fn acquire(self: &Arc<Self>, route: Option<Route>) -> Acquisition {
        if !self.is_used.load(Ordering::Relaxed) {
            self.is_used.store(true, Ordering::Relaxed);
        }
        let mut formation = self.formation();
        let Some(release) = formation.release.clone() else {
            let loading = formation.loading;
            return match loading {
                ReleaseLoading::Blank => Acquisition::Refused(DispatchError::Blank),
                _ if formation.size == 0 => Acquisition::Refused(DispatchError::NoProcesses),
                _ if self.want_release(&mut formation) => self.enqueue(&mut formation),
                _ => Acquisition::Refused(not_loaded()),
            };
        };
        if formation.size == 0 {
            return Acquisition::Refused(DispatchError::NoProcesses);
        }
        if let Some(route) = route
            && let Err(pause) = formation.routes.try_pass(route, Instant::now())
        {
            return Acquisition::Refused(DispatchError::Crashing(pause));
        }
        // Requests are served in the order of their arrival, so a new one must not overtake those in the queue.
        if formation.waiting.is_empty()
            && let Some(idle) = formation.idle.pop_back()
        {
            return Acquisition::Lease(self.lease_idle(idle));
        }
        let now = Instant::now();
        if let Some(pause) = formation.hopeless_pause(now) {
            return Acquisition::Refused(DispatchError::Crashing(pause));
        }
        let may_grow = formation.may_start(now);
        if may_grow && formation.waiting.is_empty() {
            // The search for a slot visits all apps, so it must not hold this app's lock.
            let held = formation.live.len();
            drop(formation);
            if let Some(slot) = self.admission.reserve(held) {
                return Acquisition::Lease(self.lease_new(release, slot));
            }
            formation = self.formation();
        }
        let queued = self.enqueue(&mut formation);
        drop(formation);
        if may_grow {
            self.admission.wait(self);
        }
        queued
    }

    fn enqueue(&self, formation: &mut FormationState) -> Acquisition {
        formation.waiting.retain(|waiter| !waiter.is_closed());
        if formation.waiting.len() >= self.context.limits.backlog {
            return Acquisition::Refused(DispatchError::Backlog);
        }
        let (sender, receiver) = oneshot::channel();
        formation.waiting.push_back(sender);
        Acquisition::Wait(receiver)
    }

    /// Takes a dyno back after its request.
    pub(super) fn take_back(self: Arc<Self>, mut lease: Lease) {
        if let Some(reason) = lease.replace_reason(&self.context.limits) {
            tracing::debug!(reason = reason.as_str(), "dyno replaced");
            lease.retire();
            return;
        }
        if self.admission.has_waiters()
            && let Some(next_owner) = self.next_owner()
        {
            tracing::debug!(next_owner = %next_owner.name, "dyno given up to another app");
            lease.next_owner = Some(next_owner);
            lease.retire();
            return;
        }
        let mut formation = self.formation();
        let is_current = formation.release.as_ref().is_some_and(|release| {
            Arc::ptr_eq(release, &lease.facts.release)
                && lease.facts.generation == formation.generation
        });
        if !is_current || formation.serving() > formation.size as usize {
            drop(formation);
            tracing::debug!(reason = "release, restart or scale", "dyno replaced");
            lease.retire();
            return;
        }
        while let Some(waiter) = formation.waiting.pop_front() {
            match waiter.send(Ok(lease)) {
                Ok(()) | Err(Err(_)) => return,
                Err(Ok(back)) => lease = back,
            }
        }
        self.keep_idle(formation, lease);
    }

    /// Chooses another app that should get the slot of a dyno of this one.
    fn next_owner(self: &Arc<Self>) -> Option<Arc<Self>> {
        let (held, demand) = {
            let formation = self.formation();
            let demand = match formation.waiting.is_empty() {
                true => Demand::None,
                false => Demand::Waiting,
            };
            (formation.live.len(), demand)
        };
        self.admission.next_owner(self, held, demand)
    }

    /// Keeps a dyno for the next request.
    fn keep_idle(self: &Arc<Self>, mut formation: MutexGuard<'_, FormationState>, lease: Lease) {
        let since = lease.facts.idle_since.unwrap_or_else(Instant::now);
        let facts = DynoFacts {
            release: lease.facts.release.clone(),
            idle_since: None,
            ..lease.facts
        };
        let Some((dyno, slot)) = lease.into_idle() else {
            return;
        };
        if let Some(live) = formation.live.get_mut(&facts.number) {
            live.served = facts.served;
            live.memory = dyno.held_bytes();
            live.linear_memory = dyno.memory_bytes();
            self.set_timer(live, facts.number, dyno.threads_due());
        }
        tracing::debug!(served = facts.served, "dyno became idle");
        // Background work does not make a dyno the one that was used last.
        let place = formation.idle.partition_point(|idle| idle.since <= since);
        let idle = IdleDyno {
            dyno,
            facts,
            slot,
            since,
        };
        formation.idle.insert(place, idle);
    }

    /// Makes sure that a timer for the dyno's threads ends by `due`.
    fn set_timer(self: &Arc<Self>, live: &mut LiveDyno, number: u32, due: Option<Instant>) {
        live.timer = match (due, live.timer.take()) {
            (None, _) => None,
            (Some(due), Some(timer)) if timer.ends_by(due) => Some(timer),
            (Some(due), _) => Some(BackgroundTimer::start(self, number, due)),
        };
    }

    /// Takes a dyno whose threads want to run out of the idle ones; the task of its timer calls this.
    ///
    /// If a request uses the dyno, or has changed the time at which the threads want to run, this returns `None`.
    pub(super) fn take_for_background(self: &Arc<Self>, number: u32) -> Option<Lease> {
        let mut formation = self.formation();
        let FormationState { live, idle, .. } = &mut *formation;
        let live = live.get_mut(&number)?;
        if let Some(timer) = live.timer.take() {
            timer.finish();
        }
        let place = idle.iter().position(|idle| idle.facts.number == number)?;
        let due = idle.get(place)?.dyno.threads_due();
        if due.is_none_or(|due| due > Instant::now()) {
            self.set_timer(live, number, due);
            return None;
        }
        let idle = idle.remove(place)?;
        let since = idle.since;
        let mut lease = self.lease_idle(idle);
        lease.facts.idle_since = Some(since);
        Some(lease)
    }

    /// Removes a dyno that has ended, and lets the next request in the queue start one. Its slot goes to `next_owner`,
    /// if there is one.
    pub(super) fn remove_dyno(
        self: Arc<Self>,
        number: u32,
        slot: DynoSlot,
        next_owner: Option<Arc<Self>>,
    ) {
        let hopeless = {
            let mut formation = self.formation();
            let removed = formation.live.remove(&number);
            if removed.is_some_and(|dyno| dyno.connection.is_some()) {
                formation.connected -= 1;
                self.context.connected.fetch_sub(1, Ordering::Relaxed);
            }
            formation.take_hopeless(Instant::now())
        };
        refuse(hopeless);
        self.admission.release(slot, next_owner);
        self.start_for_waiting();
    }

    /// Returns whether a dyno of the app may take over a connection: connections leave a quarter of the node's dynos to others.
    pub(super) fn may_upgrade(&self) -> bool {
        let limits = &self.context.limits;
        let on_node = self.context.connected.load(Ordering::Relaxed);
        on_node < limits.dynos as usize / 4 * 3
            && self.formation().connected < limits.connections as usize
    }

    /// Records that a dyno has taken over a connection. It leaves its place in the formation to another dyno.
    pub(super) fn record_upgrade(self: &Arc<Self>, dyno: &DynoName, link: Arc<ConnectionLink>) {
        {
            let mut formation = self.formation();
            let generation = formation.generation;
            // The dyno may have ended already.
            let Some(live) = formation.live.get_mut(&dyno.number) else {
                return;
            };
            let is_old = live.generation != generation;
            live.is_ready = false;
            live.connection = Some(link.clone());
            let version = live.release;
            formation.connected += 1;
            self.context.connected.fetch_add(1, Ordering::Relaxed);
            let current = formation.release.as_ref().map(|release| release.version);
            if is_old || current.is_some_and(|current| current != version) {
                link.retire();
            }
        }
        self.start_for_waiting();
    }

    /// Records that a dyno is ready for its first request.
    pub(super) fn record_start(&self, dyno: &DynoName) {
        let was_open = {
            let mut formation = self.formation();
            if let Some(live) = formation.live.get_mut(&dyno.number) {
                live.is_ready = true;
            }
            let had_failures = formation.breaker.failures() > 0;
            let was_open = formation.breaker.record_success();
            if had_failures {
                self.update_crash_flags(&formation);
            }
            was_open
        };
        if was_open {
            let line = "Circuit closed -> a dyno has started: requests are served again";
            self.context.log.platform_line(&self.name, dyno, line);
        }
    }

    /// Records that a dyno did not start. If this opens the circuit and no other dyno can serve them, requests in the
    /// queue fail.
    pub(super) fn record_failed_start(&self, dyno: &DynoName) {
        let (opened, hopeless) = {
            let (mut formation, now) = (self.formation(), Instant::now());
            let opened = formation.breaker.record_failure(now);
            self.update_crash_flags(&formation);
            (opened, formation.take_hopeless(now))
        };
        if let Some(pause) = opened {
            let line = format!(
                "Circuit opened -> dynos do not start: requests that need one get H10 at once, and the next attempt is in {:.1} s",
                pause.as_secs_f64()
            );
            self.context.log.platform_line(&self.name, dyno, &line);
        }
        refuse(hopeless);
    }

    /// Records that a dyno has answered a request of `route`.
    pub(super) fn record_answer(&self, dyno: &DynoName, route: Route) {
        let was_open = {
            let mut formation = self.formation();
            let was_open = formation.routes.record_success(route, Instant::now());
            self.update_crash_flags(&formation);
            was_open
        };
        if was_open {
            let line =
                "Circuit closed -> a dyno has answered: requests of the route are served again";
            self.context.log.platform_line(&self.name, dyno, line);
        }
    }

    /// Records that a dyno has ended before it had answered a request with this head.
    pub(super) fn record_crash(&self, dyno: &DynoName, head: &RequestHead) {
        let pause = {
            let mut formation = self.formation();
            let pause = formation
                .routes
                .record_crash(Route::of(head), Instant::now());
            self.update_crash_flags(&formation);
            pause
        };
        if let Some(pause) = pause {
            let line = format!(
                "Circuit opened -> {} crashes its dynos: such requests get H10 at once, and the next attempt is in {:.1} s",
                RouteLabel(head),
                pause.as_secs_f64()
            );
            self.context.log.platform_line(&self.name, dyno, &line);
        }
    }

    /// Returns the release of a dyno that may be started for a waiting request, and the number of dynos.
    fn wanted_dyno(&self) -> Option<(Arc<GridRelease>, usize)> {
        let mut formation = self.formation();
        formation.waiting.retain(|waiter| !waiter.is_closed());
        let held = formation.live.len();
        let may_start = formation.may_start(Instant::now());
        let release = formation.release.clone()?;
        (may_start && !formation.waiting.is_empty()).then_some((release, held))
    }

    /// Lets waiting requests start dynos while the formation and the node have slots.
    fn start_for_waiting(self: &Arc<Self>) {
        while let Some((_, held)) = self.wanted_dyno() {
            let Some(slot) = self.admission.reserve(held) else {
                self.admission.wait(self);
                return;
            };
            if let Err(slot) = self.grant(slot) {
                self.admission.release(slot, None);
                return;
            }
        }
    }

    fn lease_new(self: &Arc<Self>, release: Arc<GridRelease>, slot: DynoSlot) -> Lease {
        let mut formation = self.formation();
        let number = (1..)
            .find(|number| !formation.live.contains_key(number))
            .unwrap_or(u32::MAX);
        let started = Instant::now();
        // After a pause this is the attempt; the next one is made when it has ended or takes long.
        let _ = formation.breaker.try_pass(started);
        let live = LiveDyno {
            release: release.version,
            generation: formation.generation,
            started,
            is_ready: false,
            served: 0,
            memory: 0,
            linear_memory: 0,
            timer: None,
            connection: None,
        };
        formation.live.insert(number, live);
        let facts = DynoFacts {
            release,
            number,
            generation: formation.generation,
            started,
            served: 0,
            idle_since: None,
        };
        Lease::new(self.clone(), facts, None, slot)
    }

    fn lease_idle(self: &Arc<Self>, idle: IdleDyno) -> Lease {
        Lease::new(self.clone(), idle.facts, Some(idle.dyno), idle.slot)
    }

    fn retire_all(self: &Arc<Self>, idle: VecDeque<IdleDyno>, reason: &'static str) {
        for idle in idle {
            let lease = self.lease_idle(idle);
            lease
                .span()
                .in_scope(|| tracing::debug!(reason, "idle dyno ended"));
            lease.retire();
        }
    }

    /// Ends dynos that have been idle for long, and lets waiting requests start dynos that they could not start when they
    /// arrived.
    ///
    /// Dynos that hold much, or that are idle on a node without memory to spare, end earlier than others: the next request
    /// starts a dyno in a millisecond.
    pub(super) fn tend(self: &Arc<Self>) {
        let limits = &self.context.limits;
        let is_scarce = self.context.engine.reserve().is_scarce();
        let (old, waits) = {
            let mut formation = self.formation();
            let waits = !formation.waiting.is_empty();
            let is_old = |idle: &IdleDyno| {
                let heavy = is_scarce || idle.dyno.held_bytes() > limits.idle_bytes;
                let limit = match heavy {
                    true => limits.idle_heavy,
                    false => limits.idle,
                };
                idle.since.elapsed() > limit
            };
            let (old, kept) = std::mem::take(&mut formation.idle)
                .into_iter()
                .partition(is_old);
            formation.idle = kept;
            (old, waits)
        };
        self.retire_all(old, "unused");
        if waits {
            self.start_for_waiting();
        }
    }

    pub(super) fn status(&self) -> AppStatus {
        let formation = self.formation();
        let (live, idle) = (formation.live.len(), formation.idle.len());
        let waiting = formation.waiting.iter();
        AppStatus {
            name: self.name.clone(),
            formation: formation.size,
            busy: u32::try_from(live.saturating_sub(idle)).unwrap_or(u32::MAX),
            idle: u32::try_from(idle).unwrap_or(u32::MAX),
            waiting: waiting.filter(|waiter| !waiter.is_closed()).count(),
            circuit_open: formation.breaker.is_open() || formation.routes.is_any_open(),
            memory: formation.live.values().map(|live| live.memory).sum(),
            command_memory: self.commands.memory(),
        }
    }

    pub(super) fn dynos(&self) -> Vec<DynoStatus> {
        let formation = self.formation();
        let is_idle = |number| {
            let mut idle = formation.idle.iter();
            idle.any(|idle| idle.facts.number == number)
        };
        let status = |(number, live): (&u32, &LiveDyno)| DynoStatus {
            name: DynoName {
                process: ProcessType::web(),
                number: *number,
            },
            state: match is_idle(*number) {
                true => DynoState::Idle,
                false => DynoState::Busy,
            },
            release: live.release,
            age: live.started.elapsed(),
            served: live.served,
            memory: live.memory,
            linear_memory: live.linear_memory,
            command: None,
        };
        let web = formation.live.iter().map(status);
        web.chain(self.commands.status()).collect()
    }
}

/// Fails waiting requests that nothing serves.
fn refuse(hopeless: Option<(Waiting, Duration)>) {
    if let Some((waiting, pause)) = hopeless {
        for waiter in waiting {
            let _ = waiter.send(Err(DispatchError::Crashing(pause)));
        }
    }
}

fn not_loaded() -> DispatchError {
    DispatchError::Crashed("its image cannot be loaded".to_owned())
}

impl Tenant for GridApp {
    fn live(&self) -> usize {
        self.formation().live.len()
    }

    fn longest_idle(&self) -> Option<(Instant, usize)> {
        let formation = self.formation();
        Some((formation.idle.front()?.since, formation.live.len()))
    }

    fn end_longest_idle(self: &Arc<Self>) {
        let idle = self.formation().idle.pop_front();
        if let Some(idle) = idle {
            let lease = self.lease_idle(idle);
            lease
                .span()
                .in_scope(|| tracing::debug!(reason = "slot needed", "idle dyno ended"));
            drop(lease);
        }
    }

    fn held_bytes(&self) -> usize {
        self.share.held()
    }

    fn wants_dyno(&self) -> bool {
        self.wanted_dyno().is_some()
    }

    fn grant(self: &Arc<Self>, slot: DynoSlot) -> Result<(), DynoSlot> {
        let Some((release, _)) = self.wanted_dyno() else {
            return Err(slot);
        };
        let lease = self.lease_new(release, slot);
        let waiter = self.formation().waiting.pop_front();
        match waiter {
            // If the waiter has just given up, this drops the lease, and the lease's end releases the slot.
            Some(waiter) => drop(waiter.send(Ok(lease))),
            None => lease.retire(),
        }
        Ok(())
    }
}
