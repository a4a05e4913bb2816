//! One-off dynos: a command that runs in an app's release, with streams of its own.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use corundum_abi::names::{DynoName, ProcessType};
use corundum_exchange::BodyStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::Instrument;

use super::admission::DynoSlot;
use super::app::GridApp;
use super::start;
use crate::os::script;

/// Standard streams of a one-off dyno. Its standard error goes to the app's log.
pub struct RunIo {
    /// Standard input.
    pub input: BodyStream,
    /// Standard output. The dyno ends when the receiver is dropped.
    pub output: mpsc::Sender<Bytes>,
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
    /// The command trapped or lost its output.
    #[error("the command {0}")]
    Failed(String),
}

/// Runs `arguments` in a dyno of its own and returns the exit status. Dropping the future ends the dyno.
pub(super) async fn run(
    app: &Arc<GridApp>,
    arguments: Arc<[String]>,
    io: RunIo,
) -> Result<i32, RunError> {
    let release = app.loaded_release().await.ok_or(RunError::Blank)?;
    let script = script::with_interpreter(&arguments, &release.slug);
    let script = script.map_err(|error| RunError::NotExecutable(error.to_string()))?;
    let arguments = script.map_or(arguments, Arc::from);
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
        let closed = io.output.clone();
        let run = async {
            let mut dyno = start::start(&context, &share, &release, &name, arguments)
                .await
                .map_err(|error| RunError::Crashed(error.to_string()))?;
            tracing::debug!("dyno started");
            let status = dyno.run(io.input, io.output).await;
            status.map_err(|error| RunError::Failed(error.to_string()))
        };
        tokio::select! {
            status = run => status,
            // Hooks of the app may keep the dyno from starting, so the wait includes the start.
            () = closed.closed() => Err(RunError::Failed("lost its output".to_owned())),
        }
    };
    AbortOnDrop(compute.spawn(work.instrument(span)))
        .join()
        .await
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
