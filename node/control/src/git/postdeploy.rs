//! The script that `app.json` has for the time after an app's first deployment.

use corundum_abi::names::AppName;
use corundum_host::grid::DynoGrid;
use corundum_store::{Store, StoreError};

use crate::processes::phase::{self, Phase};

/// The name under which the store keeps how far the script is, beside the app's settings.
const SETTING: &str = "postdeploy";
/// The script has to run.
const PENDING: &str = "pending";
/// The script has run, successfully or not.
const DONE: &str = "done";

/// Notes that an app's script has to run, before the app's first release.
///
/// # Errors
///
/// The store cannot be written.
pub(super) fn plan(store: &dyn Store, app: &AppName) -> Result<(), StoreError> {
    set(store, app, PENDING)
}

/// Runs an app's script, unless it has run. A script that fails does not run again: it may have done half of its work.
pub(super) async fn run(
    store: &dyn Store,
    grid: &DynoGrid,
    app: &AppName,
    command: &str,
    report: &(dyn Fn(&str) + Send + Sync),
) {
    let is_pending = store
        .settings(app)
        .is_ok_and(|settings| settings.get(SETTING).is_some_and(|state| state == PENDING));
    if !is_pending {
        return;
    }
    let Some(release) = grid.loaded_release(app).await else {
        return;
    };
    let result = phase::run(grid, Phase::Postdeploy, release, command, report).await;
    if let Err(error) = result {
        report(&format!(" !     The postdeploy script failed: {error}"));
        report(&format!(
            " !     The release stays. Run it again with: corundum run {command}"
        ));
    }
    if let Err(error) = set(store, app, DONE) {
        tracing::warn!(%app, %error, "could not note that the postdeploy script has run");
    }
}

fn set(store: &dyn Store, app: &AppName, state: &str) -> Result<(), StoreError> {
    let changes = [(SETTING.to_owned(), Some(state.to_owned()))].into();
    store.change_settings(app, &changes)
}
