//! `drains`, `drains:add` and `drains:remove`.

use clap::Subcommand;
use corundum_api::log_drain::{LogDrainCreate, LogDrainResource};

use crate::app_option::AppOption;
use crate::client::{ApiClient, app_path, segment};
use crate::output::{OutputOption, print_json, say};
use crate::table::Table;

/// Commands about log drains.
#[derive(Subcommand)]
pub enum DrainsCommand {
    /// List the log drains
    ///
    /// Masks passwords and queries in their URLs.
    Drains {
        #[command(flatten)]
        app: AppOption,
        #[command(flatten)]
        output: OutputOption,
    },
    /// Send the app's log to a receiver as it is written
    ///
    /// syslog://HOST:PORT and syslog+tls://HOST:PORT get RFC 5424 messages in octet-counted frames; https://… gets batches
    /// of them (application/logplex-1), with basic authentication if the URL has a user. A drain that cannot keep up loses
    /// the oldest lines and is told how many (Error L10); the app does not notice.
    ///
    /// Example: corundum drains:add syslog+tls://logs.example.com:6514
    #[command(name = "drains:add")]
    Add {
        /// URL of the receiver
        url: String,
        #[command(flatten)]
        app: AppOption,
    },
    /// Stop sending the app's log to a receiver
    #[command(name = "drains:remove")]
    Remove {
        /// URL of the drain, as given or as `corundum drains` prints it, or its token
        url: String,
        #[command(flatten)]
        app: AppOption,
    },
}

/// Runs a command about log drains.
pub(super) fn run(command: DrainsCommand, client: &ApiClient) -> anyhow::Result<()> {
    match command {
        DrainsCommand::Drains { app, output } => list(client, &app.name()?, output)?,
        DrainsCommand::Add { url, app } => {
            let path = app_path(&app.name()?, "/log-drains");
            let added: LogDrainResource = client.post(&path, &LogDrainCreate { url })?;
            say!("Successfully added drain {}", added.url);
        }
        DrainsCommand::Remove { url, app } => {
            let path = app_path(&app.name()?, &format!("/log-drains/{}", segment(&url)));
            let removed: LogDrainResource = client.delete(&path)?;
            say!("Successfully removed drain {}", removed.url);
        }
    }
    Ok(())
}

fn list(client: &ApiClient, app: &str, output: OutputOption) -> anyhow::Result<()> {
    let drains: Vec<LogDrainResource> = client.get(&app_path(app, "/log-drains"))?;
    if output.json {
        return print_json(&drains);
    }
    let rows = drains.into_iter().map(|drain| [drain.url, drain.token]);
    let table = Table::new(["URL", "Token"]).with_rows(rows);
    if table.is_empty() {
        say!("{app} has no drains. Add one with: corundum drains:add URL");
    } else {
        table.print()?;
    }
    Ok(())
}
