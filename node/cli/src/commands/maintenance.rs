//! `maintenance`, `maintenance:on` and `maintenance:off`.

use clap::Subcommand;
use corundum_api::app::{AppResource, AppUpdate};
use corundum_api::patch::Patch;
use serde::Serialize;

use crate::app_option::AppOption;
use crate::client::{ApiClient, app_path};
use crate::output::{OutputOption, print_json, say};

/// Commands about maintenance mode.
#[derive(Subcommand)]
pub enum MaintenanceCommand {
    /// Show whether the app is in maintenance mode
    Maintenance {
        #[command(flatten)]
        app: AppOption,
        #[command(flatten)]
        output: OutputOption,
    },
    /// Answer every request with the maintenance page
    ///
    /// Requests, also those for static files, get status 503 and a short page; the log says code=H80. Dynos stay as they
    /// are. The page is the one at the config var MAINTENANCE_PAGE_URL (shown in a frame), otherwise the app's
    /// public/maintenance.html, otherwise the node's own.
    #[command(name = "maintenance:on")]
    On(AppOption),
    /// Serve the app again
    #[command(name = "maintenance:off")]
    Off(AppOption),
}

/// The state of maintenance mode, as `maintenance --json` prints it.
#[derive(Serialize)]
struct MaintenanceState {
    maintenance: bool,
}

/// Runs a command about maintenance mode.
pub(super) fn run(command: MaintenanceCommand, client: &ApiClient) -> anyhow::Result<()> {
    match command {
        MaintenanceCommand::Maintenance { app, output } => {
            let app: AppResource = client.get(&app_path(&app.name()?, ""))?;
            let maintenance = app.maintenance;
            if output.json {
                return print_json(&MaintenanceState { maintenance });
            }
            say!("{}", if maintenance { "on" } else { "off" });
        }
        MaintenanceCommand::On(app) => {
            let app = set(client, &app.name()?, true)?;
            say!("Enabling maintenance mode for {}... done", app.name);
        }
        MaintenanceCommand::Off(app) => {
            let app = set(client, &app.name()?, false)?;
            say!("Disabling maintenance mode for {}... done", app.name);
        }
    }
    Ok(())
}

fn set(client: &ApiClient, app: &str, maintenance: bool) -> anyhow::Result<AppResource> {
    let maintenance = Patch::Value(maintenance);
    client.patch(&app_path(app, ""), &AppUpdate { maintenance })
}
