//! The commands about how the router treats an app's requests.

use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::client::{Client, app_name};
use super::commands::{print_json, say, shown};
use super::{App, Form, table};

/// Commands about settings.
#[derive(Subcommand)]
pub(super) enum Command {
    /// List the app's settings
    ///
    /// What the router does with the app's requests before a dyno sees them. Config vars, which the app itself reads, are
    /// another thing: corundum config.
    Settings {
        #[command(flatten)]
        app: App,
        #[command(flatten)]
        form: Form,
    },
    /// Change settings of the app, at once and without a release
    ///
    ///   https-redirect=on   sends plain requests to https: with 301, or 308 where the method is not GET or HEAD
    ///   hsts=31536000       tells browsers to use https alone for so many seconds; also
    ///                       hsts="31536000; includeSubDomains; preload"
    ///   body-limit=20       refuses requests with more than so many MB (413)
    ///   compression=off     sends what dynos answer as it is, also to clients that ask for gzip, br or zstd
    ///
    /// Example: corundum settings:set https-redirect=on hsts=31536000
    #[command(name = "settings:set", verbatim_doc_comment)]
    Set {
        /// NAME=VALUE
        #[arg(required = true)]
        pairs: Vec<String>,
        #[command(flatten)]
        app: App,
    },
    /// Give settings their defaults
    #[command(name = "settings:unset")]
    Unset {
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
        #[command(flatten)]
        app: App,
    },
}

/// Runs a command about settings.
pub(super) fn run(command: Command) -> anyhow::Result<ExitCode> {
    let client = Client::new();
    match command {
        Command::Settings { app, form } => list(&client, &app_name(app.app)?, form)?,
        Command::Set { pairs, app } => {
            let mut changes = Map::new();
            for pair in pairs {
                let (name, value) = pair
                    .split_once('=')
                    .with_context(|| format!("\"{pair}\" is invalid: write NAME=VALUE"))?;
                changes.insert(name.to_owned(), json!(value));
            }
            change(&client, &app_name(app.app)?, "Setting", changes)?;
        }
        Command::Unset { names, app } => {
            let changes = names.into_iter().map(|name| (name, Value::Null)).collect();
            change(&client, &app_name(app.app)?, "Unsetting", changes)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn change(
    client: &Client,
    app: &str,
    doing: &str,
    changes: Map<String, Value>,
) -> anyhow::Result<()> {
    let names: Vec<String> = changes.keys().cloned().collect();
    let path = format!("/v1/apps/{app}/settings");
    client.call("PATCH", &path, Some(&Value::Object(changes)))?;
    say!("{doing} {} on {app}... done", names.join(", "));
    Ok(())
}

fn list(client: &Client, app: &str, form: Form) -> anyhow::Result<()> {
    let settings = client.call("GET", &format!("/v1/apps/{app}/settings"), None)?;
    if form.json {
        return print_json(&settings);
    }
    say!("=== {app} Settings");
    let settings = settings.as_array().into_iter().flatten();
    let rows: Vec<Vec<String>> = settings
        .map(|setting| {
            ["name", "value", "about"]
                .map(|key| shown(&setting[key]))
                .to_vec()
        })
        .collect();
    Ok(table::print(&["Setting", "Value", "What it does"], &rows)?)
}
