//! Commands in dynos of their own: one-off commands, and the processes of the Procfile beside web.
//!
//! A command is a copy of the pack's base image, not of the app's: it is a process that loads what it needs with the variables
//! that it was given.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use corundum_abi::names::{DynoName, ProcessType, ReleaseVersion};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tracing::Instrument;

use super::admission::DynoSlot;
use super::app::GridApp;
use super::release::GridRelease;
use super::start;
use super::status::{DynoState, DynoStatus};
use crate::account::Account;
use crate::console::RunSession;
use crate::dyno::Dyno;
use crate::guest_state::CpuTime;
use crate::memory::{MemoryBound, MemoryLimits};
use crate::os::script;

/// A command for a dyno of its own.
#[derive(Debug)]
pub struct RunCommand {
    /// The command and its arguments.
    pub arguments: Arc<[String]>,
    /// Variables in addition to the app's, which they override.
    pub environ: Vec<(String, String)>,
    /// The command's streams, signals and terminal. The dyno ends when the receiver of its output is dropped.
    pub session: Arc<RunSession>,
    /// The dyno's name: from [`DynoGrid::one_off_name`](super::DynoGrid::one_off_name), or that of a process of the formation.
    pub dyno: DynoName,
    /// Limits of the dyno's memory.
    pub memory: MemoryLimits,
    /// Release whose files and variables the command has; `None` for the app's current one.
    pub release: Option<Arc<GridRelease>>,
}

/// Failure to run a command to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The grid does not know the app, or the app has no release.
    #[error("the app has no release to run a command in: push one first")]
    Blank,
    /// The app has too many one-off dynos, or the node is full.
    #[error("too many dynos are running: wait for one to end")]
    Full,
    /// A dyno of this name runs.
    #[error("{0} is running")]
    Running(DynoName),
    /// The command is a script without the executable bit.
    #[error("{0}")]
    NotExecutable(String),
    /// The dyno did not start.
    #[error("cannot start the dyno: {0}")]
    Crashed(String),
    /// The command needed more memory than a dyno may have.
    #[error("the command was ended: it needed more than {0} MB of memory")]
    Memory(usize),
    /// The node had no memory for the command.
    #[error("the command was ended: the node has no more memory for it")]
    NodeMemory,
    /// The command trapped or lost its client.
    #[error("the command {0}")]
    Failed(String),
    /// The dyno was ended from outside.
    #[error("the command was killed")]
    Killed,
}

/// The running commands of an app.
#[derive(Default)]
pub(super) struct CommandDynos {
    running: Mutex<BTreeMap<DynoName, RunningCommand>>,
    /// Number of the last one-off dyno.
    last: AtomicU32,
    /// Nanoseconds that the commands which have ended have computed.
    finished: AtomicU64,
}

/// A command that runs or starts.
struct RunningCommand {
    release: ReleaseVersion,
    arguments: Arc<[String]>,
    started: Instant,
    session: Arc<RunSession>,
    killed: Arc<Notify>,
    /// `None` until the dyno exists.
    dyno: Option<RunningDyno>,
}

struct RunningDyno {
    account: Arc<Account>,
    cpu: Arc<CpuTime>,
}

impl CommandDynos {
    fn running(&self) -> MutexGuard<'_, BTreeMap<DynoName, RunningCommand>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the name of the next one-off dyno.
    pub(super) fn one_off_name(&self) -> DynoName {
        DynoName {
            process: one_off_process(),
            number: self.last.fetch_add(1, Ordering::Relaxed).wrapping_add(1),
        }
    }

    /// Returns whether no command runs.
    pub(super) fn is_empty(&self) -> bool {
        self.running().is_empty()
    }

    /// Returns the state of the dynos.
    pub(super) fn status(&self) -> Vec<DynoStatus> {
        let running = self.running();
        let status = |(name, command): (&DynoName, &RunningCommand)| DynoStatus {
            name: name.clone(),
            state: match command.dyno {
                Some(_) => DynoState::Busy,
                None => DynoState::Starting,
            },
            release: command.release,
            age: command.started.elapsed(),
            served: 0,
            memory: command.dyno.as_ref().map_or(0, |dyno| dyno.account.held()),
            linear_memory: 0,
            command: Some(command.arguments.clone()),
        };
        running.iter().map(status).collect()
    }

    /// Sends a signal to a command. Returns whether it runs.
    pub(super) fn send_signal(&self, name: &DynoName, number: u32) -> bool {
        let running = self.running();
        let command = running.get(name);
        command.is_some_and(|command| {
            command.session.send_signal(number);
            true
        })
    }

    /// Ends a command at once. Returns whether it runs.
    pub(super) fn kill(&self, name: &DynoName) -> bool {
        let running = self.running();
        let command = running.get(name);
        command.is_some_and(|command| {
            command.killed.notify_one();
            true
        })
    }

    /// Returns the time that all commands have computed, those that have ended included.
    pub(super) fn cpu_time(&self) -> Duration {
        let running = self.running();
        let dynos = running.values().filter_map(|command| command.dyno.as_ref());
        let finished = Duration::from_nanos(self.finished.load(Ordering::Relaxed));
        dynos.fold(finished, |sum, dyno| sum + dyno.cpu.finished())
    }

    /// Returns the bytes that the node holds for the dynos.
    pub(super) fn memory(&self) -> usize {
        let running = self.running();
        let dynos = running.values().filter_map(|command| command.dyno.as_ref());
        dynos.map(|dyno| dyno.account.held()).sum()
    }

    fn remove(&self, name: &DynoName) {
        let mut running = self.running();
        let dyno = running.remove(name).and_then(|command| command.dyno);
        let time = dyno.map_or(0, |dyno| dyno.cpu.finished().as_nanos());
        let time = u64::try_from(time).unwrap_or(u64::MAX);
        self.finished.fetch_add(time, Ordering::Relaxed);
    }

    fn started(&self, name: &DynoName, dyno: &Dyno) {
        if let Some(command) = self.running().get_mut(name) {
            command.dyno = Some(RunningDyno {
                account: dyno.account().clone(),
                cpu: dyno.cpu().clone(),
            });
        }
    }
}

/// Runs a command in a dyno of its own and returns the exit status. Dropping the future ends the dyno.
pub(super) async fn run(app: &Arc<GridApp>, command: RunCommand) -> Result<i32, RunError> {
    let RunCommand {
        arguments,
        environ,
        session,
        dyno,
        memory,
        release,
    } = command;
    let release = match release {
        Some(release) => release,
        None => app.loaded_release().await.ok_or(RunError::Blank)?,
    };
    let with_interpreter = script::with_interpreter(&arguments, &release.slug);
    let with_interpreter =
        with_interpreter.map_err(|error| RunError::NotExecutable(error.to_string()))?;
    let shown = arguments.clone();
    let arguments = with_interpreter.map_or(arguments, Arc::from);
    let killed = Arc::new(Notify::new());
    let running = RunningCommand {
        release: release.version,
        arguments: shown,
        started: Instant::now(),
        session: session.clone(),
        killed: killed.clone(),
        dyno: None,
    };
    let permit = CommandPermit::acquire(app, dyno, running)?;
    let name = permit.name.clone();
    let span = tracing::debug_span!(
        "dyno",
        app = %release.app,
        release = %release.version,
        dyno = %name,
    );
    let (context, share) = (app.context().clone(), app.share().clone());
    let compute = context.compute.clone();
    // A command may compute as long as it wants, so it does not run on the threads that serve requests.
    let work = async move {
        let run = async {
            let environ = with_variables(&release.environ, environ);
            let mut dyno =
                start::start_command(&context, &share, &release, &name, arguments, environ)
                    .await
                    .map_err(|error| RunError::Crashed(error.to_string()))?;
            dyno.set_memory_limits(memory, start::log_of(&context, &release.app, &name));
            permit.app.commands.started(&name, &dyno);
            tracing::debug!("dyno started");
            let status = dyno.run_session(session.clone()).await;
            status.map_err(|error| match dyno.reached_memory_limit() {
                Some(MemoryBound::Dyno) => RunError::Memory(memory.most >> 20),
                Some(MemoryBound::Node) => RunError::NodeMemory,
                None => RunError::Failed(error.to_string()),
            })
        };
        let unhandled_signal = async {
            if release.pack.handles_signals() {
                std::future::pending::<()>().await;
            }
            session.fatal_signal().await
        };
        tokio::select! {
            status = run => status,
            () = session.abandoned() => Err(RunError::Failed("lost its client".to_owned())),
            () = killed.notified() => Err(RunError::Killed),
            signal = unhandled_signal => Ok(128 + signal.cast_signed()),
        }
    };
    AbortOnDrop(compute.spawn(work.instrument(span)))
        .join()
        .await
}

/// Returns an environment with further variables, each name once.
fn with_variables(
    environ: &[(String, String)],
    more: Vec<(String, String)>,
) -> Arc<[(String, String)]> {
    let mut all = environ.to_vec();
    for (name, value) in more {
        all.retain(|(known, _)| *known != name);
        all.push((name, value));
    }
    all.into()
}

/// Returns the process type of one-off dynos.
fn one_off_process() -> ProcessType {
    "run".parse().unwrap_or_else(|_| ProcessType::web())
}

/// Permission for one dyno of a command, counted in its app and on the node.
struct CommandPermit {
    app: Arc<GridApp>,
    slot: Option<DynoSlot>,
    name: DynoName,
}

impl CommandPermit {
    fn acquire(
        app: &Arc<GridApp>,
        name: DynoName,
        command: RunningCommand,
    ) -> Result<Self, RunError> {
        {
            let mut running = app.commands.running();
            let one_off = one_off_process();
            let one_offs = running.keys().filter(|other| other.process == one_off);
            if name.process == one_off
                && one_offs.count() >= app.context().limits.one_off_dynos as usize
            {
                return Err(RunError::Full);
            }
            if running.contains_key(&name) {
                return Err(RunError::Running(name));
            }
            running.insert(name.clone(), command);
        }
        // From here on, dropping the permit corrects the count.
        let mut permit = Self {
            app: app.clone(),
            slot: None,
            name,
        };
        permit.slot = Some(app.admission().reserve(0).ok_or(RunError::Full)?);
        Ok(permit)
    }
}

impl Drop for CommandPermit {
    fn drop(&mut self) {
        self.app.commands.remove(&self.name);
        if let Some(slot) = self.slot.take() {
            self.app.admission().release(slot, None);
        }
    }
}

struct AbortOnDrop(JoinHandle<Result<i32, RunError>>);

impl AbortOnDrop {
    async fn join(mut self) -> Result<i32, RunError> {
        match (&mut self.0).await {
            Ok(result) => result,
            Err(error) => Err(RunError::Failed(error.to_string())),
        }
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
