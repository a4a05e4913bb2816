//! `settings`, `settings:set` and `settings:unset`.

use clap::Subcommand;
use corundum_api::settings::{SettingResource, SettingsUpdate};

use super::config::pair_of;
use crate::app_option::AppOption;
use crate::client::{ApiClient, app_path};
use crate::output::{OutputOption, print_json, say};
use crate::table::Table;

/// Commands about settings.
#[derive(Subcommand)]
pub enum SettingsCommand {
    /// List the app's settings
    ///
    /// Settings say how the router treats the app's requests before a dyno sees them. Config vars, which the app itself
    /// reads, are separate: corundum config.
    Settings {
        #[command(flatten)]
        app: AppOption,
        #[command(flatten)]
        output: OutputOption,
    },
    /// Change settings of the app, at once and without a release
    ///
    ///   https-redirect=on   redirect plain requests to https: with 301, or 308 if the method is not GET or HEAD
    ///   hsts=31536000       tell browsers to use only https for this many seconds; also
    ///                       hsts="31536000; includeSubDomains; preload"
    ///   volume=1GB          give all dynos a persistent directory at /data
    ///   body-limit=20       refuse requests with more than this many MB (413)
    ///   compression=off     send dynos' responses as they are, also to clients that accept gzip, br or zstd
    ///
    /// Example: corundum settings:set https-redirect=on hsts=31536000
    #[command(name = "settings:set", verbatim_doc_comment)]
    Set {
        /// Settings to change, as NAME=VALUE
        #[arg(required = true)]
        pairs: Vec<String>,
        #[command(flatten)]
        app: AppOption,
    },
    /// Restore the defaults of settings
    #[command(name = "settings:unset")]
    Unset {
        /// Names of the settings
        #[arg(required = true)]
        names: Vec<String>,
        #[command(flatten)]
        app: AppOption,
    },
}

/// Runs a command about settings.
pub(super) fn run(command: SettingsCommand, client: &ApiClient) -> anyhow::Result<()> {
    match command {
        SettingsCommand::Settings { app, output } => list(client, &app.name()?, output),
        SettingsCommand::Set { pairs, app } => {
            let changes = pairs.iter().map(|pair| pair_of(pair));
            let changes: SettingsUpdate = changes.collect::<Result<_, _>>()?;
            let (app, names) = change(client, app, &changes)?;
            say!("Setting {names} on {app}... done");
            Ok(())
        }
        SettingsCommand::Unset { names, app } => {
            let changes = names.into_iter().map(|name| (name, None)).collect();
            let (app, names) = change(client, app, &changes)?;
            say!("Unsetting {names} on {app}... done");
            Ok(())
        }
    }
}

/// Changes settings and returns the app and the names that were changed.
fn change(
    client: &ApiClient,
    app: AppOption,
    changes: &SettingsUpdate,
) -> anyhow::Result<(String, String)> {
    let app = app.name()?;
    let _: Vec<SettingResource> = client.patch(&app_path(&app, "/settings"), changes)?;
    let names: Vec<&str> = changes.keys().map(String::as_str).collect();
    Ok((app, names.join(", ")))
}

fn list(client: &ApiClient, app: &str, output: OutputOption) -> anyhow::Result<()> {
    let settings: Vec<SettingResource> = client.get(&app_path(app, "/settings"))?;
    if output.json {
        return print_json(&settings);
    }
    say!("=== {app} settings");
    let rows = settings
        .into_iter()
        .map(|setting| [setting.name, setting.value, setting.about]);
    Ok(Table::new(["Setting", "Value", "Effect"])
        .with_rows(rows)
        .print()?)
}
