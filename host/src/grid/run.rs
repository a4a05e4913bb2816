//! One-off dynos: a command run in an app's release, with its own streams.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use corundum_abi::names::{AppName, DynoName, ProcessType};
use corundum_exchange::BodyStream;
use tokio::sync::mpsc;

use super::app::App;
use super::{Grid, Shared, start};

/// The streams of a one-off dyno.
pub struct RunIo {
    /// Its standard input.
    pub input: BodyStream,
    /// Its standard output. Its standard error goes to the app's log.
    pub output: mpsc::Sender<Bytes>,
}

/// A command that did not run to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The grid has no such app, or it has no release.
    #[error("the app has no release to run a command in: push one first")]
    Blank,
    /// Too many one-off dynos of this app run, or the node is full.
    #[error("too many dynos run already: wait for one to end")]
    Full,
    /// It could not be started.
    #[error("the dyno could not be started: {0}")]
    Crashed(String),
    /// It trapped.
    #[error("the command {0}")]
    Failed(String),
}

impl Grid {
    /// Runs `arguments` in a dyno of its own and returns the exit status. Dropping the future ends the dyno.
    ///
    /// # Errors
    ///
    /// [`RunError`].
    pub async fn run(
        &self,
        app: &AppName,
        arguments: Arc<[String]>,
        io: RunIo,
    ) -> Result<i32, RunError> {
        let app = self.shared.app(app).ok_or(RunError::Blank)?;
        let release = app.release().ok_or(RunError::Blank)?;
        let place = Place::take(&self.shared, &app)?;
        let name = DynoName {
            process: one_off(),
            number: place.number,
        };
        let shared = self.shared.clone();
        // A command computes for as long as it likes: not on the threads that serve requests.
        let work = self.shared.compute.spawn(async move {
            let _place = place;
            let mut dyno = start::start(&shared, &release, &name, arguments)
                .await
                .map_err(|error| RunError::Crashed(error.to_string()))?;
            let closed = io.output.clone();
            tokio::select! {
                status = dyno.run(io.input, io.output) => {
                    status.map_err(|failure| RunError::Failed(failure.to_string()))
                }
                () = closed.closed() => Err(RunError::Failed("lost its output".to_owned())),
            }
        });
        AbortOnDrop(work).join().await
    }
}

/// The process type of one-off dynos.
fn one_off() -> ProcessType {
    "run".parse().unwrap_or_else(|_| ProcessType::web())
}

/// A one-off dyno's places in its app and on the node.
struct Place {
    shared: Arc<Shared>,
    app: Arc<App>,
    number: u32,
}

impl Place {
    fn take(shared: &Arc<Shared>, app: &Arc<App>) -> Result<Self, RunError> {
        let number = app.runs.fetch_add(1, Ordering::SeqCst) + 1;
        let within = number <= shared.limits.runs && shared.take_place(0);
        if within {
            Ok(Self {
                shared: shared.clone(),
                app: app.clone(),
                number,
            })
        } else {
            app.runs.fetch_sub(1, Ordering::SeqCst);
            Err(RunError::Full)
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.app.runs.fetch_sub(1, Ordering::SeqCst);
        self.shared.give_place(None);
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<Result<i32, RunError>>);

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
