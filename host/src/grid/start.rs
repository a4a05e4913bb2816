//! Starting a dyno of a release: from its image to ready for a request.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use corundum_abi::names::{AppName, DynoName};

use super::{GridLog, Release, Shared};
use crate::dyno::{Dyno, Failure, StartError};
use crate::log::LogSink;
use crate::os::{Filesystem, Process};

/// A dyno that was asked for does not start.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotStarted {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("the restored app {0}")]
    Restore(#[from] Failure),
    /// The node is being stopped.
    #[error("the node stops")]
    Stopped,
}

/// A dyno's log lines on their way to the grid's log.
struct DynoLog {
    log: Arc<dyn GridLog>,
    app: AppName,
    dyno: DynoName,
}

impl LogSink for DynoLog {
    fn line(&self, line: &[u8]) {
        self.log.dyno_line(&self.app, &self.dyno, line);
    }
}

/// As [`start`] with the web process's command. Most dynos are ready at the first attempt, on the thread that brought
/// the request. One that is not runs hooks of the app's own, which may compute for ever: that goes on where other dynos
/// compute, and ends with the future.
pub(super) async fn start_aside(
    shared: &Arc<Shared>,
    release: &Arc<Release>,
    name: &DynoName,
) -> Result<Dyno, NotStarted> {
    let (owned, of, called) = (shared.clone(), release.clone(), name.clone());
    let mut work = Box::pin(async move {
        let arguments = of.arguments.clone();
        start(&owned, &of, &called, arguments).await
    });
    let first = poll_fn(|context| {
        Poll::Ready(match work.as_mut().poll(context) {
            Poll::Ready(started) => Some(started),
            Poll::Pending => None,
        })
    });
    if let Some(started) = first.await {
        return started;
    }
    // A set ends its tasks when it is dropped.
    let mut rest = tokio::task::JoinSet::new();
    rest.spawn_on(work, &shared.compute);
    match rest.join_next().await {
        Some(Ok(started)) => started,
        _ => Err(NotStarted::Stopped),
    }
}

/// Makes the dyno `name` of `release` with the command `arguments`, up to the point where it can take a call.
pub(super) async fn start(
    shared: &Shared,
    release: &Release,
    name: &DynoName,
    arguments: Arc<[String]>,
) -> Result<Dyno, NotStarted> {
    let born = release.image.born();
    let process = Process::new(arguments, release.environ.clone(), born)
        .with_variable("DYNO", name.to_string());
    let filesystem = Filesystem::new(
        release.pack.root().clone(),
        Some(release.slug.clone()),
        process,
        shared.limits.tmp,
    );
    let log = Arc::new(DynoLog {
        log: shared.log.clone(),
        app: release.app.clone(),
        dyno: name.clone(),
    });
    let mut dyno = Dyno::instantiate(
        &shared.engine,
        &release.pack,
        &release.image,
        Arc::new(filesystem),
        log,
    )
    .await?;
    dyno.restore().await?;
    Ok(dyno)
}
