//! Moving to a better pack while serving: Ruby is built from source beside, then the apps' images are made anew.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use corundum_pack::ruby::{self, Series};
use tokio::process::Command;

use crate::platform::Platform;

/// How long to wait before another attempt, when a build has failed: a registry may answer again, a disk have room.
const RETRY: [Duration; 3] = [
    Duration::from_secs(60),
    Duration::from_secs(600),
    Duration::from_secs(3600),
];

/// Brings all apps to the best pack of their series, which is built first if the node may.
pub(crate) async fn run(platform: Arc<Platform>) {
    let settings = platform.settings();
    let best = Series::DEFAULT.best();
    let mut failures = 0;
    while settings.build_ruby && ruby::prepared(best, &settings.cache).is_none() {
        match build(&platform).await {
            Ok(()) => {}
            Err(reason) => {
                let wait = RETRY[failures.min(RETRY.len() - 1)];
                failures += 1;
                tracing::warn!(
                    "Ruby {} could not be built from source; apps run on the pack from npm, which is slower. The next \
                     attempt is in {} minutes.\n{reason}",
                    best.series,
                    wait.as_secs() / 60
                );
                tokio::time::sleep(wait).await;
            }
        }
    }
    if let Err(error) = platform.upgrade().await {
        tracing::error!(
            error = format!("{error:#}"),
            "apps stay on the packs that they have"
        );
    }
}

/// Builds in a process of its own, which computes only when nothing else does.
async fn build(platform: &Platform) -> Result<(), String> {
    tracing::info!("building Ruby from source");
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new(program)
        .args(["pack", "build", "ruby", "--nice"])
        .env("CORUNDUM_CACHE", &platform.settings().cache)
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
