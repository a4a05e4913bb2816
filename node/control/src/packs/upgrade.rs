//! Moves apps to a better pack while the node serves: builds Ruby from source in the background, then makes the apps'
//! images again.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use corundum_pack::language::PackKey;
use corundum_pack::ruby::{self, Edition, PackOrigin, Series};
use corundum_store::Store;
use tokio::process::Command;

use super::cache::PackCache;
use crate::apps::usage::{busy, now};
use crate::releases::Releases;

/// Delays before another attempt at a failed build: a registry may answer again, or a disk have space.
const RETRY: [Duration; 3] = [
    Duration::from_secs(60),
    Duration::from_secs(600),
    Duration::from_secs(3600),
];

/// Time between two looks for packs that were installed.
const LOOK: Duration = Duration::from_secs(5);

/// The rule for builds of Ruby from source by the node itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceBuilds {
    /// It does, in the background, unless the pack is there.
    Enabled,
    /// It does not; `corundum pack build ruby` does.
    Disabled,
}

/// Moves apps to the best pack of their series.
pub struct PackUpgrade {
    source_builds: SourceBuilds,
    packs: Arc<PackCache>,
    moved: Option<MovedApps>,
}

/// The apps that move to a new pack.
pub struct MovedApps {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The releases.
    pub releases: Arc<Releases>,
}

impl PackUpgrade {
    /// Creates the task's state; [`run`](Self::run) does the work.
    pub fn new(
        source_builds: SourceBuilds,
        packs: Arc<PackCache>,
        moved: Option<MovedApps>,
    ) -> Self {
        Self {
            source_builds,
            packs,
            moved,
        }
    }

    /// Builds the best packs of Ruby that are missing, if the node may, and moves the busy apps to them: first the one of the
    /// default series, then those of the series that apps use. Apps also move when a pack of their language is installed.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut installed = self.packs.installed();
        let mut missing = Some(Series::DEFAULT);
        loop {
            if let Some(series) = missing {
                self.build_until_ready(series).await;
            }
            if let Some(MovedApps { store, releases }) = &self.moved {
                // The others move at their first request.
                let apps = busy(&store.app_outlines().apps, now());
                releases.upgrade_all(apps).await;
            }
            missing = tokio::select! {
                series = self.packs.next_missing() => {
                    Some(series).filter(|_| self.source_builds == SourceBuilds::Enabled)
                }
                changed = self.changed(&installed) => {
                    installed = changed;
                    None
                }
            };
        }
    }

    /// Waits until other packs are installed than `before`, and returns them.
    async fn changed(&self, before: &[PackKey]) -> Vec<PackKey> {
        loop {
            tokio::time::sleep(LOOK).await;
            let installed = self.packs.installed();
            if installed != before {
                return installed;
            }
        }
    }

    /// Builds the best pack of a series if the node may and it is missing; tries again later if that fails.
    async fn build_until_ready(&self, series: Series) {
        let mut failures = 0;
        while let Err(reason) = self.build_missing(series).await {
            let wait = RETRY[failures.min(RETRY.len() - 1)];
            failures += 1;
            tracing::warn!(
                "Ruby {series} could not be built from source; apps run on the pack from npm, which is slower. The next \
                 attempt is in {} minutes.\n{reason}",
                wait.as_secs() / 60
            );
            tokio::time::sleep(wait).await;
        }
    }

    /// Builds the best pack of a series if the node may and it is missing.
    ///
    /// # Errors
    ///
    /// The reason why the build failed.
    pub(crate) async fn build_missing(&self, series: Series) -> Result<(), String> {
        let best = series.best();
        let is_missing = ruby::prepared(best, self.packs.directory()).is_none();
        match self.source_builds {
            SourceBuilds::Enabled if is_missing && best.origin == PackOrigin::Source => {
                self.build(best).await
            }
            _ => Ok(()),
        }
    }

    /// Builds a pack in a child process, which computes only when nothing else does.
    async fn build(&self, edition: Edition) -> Result<(), String> {
        tracing::info!("building Ruby {} from source", edition.series);
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let name = format!("ruby-{}", edition.series);
        let output = Command::new(program)
            .args(["pack", "build", &name, "--nice"])
            .env("CORUNDUM_CACHE", self.packs.directory())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|error| error.to_string())?;
        if output.status.success() {
            return Ok(());
        }
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}
