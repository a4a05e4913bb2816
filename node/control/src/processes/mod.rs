//! Processes beside web: the dynos of the Procfile's other types, the release phase, and scheduled and detached commands.
//!
//! [`Processes`] keeps one task for each dyno that a formation asks for (`supervisor`): it starts the dyno's command, and starts
//! it again when it has ended. [`command`] runs a command line; [`phase`] does so at a deployment, and [`schedule`] at fixed times.
//! [`queue_scaling`] sets the formation by the number of jobs that wait.

pub(crate) mod backoff;
pub(crate) mod command;
mod jobs;
pub(crate) mod phase;
pub(crate) mod queue_scaling;
pub(crate) mod schedule;
mod supervisor;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use corundum_abi::dyno_size::DynoSize;
use corundum_abi::names::{AppName, DynoName, ProcessType};
use corundum_compiler::command_line::ProcessCommandLine;
use corundum_host::grid::{DynoGrid, RunError};
use corundum_host::memory::MemoryLimits;
use corundum_store::{ProcessScale, ProcessScales, ReleaseRecord, Store, StoreError};
use tokio::runtime::Handle;
use tokio::sync::watch;

use self::command::CommandRunError;
use self::jobs::{Job, Jobs};
use self::queue_scaling::QueueScaling;
use self::schedule::CommandSchedule;
use self::supervisor::{ProcessTarget, Supervisor};
use crate::logs::Logs;

/// Number of the signal that asks a process to end.
pub(crate) const SIGTERM: u32 = 15;

/// Time from SIGTERM to the end of a process, as on Heroku.
pub(crate) const EXIT_TIMEOUT: Duration = Duration::from_secs(30);

/// Most dynos of a process type beside web.
pub(crate) const MAX_QUANTITY: u32 = 1000;

/// The state of a supervised dyno.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProcessState {
    /// The dyno is being started, or waits for a place on the node.
    Starting,
    /// The command runs.
    Up,
    /// The command has ended, and is started again after a pause.
    Crashed,
    /// The command has got SIGTERM.
    Stopping,
}

impl ProcessState {
    /// Returns the word that `ps` shows.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Up => "up",
            Self::Crashed => "crashed",
            Self::Stopping => "stopping",
        }
    }
}

/// A command for a one-off dyno whose output goes to the log.
pub(crate) struct DetachedCommand {
    pub(crate) line: ProcessCommandLine,
    /// Variables in addition to the app's.
    pub(crate) environ: Vec<(String, String)>,
    pub(crate) size: DynoSize,
}

/// The parts of a node that processes need.
#[derive(Clone)]
pub struct ProcessParts {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The grid.
    pub grid: DynoGrid,
    /// The apps' logs.
    pub logs: Arc<Logs>,
    /// The runtime of the supervisors.
    pub runtime: Handle,
}

/// Runs the processes of all apps.
pub struct Processes {
    parts: ProcessParts,
    state: Mutex<SupervisedApps>,
    jobs: Arc<Jobs>,
    schedule: Arc<CommandSchedule>,
    queue_scaling: Arc<QueueScaling>,
}

#[derive(Default)]
struct SupervisedApps {
    /// True while no process may be started: before the start, and from the shutdown on.
    is_stopped: bool,
    apps: HashMap<AppName, BTreeMap<DynoName, SupervisedDyno>>,
}

struct SupervisedDyno {
    target: watch::Sender<ProcessTarget>,
    state: watch::Receiver<ProcessState>,
}

impl Processes {
    /// Creates the type, which runs nothing before [`start`](Self::start).
    pub fn new(parts: ProcessParts) -> Self {
        let state = SupervisedApps {
            is_stopped: true,
            ..SupervisedApps::default()
        };
        let jobs = Jobs::new(parts.grid.clone());
        let schedule = Arc::new(CommandSchedule::new(parts.clone(), jobs.clone()));
        Self {
            queue_scaling: Arc::new(QueueScaling::new(parts.clone())),
            parts,
            state: Mutex::new(state),
            jobs,
            schedule,
        }
    }

    /// Starts a command in a one-off dyno whose output goes to the log, and returns the dyno's name.
    ///
    /// # Errors
    ///
    /// [`RunError`].
    pub(crate) async fn run_detached(
        &self,
        app: &AppName,
        command: DetachedCommand,
    ) -> Result<DynoName, RunError> {
        // Without a release, the client learns it at once.
        let release = self.parts.grid.loaded_release(app).await;
        release.ok_or(RunError::Blank)?;
        let dyno = self.parts.grid.one_off_name(app)?;
        let job = Job {
            app: app.clone(),
            dyno: dyno.clone(),
            line: command.line,
            environ: command.environ,
            memory: MemoryLimits::of_process(command.size.memory()),
        };
        let jobs = self.jobs.clone();
        self.parts.runtime.spawn(async move { jobs.run(job).await });
        Ok(dyno)
    }

    /// Returns the schedule.
    pub(crate) fn schedule(&self) -> &Arc<CommandSchedule> {
        &self.schedule
    }

    /// Returns the rules that scale processes by their queues.
    pub(crate) fn queue_scaling(&self) -> &Arc<QueueScaling> {
        &self.queue_scaling
    }

    fn state(&self) -> MutexGuard<'_, SupervisedApps> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the processes of all apps.
    pub(crate) fn start(self: &Arc<Self>) {
        self.state().is_stopped = false;
        self.schedule.set_stopped(false);
        if let Err(error) = self.schedule.load_all() {
            tracing::error!(%error, "could not read the scheduled commands");
        }
        match self.parts.store.all_process_scales() {
            Ok(all) => {
                for (app, scales) in all {
                    self.apply(&app, &scales);
                }
            }
            Err(error) => {
                tracing::error!(%error, "could not read the formations: no process starts")
            }
        }
    }

    /// Ends all processes: SIGTERM, and their end after [`EXIT_TIMEOUT`]. None starts from now on.
    pub async fn shut_down(&self) {
        {
            let mut state = self.state();
            state.is_stopped = true;
            let dynos = state.apps.values().flat_map(BTreeMap::values);
            dynos.for_each(|dyno| dyno.target.send_modify(ProcessTarget::stop));
        }
        self.schedule.set_stopped(true);
        let ended = async {
            self.jobs.shut_down().await;
            while !self.state().apps.values().all(BTreeMap::is_empty) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        // The supervisors end their processes in time.
        let _ = tokio::time::timeout(EXIT_TIMEOUT + Duration::from_secs(5), ended).await;
    }

    /// Scales process types of an app.
    ///
    /// # Errors
    ///
    /// The store cannot be written; nothing is changed then.
    pub(crate) fn scale(
        self: &Arc<Self>,
        app: &AppName,
        changes: &ProcessScales,
    ) -> Result<(), StoreError> {
        self.parts.store.set_process_scales(app, changes)?;
        self.refresh(app)
    }

    /// Moves an app's processes and schedule to its new release.
    pub(crate) fn release_changed(self: &Arc<Self>, app: &AppName, release: &ReleaseRecord) {
        let moved = self.refresh(app);
        let moved = moved.and_then(|()| self.schedule.set(app, release.about.cron.clone()));
        if let Err(error) = moved {
            tracing::error!(%app, %error, "could not move processes to the new release");
        }
    }

    /// Starts and ends dynos of an app so that they are those of its formation, and replaces those of other releases than the
    /// current one.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub(crate) fn refresh(self: &Arc<Self>, app: &AppName) -> Result<(), StoreError> {
        let scales = self.parts.store.process_scales(app)?;
        self.apply(app, &scales);
        Ok(())
    }

    /// Replaces the dynos of an app that `selected` names. Returns how many those are.
    pub(crate) fn restart(&self, app: &AppName, selected: impl Fn(&DynoName) -> bool) -> usize {
        let state = self.state();
        let dynos = state.apps.get(app).into_iter().flatten();
        let selected = dynos.filter(|(name, _)| selected(name));
        selected
            .map(|(_, dyno)| dyno.target.send_modify(ProcessTarget::restart))
            .count()
    }

    /// Returns the states of an app's dynos that are supervised.
    pub(crate) fn states(&self, app: &AppName) -> BTreeMap<DynoName, ProcessState> {
        let state = self.state();
        let dynos = state.apps.get(app).into_iter().flatten();
        dynos
            .map(|(name, dyno)| (name.clone(), *dyno.state.borrow()))
            .collect()
    }

    /// Ends the processes of an app that is destroyed, without waiting for them.
    pub(crate) fn forget(&self, app: &AppName) {
        self.schedule.forget(app);
        self.queue_scaling.forget(app);
        let removed = self.state().apps.remove(app);
        for (name, dyno) in removed.into_iter().flatten() {
            dyno.target.send_modify(ProcessTarget::stop);
            self.parts.grid.kill(app, &name);
        }
    }

    fn apply(self: &Arc<Self>, app: &AppName, scales: &ProcessScales) {
        let current = self.parts.store.current_release(app);
        let release = match &current {
            Ok(Some(release)) => Some(release.version),
            Ok(None) => None,
            Err(error) => {
                tracing::error!(%app, %error, "could not read the release of processes: they stay as they are");
                return;
            }
        };
        let mut wanted: BTreeMap<DynoName, DynoSize> = BTreeMap::new();
        if let Ok(Some(record)) = &current {
            for (process, scale) in scales {
                if is_long_running(process) && record.about.processes.contains_key(process) {
                    wanted.extend(names(process, scale));
                }
            }
        }
        let mut state = self.state();
        if state.is_stopped {
            return;
        }
        let dynos = state.apps.entry(app.clone()).or_default();
        for (name, dyno) in dynos.iter() {
            match wanted.remove(name) {
                Some(size) => dyno
                    .target
                    .send_if_modified(|target| target.want(size, release)),
                None => {
                    dyno.target.send_modify(ProcessTarget::stop);
                    true
                }
            };
        }
        for (name, size) in wanted {
            let (target, receiver) = watch::channel(ProcessTarget::new(size, release));
            let (sender, state) = watch::channel(ProcessState::Starting);
            dynos.insert(name.clone(), SupervisedDyno { target, state });
            let supervisor = Supervisor {
                processes: self.clone(),
                app: app.clone(),
                name,
                target: receiver,
                state: sender,
            };
            self.parts.runtime.spawn(supervisor.run());
        }
        if dynos.is_empty() {
            state.apps.remove(app);
        }
    }

    /// Removes a dyno whose supervisor ends, unless it is wanted again. Returns whether it was removed.
    fn remove_stopped(
        &self,
        app: &AppName,
        name: &DynoName,
        target: &watch::Receiver<ProcessTarget>,
    ) -> bool {
        let mut state = self.state();
        if !target.borrow().is_stopped() {
            return false;
        }
        let Some(dynos) = state.apps.get_mut(app) else {
            return true;
        };
        // An app that was destroyed and created again may have a dyno of this name.
        let is_same = dynos
            .get(name)
            .is_some_and(|dyno| dyno.target.subscribe().same_channel(target));
        if is_same {
            dynos.remove(name);
        }
        if dynos.is_empty() {
            state.apps.remove(app);
        }
        true
    }
}

/// Returns whether dynos of a process type run until they are stopped. Web dynos start with requests, and the release phase ends.
pub(crate) fn is_long_running(process: &ProcessType) -> bool {
    !matches!(process.as_str(), "web" | "release" | "run")
}

/// Returns the line of the log about a command that did not run to its end.
pub(crate) fn process_error(error: &CommandRunError) -> String {
    match error {
        CommandRunError::Run(RunError::Memory(_)) => {
            "Error R15 (Memory quota vastly exceeded)".to_owned()
        }
        CommandRunError::Run(RunError::NodeMemory) => {
            "Error R15 (Memory quota vastly exceeded) -> the node has no memory to spare".to_owned()
        }
        error => format!("Error: {error}"),
    }
}

/// Returns the names of the dynos of a process type, with their size.
fn names(
    process: &ProcessType,
    scale: &ProcessScale,
) -> impl Iterator<Item = (DynoName, DynoSize)> {
    let size = scale.size;
    (1..=scale.quantity.min(MAX_QUANTITY)).map(move |number| {
        let process = process.clone();
        (DynoName { process, number }, size)
    })
}
