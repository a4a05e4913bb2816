//! The commands that take an app out of service for a while.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::client::{Client, app_name};
use super::commands::{print_json, say, shown};
use super::{App, Form};

/// Commands about maintenance.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Show whether the app is in maintenance
    Maintenance {
        #[command(flatten)]
        app: App,
        #[command(flatten)]
        form: Form,
    },
    /// Answer every request with the page of maintenance
    ///
    /// Requests get status 503 and a short page, those of static files too; the log says code=H80. Dynos stay as they are.
    /// The page is the one that the config var MAINTENANCE_PAGE_URL names (shown in a frame), or else public/maintenance.html
    /// of the app, or else the node's own.
    #[command(name = "maintenance:on")]
    On(App),
    /// Serve the app again
    #[command(name = "maintenance:off")]
    Off(App),
}

/// Runs a command about maintenance.
pub(super) fn run(command: Command) -> anyhow::Result<ExitCode> {
    let client = Client::new();
    match command {
        Command::Maintenance { app, form } => {
            let settings = client.call("GET", &path(&app_name(app.app)?), None)?;
            let value = value(&settings);
            if form.json {
                print_json(&json!({"maintenance": value == "on"}))?;
            } else {
                say!("{value}");
            }
        }
        Command::On(app) => switch(&client, &app_name(app.app)?, "on")?,
        Command::Off(app) => switch(&client, &app_name(app.app)?, "off")?,
    }
    Ok(ExitCode::SUCCESS)
}

fn path(app: &str) -> String {
    format!("/v1/apps/{app}/settings")
}

fn value(settings: &Value) -> String {
    let mut listed = settings.as_array().into_iter().flatten();
    let found = listed.find(|setting| setting["name"] == "maintenance");
    found.map_or_else(|| "off".to_owned(), |setting| shown(&setting["value"]))
}

fn switch(client: &Client, app: &str, to: &str) -> anyhow::Result<()> {
    client.call("PATCH", &path(app), Some(&json!({"maintenance": to})))?;
    let doing = if to == "on" { "Enabling" } else { "Disabling" };
    say!("{doing} maintenance mode for {app}... done");
    Ok(())
}
