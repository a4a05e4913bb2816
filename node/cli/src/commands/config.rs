//! `config`, `config:set`, `config:get` and `config:unset`.

use anyhow::Context;
use clap::Subcommand;
use corundum_api::app::AppResource;
use corundum_api::config_vars::{ConfigVarsResource, ConfigVarsUpdate};

use super::apps::print_url;
use crate::app_option::AppOption;
use crate::client::{ApiClient, app_path};
use crate::output::{OutputOption, print_json, say};

/// Commands about config vars.
#[derive(Subcommand)]
pub enum ConfigCommand {
    /// Show the config vars
    Config {
        #[command(flatten)]
        app: AppOption,
        #[command(flatten)]
        output: OutputOption,
    },
    /// Set config vars, which makes a release without a build
    ///
    /// The node boots the app with the new values, which takes as long as the app needs to load. If the app does not boot
    /// with them, nothing changes. The node keeps the values in its store and in the app's image, which only its own user
    /// can read; slugs and logs do not contain them.
    ///
    /// Example: corundum config:set SESSION_SECRET=... RACK_ENV=staging
    #[command(name = "config:set")]
    Set {
        /// Variables to set, as NAME=VALUE
        #[arg(required = true)]
        pairs: Vec<String>,
        #[command(flatten)]
        app: AppOption,
    },
    /// Show one config var
    #[command(name = "config:get")]
    Get {
        /// Name of the variable
        name: String,
        #[command(flatten)]
        app: AppOption,
    },
    /// Unset config vars, which makes a release without a build
    #[command(name = "config:unset")]
    Unset {
        /// Names of the variables
        #[arg(required = true)]
        names: Vec<String>,
        #[command(flatten)]
        app: AppOption,
    },
}

/// Runs a command about config vars.
pub(super) fn run(command: ConfigCommand, client: &ApiClient) -> anyhow::Result<()> {
    match command {
        ConfigCommand::Config { app, output } => list(client, &app.name()?, output),
        ConfigCommand::Set { pairs, app } => {
            let changes = pairs.iter().map(|pair| pair_of(pair));
            change(client, &app.name()?, &changes.collect::<Result<_, _>>()?)
        }
        ConfigCommand::Get { name, app } => {
            if let Some(value) = config_vars(client, &app.name()?)?.get(&name) {
                say!("{value}");
            }
            Ok(())
        }
        ConfigCommand::Unset { names, app } => {
            let changes = names.into_iter().map(|name| (name, None));
            change(client, &app.name()?, &changes.collect())
        }
    }
}

/// Splits an argument NAME=VALUE.
pub(super) fn pair_of(pair: &str) -> anyhow::Result<(String, Option<String>)> {
    let (name, value) = pair
        .split_once('=')
        .with_context(|| format!("\"{pair}\": has no value; write NAME=VALUE"))?;
    Ok((name.to_owned(), Some(value.to_owned())))
}

fn config_vars(client: &ApiClient, app: &str) -> anyhow::Result<ConfigVarsResource> {
    client.get(&app_path(app, "/config-vars"))
}

fn list(client: &ApiClient, app: &str, output: OutputOption) -> anyhow::Result<()> {
    let config = config_vars(client, app)?;
    if output.json {
        return print_json(&config);
    }
    say!("=== {app} config vars");
    for (name, value) in config {
        say!("{name}: {value}");
    }
    Ok(())
}

fn change(client: &ApiClient, app: &str, changes: &ConfigVarsUpdate) -> anyhow::Result<()> {
    let _: ConfigVarsResource = client.patch(&app_path(app, "/config-vars"), changes)?;
    // The response is the config alone; the release that it made is the app's current one.
    let info: AppResource = client.get(&app_path(app, ""))?;
    let release = info.release.map(|release| format!(", {}", release.version));
    let names: Vec<&str> = changes.keys().map(String::as_str).collect();
    say!(
        "Setting {} on {app}... done{}",
        names.join(", "),
        release.unwrap_or_default()
    );
    print_url(&info)
}
