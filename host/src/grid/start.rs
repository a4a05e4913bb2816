//! Starting a dyno of a release: from its image to the point where it can serve a request.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;

use corundum_abi::names::{AppName, DynoName};
use tracing::Instrument;

use super::context::{GridContext, GridLog};
use super::release::GridRelease;
use crate::account::Account;
use crate::dyno::{CallError, Dyno, StartError};
use crate::image::Image;
use crate::log::LogSink;
use crate::memory::MemoryLimits;
use crate::os::{Filesystem, GuestProcess};
use crate::reserve::AppShare;

/// Failure to start a dyno.
#[derive(Debug, thiserror::Error)]
pub(super) enum LaunchError {
    /// The dyno could not be created.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A hook of the app failed.
    #[error("the restored app {0}")]
    Restore(#[from] CallError),
    /// The node's runtime is shutting down.
    #[error("the node is stopping")]
    Stopped,
}

/// The thread on which the work of a request begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FirstPoll {
    /// The thread that brought the request.
    Here,
    /// A thread for computing dynos, of lower priority.
    Compute,
}

/// Passes a dyno's log lines on to the grid's log.
struct DynoLog {
    log: Arc<dyn GridLog>,
    app: AppName,
    dyno: DynoName,
}

impl LogSink for DynoLog {
    fn line(&self, line: &[u8]) {
        self.log.dyno_line(&self.app, &self.dyno, line);
    }

    fn platform_line(&self, line: &str) {
        self.log.platform_line(&self.app, &self.dyno, line);
    }
}

/// Returns the log of a dyno.
pub(super) fn log_of(context: &GridContext, app: &AppName, dyno: &DynoName) -> Arc<dyn LogSink> {
    Arc::new(DynoLog {
        log: context.log.clone(),
        app: app.clone(),
        dyno: dyno.clone(),
    })
}

/// Starts a web dyno for a waiting request. `memory` are its limits, if they are not the engine's.
///
/// Most dynos are ready at the first poll, on the thread that brought the request. A dyno that is not runs hooks of the
/// app, which may compute forever; it continues on the threads for computing dynos and ends with this future.
pub(super) async fn start_for_request(
    context: &Arc<GridContext>,
    share: &Arc<AppShare>,
    release: &Arc<GridRelease>,
    name: &DynoName,
    memory: Option<MemoryLimits>,
    first_poll: FirstPoll,
) -> Result<Dyno, LaunchError> {
    let owned = (
        context.clone(),
        share.clone(),
        release.clone(),
        name.clone(),
    );
    let mut work = Box::pin(async move {
        let (context, share, release, name) = owned;
        let arguments = release.arguments.clone();
        let mut dyno = start(&context, &share, &release, &name, arguments).await?;
        if let Some(limits) = memory {
            dyno.set_memory_limits(limits, log_of(&context, &release.app, &name));
        }
        Ok(dyno)
    });
    if first_poll == FirstPoll::Here {
        let first = poll_fn(|context| {
            Poll::Ready(match work.as_mut().poll(context) {
                Poll::Ready(started) => Some(started),
                Poll::Pending => None,
            })
        });
        if let Some(started) = first.await {
            return started;
        }
    }
    // Dropping a set aborts its tasks.
    let mut rest = tokio::task::JoinSet::new();
    rest.spawn_on(work.in_current_span(), &context.compute);
    match rest.join_next().await {
        Some(Ok(started)) => started,
        _ => Err(LaunchError::Stopped),
    }
}

/// Creates the dyno `name` of `release` with the command `arguments`, and restores it. `share` is the app's part of the
/// node's reserve.
pub(super) async fn start(
    context: &GridContext,
    share: &Arc<AppShare>,
    release: &GridRelease,
    name: &DynoName,
    arguments: Arc<[String]>,
) -> Result<Dyno, LaunchError> {
    let process = process(release, name, arguments, release.environ.clone());
    let image = &release.image;
    let mut dyno = instantiate(context, share, release, name, process, image).await?;
    dyno.restore().await?;
    Ok(dyno)
}

/// Creates the dyno `name` for a command: a process of its own with the release's files, in which the app is not loaded.
pub(super) async fn start_command(
    context: &GridContext,
    share: &Arc<AppShare>,
    release: &GridRelease,
    name: &DynoName,
    arguments: Arc<[String]>,
    environ: Arc<[(String, String)]>,
) -> Result<Dyno, LaunchError> {
    let process = process(release, name, arguments, environ);
    let image = release.pack.base();
    Ok(instantiate(context, share, release, name, process, image).await?)
}

/// Returns the process of the dyno `name` of a release.
fn process(
    release: &GridRelease,
    name: &DynoName,
    arguments: Arc<[String]>,
    environ: Arc<[(String, String)]>,
) -> GuestProcess {
    let process = GuestProcess::new(arguments, environ, release.image.booted_at());
    process.with_variable("DYNO", name.to_string())
}

/// Creates a dyno of a release, whose memory is a copy of `image`.
async fn instantiate(
    context: &GridContext,
    share: &Arc<AppShare>,
    release: &GridRelease,
    name: &DynoName,
    process: GuestProcess,
    image: &Image,
) -> Result<Dyno, StartError> {
    let root = release.pack.root();
    let files = image.files(Some(&release.slug), root);
    let filesystem = Filesystem::new(
        root.clone(),
        Some(release.slug.clone()),
        files.map_err(StartError::Files)?,
        process,
        Account::new(share.clone(), context.limits.tmp),
    )
    .with_volume(release.volume.get());
    let log = log_of(context, &release.app, name);
    Dyno::instantiate(
        &context.engine,
        &release.pack,
        image,
        Arc::new(filesystem),
        release.outbound.clone(),
        log,
    )
    .await
}
