//! The commands about log drains.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::client::{Client, app_name};
use super::commands::{print_json, say, shown};
use super::{App, Form, table};

/// Commands about drains.
#[derive(Subcommand)]
pub(super) enum Command {
    /// List the log drains
    ///
    /// Passwords and queries of their URLs are not shown.
    Drains {
        #[command(flatten)]
        app: App,
        #[command(flatten)]
        form: Form,
    },
    /// Send the app's log on, as it is written
    ///
    /// syslog://HOST:PORT and syslog+tls://HOST:PORT get RFC 5424 messages in octet-counted frames; https://… gets batches
    /// of them (application/logplex-1), with basic authentication if the URL has a user. A drain that cannot follow loses the
    /// oldest lines, and is told how many (Error L10); the app does not notice.
    ///
    /// Example: corundum drains:add syslog+tls://logs.example.com:6514
    #[command(name = "drains:add")]
    Add {
        /// Where to
        url: String,
        #[command(flatten)]
        app: App,
    },
    /// Send the app's log no longer there
    #[command(name = "drains:remove")]
    Remove {
        /// Its URL, as it was given or as `corundum drains` shows it, or its token
        url: String,
        #[command(flatten)]
        app: App,
    },
}

/// Runs a command about drains.
pub(super) fn run(command: Command) -> anyhow::Result<ExitCode> {
    let client = Client::new();
    let path = |app: &str| format!("/v1/apps/{app}/drains");
    match command {
        Command::Drains { app, form } => {
            let app = app_name(app.app)?;
            let drains = client.call("GET", &path(&app), None)?;
            if form.json {
                print_json(&drains)?;
                return Ok(ExitCode::SUCCESS);
            }
            let drains = drains.as_array().cloned().unwrap_or_default();
            let rows = drains
                .iter()
                .map(|drain| vec![shown(&drain["url"]), shown(&drain["token"])]);
            let rows: Vec<Vec<String>> = rows.collect();
            if rows.is_empty() {
                say!("{app} has no drains. Add one with: corundum drains:add URL");
            } else {
                table::print(&["URL", "Token"], &rows)?;
            }
        }
        Command::Add { url, app } => {
            let app = app_name(app.app)?;
            let added = client.call("POST", &path(&app), Some(&json!({"url": url})))?;
            say!("Successfully added drain {}", shown(&added["url"]));
        }
        Command::Remove { url, app } => {
            let app = app_name(app.app)?;
            let removed = client.call("DELETE", &path(&app), Some(&json!({"url": url})))?;
            say!("Successfully removed drain {}", shown(&removed["url"]));
        }
    }
    Ok(ExitCode::SUCCESS)
}
