//! One-off dynos: a command that runs in an app's release, with streams of its own.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use corundum_abi::names::{DynoName, ProcessType};
use tokio::task::JoinHandle;
use tracing::Instrument;

use super::admission::DynoSlot;
use super::app::GridApp;
use super::start;
use crate::console::RunSession;
use crate::memory::MemoryBound;
use crate::os::script;

/// A command for a one-off dyno.
#[derive(Debug)]
pub struct RunCommand {
    /// The command and its arguments.
    pub arguments: Arc<[String]>,
    /// Variables in addition to the app's, which they override.
    pub environ: Vec<(String, String)>,
    /// The command's streams, signals and terminal. The dyno ends when the receiver of its output is dropped.
    pub session: Arc<RunSession>,
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
    /// The command is a script without the executable bit.
    #[error("{0}")]
    NotExecutable(String),
    /// The dyno did not start.
    #[error("cannot start the dyno: {0}")]
    Crashed(String),
    /// The command needed more memory than a dyno may have or the node has.
    #[error("the command was ended: {0}")]
    Memory(String),
    /// The command trapped or lost its client.
    #[error("the command {0}")]
    Failed(String),
}

/// Runs a command in a dyno of its own and returns the exit status. Dropping the future ends the dyno.
///
/// The dyno starts without the app: the command is a process of its own, as in a shell, and loads what it needs with the
/// variables that it was given.
pub(super) async fn run(app: &Arc<GridApp>, command: RunCommand) -> Result<i32, RunError> {
    let release = app.loaded_release().await.ok_or(RunError::Blank)?;
    let arguments = script::with_interpreter(&command.arguments, &release.slug);
    let arguments = arguments.map_err(|error| RunError::NotExecutable(error.to_string()))?;
    let arguments = arguments.map_or(command.arguments, Arc::from);
    let permit = OneOffPermit::acquire(app)?;
    let name = DynoName {
        process: one_off_process(),
        number: permit.number,
    };
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
        let _permit = permit;
        let session = command.session;
        let run = async {
            let environ = with_variables(&release.environ, command.environ);
            let mut dyno =
                start::start_command(&context, &share, &release, &name, arguments, environ)
                    .await
                    .map_err(|error| RunError::Crashed(error.to_string()))?;
            tracing::debug!("dyno started");
            let status = dyno.run_session(session.clone()).await;
            status.map_err(|error| match dyno.reached_memory_limit() {
                Some(MemoryBound::Dyno) => {
                    let limit = context.engine.config().memory_limit >> 20;
                    RunError::Memory(format!("it needed more than {limit} MB of memory"))
                }
                Some(MemoryBound::Node) => {
                    RunError::Memory("the node has no more memory for it".to_owned())
                }
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

/// Permission for one one-off dyno, counted in its app and on the node.
struct OneOffPermit {
    app: Arc<GridApp>,
    slot: Option<DynoSlot>,
    number: u32,
}

impl OneOffPermit {
    fn acquire(app: &Arc<GridApp>) -> Result<Self, RunError> {
        let number = app.one_off_dynos.fetch_add(1, Ordering::SeqCst) + 1;
        // From here on, dropping the permit corrects the count.
        let mut permit = Self {
            app: app.clone(),
            slot: None,
            number,
        };
        if number > app.context().limits.one_off_dynos {
            return Err(RunError::Full);
        }
        permit.slot = Some(app.admission().reserve(0).ok_or(RunError::Full)?);
        Ok(permit)
    }
}

impl Drop for OneOffPermit {
    fn drop(&mut self) {
        self.app.one_off_dynos.fetch_sub(1, Ordering::SeqCst);
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
