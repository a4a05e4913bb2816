//! The commands about an app's host names.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::client::{Client, app_name};
use super::commands::{print_json, say, shown};
use super::{App, Form, table};

/// Commands about domains.
#[derive(Subcommand)]
pub(super) enum Command {
    /// List the domains
    ///
    /// The name that the node gives the app, and those that were added.
    Domains {
        #[command(flatten)]
        app: App,
        #[command(flatten)]
        form: Form,
    },
    /// Serve the app at a host name of your own
    ///
    /// The name must lead to this node: at your DNS provider, make it a CNAME of the app's own name, or give it the node's
    /// address. *.example.com stands for every name one label below example.com; a name that was added itself prevails.
    ///
    /// Example: corundum domains:add www.example.com
    #[command(name = "domains:add")]
    Add {
        /// The host name
        hostname: String,
        #[command(flatten)]
        app: App,
    },
    /// Serve the app no longer at a host name
    #[command(name = "domains:remove")]
    Remove {
        /// The host name
        hostname: String,
        #[command(flatten)]
        app: App,
    },
}

/// Runs a command about domains.
pub(super) fn run(command: Command) -> anyhow::Result<ExitCode> {
    let client = Client::new();
    match command {
        Command::Domains { app, form } => list(&client, &app_name(app.app)?, form)?,
        Command::Add { hostname, app } => {
            let app = app_name(app.app)?;
            let path = format!("/v1/apps/{app}/domains");
            let added = client.call("POST", &path, Some(&json!({"hostname": hostname})))?;
            say!("Adding {} to {app}... done", shown(&added["hostname"]));
            say!("Point its DNS record to this node, if it does not yet.");
        }
        Command::Remove { hostname, app } => {
            let app = app_name(app.app)?;
            // What could not be a part of a URL's path is no host name either; the node says so of the rest.
            anyhow::ensure!(
                hostname
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-.*".contains(&b)),
                "Couldn't find that domain name: {hostname}"
            );
            client.call(
                "DELETE",
                &format!("/v1/apps/{app}/domains/{hostname}"),
                None,
            )?;
            say!("Removing {hostname} from {app}... done");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(client: &Client, app: &str, form: Form) -> anyhow::Result<()> {
    let answer = client.call("GET", &format!("/v1/apps/{app}/domains"), None)?;
    if form.json {
        return print_json(&answer);
    }
    say!("=== {app} Corundum Domain");
    say!("{}", shown(&answer["own"]));
    let domains = answer["domains"].as_array().into_iter().flatten();
    let rows: Vec<Vec<String>> = domains
        .map(|domain| vec![shown(&domain["hostname"]), shown(&domain["created_at"])])
        .collect();
    if !rows.is_empty() {
        say!("\n=== {app} Custom Domains");
        table::print(&["Domain Name", "Added"], &rows)?;
    }
    Ok(())
}
