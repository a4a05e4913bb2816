//! Starting a dyno of a release: from its image to ready for a request.

use std::sync::Arc;

use corundum_sdk::names::{AppName, DynoName};

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
