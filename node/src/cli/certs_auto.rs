//! The commands about the certificates that the node gets by itself.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::client::{Client, app_name};
use super::commands::{print_json, say, shown};
use super::{App, Form, table};

/// Commands about automatic certificates.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Show the certificates that the node gets by itself
    ///
    /// For each host of the app how far the node is, and what went wrong. The app's log has the same, as corundum[acme].
    #[command(name = "certs:auto")]
    Auto {
        #[command(flatten)]
        app: App,
        #[command(flatten)]
        form: Form,
    },
    /// Have the node get and renew certificates for the app's domains
    ///
    /// It asks Let's Encrypt, or the ACME server of the node's --acme-directory, to whose terms of service you thereby
    /// agree. The domains must lead to this node, with port 80 to its --http or port 443 to its --https listener. A
    /// certificate is renewed with a third of its life left. Wildcards, and domains that a certificate was added for, are
    /// left out.
    #[command(name = "certs:auto:enable")]
    Enable {
        #[command(flatten)]
        app: App,
    },
    /// Get no certificates for the app any longer, and remove those that were got
    #[command(name = "certs:auto:disable")]
    Disable {
        #[command(flatten)]
        app: App,
    },
    /// Try again now what has failed
    #[command(name = "certs:auto:refresh")]
    Refresh {
        #[command(flatten)]
        app: App,
    },
}

/// Runs a command about automatic certificates.
pub(super) fn run(command: Command) -> anyhow::Result<ExitCode> {
    let client = Client::new();
    match command {
        Command::Auto { app, form } => list(&client, &app_name(app.app)?, form)?,
        Command::Enable { app } => {
            let app = app_name(app.app)?;
            set(&client, &app, "on")?;
            say!("Enabling automatic certificates on {app}... done");
            say!("See how they come with: corundum certs:auto");
        }
        Command::Disable { app } => {
            let app = app_name(app.app)?;
            set(&client, &app, "off")?;
            say!("Disabling automatic certificates on {app}... done");
        }
        Command::Refresh { app } => {
            let app = app_name(app.app)?;
            client.call("POST", &format!("/v1/apps/{app}/certs-auto/refresh"), None)?;
            say!("Refreshing automatic certificates on {app}... done");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn set(client: &Client, app: &str, value: &str) -> anyhow::Result<Value> {
    let change = json!({"certs-auto": value});
    client.call("PATCH", &format!("/v1/apps/{app}/settings"), Some(&change))
}

fn list(client: &Client, app: &str, form: Form) -> anyhow::Result<()> {
    let answer = client.call("GET", &format!("/v1/apps/{app}/certs-auto"), None)?;
    if form.json {
        return print_json(&answer);
    }
    if answer["enabled"] != true {
        say!("Automatic certificates are disabled on {app}: corundum certs:auto:enable");
        return Ok(());
    }
    say!("=== Automatic certificates are enabled on {app}");
    let hosts = answer["hosts"].as_array().cloned().unwrap_or_default();
    let rows: Vec<Vec<String>> = hosts
        .iter()
        .map(|host| {
            ["hostname", "status", "expires_at", "next_attempt_at"]
                .map(|key| shown(&host[key]))
                .to_vec()
        })
        .collect();
    if rows.is_empty() {
        say!("There is no host to get one for: corundum domains:add");
        return Ok(());
    }
    table::print(&["Domain", "Status", "Expires", "Next Attempt"], &rows)?;
    for host in hosts.iter().filter(|host| host["message"].is_string()) {
        say!(
            " !     {}: {}",
            shown(&host["hostname"]),
            shown(&host["message"])
        );
    }
    Ok(())
}
