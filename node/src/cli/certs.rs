//! The commands about certificates.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Client, app_name};
use super::commands::{print_json, say, shown};
use super::{App, Form, table};

/// Commands about certificates.
#[derive(Subcommand)]
pub(super) enum Command {
    /// List the certificates
    ///
    /// What the node shows for the app's hosts on its https listener. Private keys are never shown.
    Certs {
        #[command(flatten)]
        app: App,
        #[command(flatten)]
        form: Form,
    },
    /// Add a certificate
    ///
    /// It is shown at once for those of its names that are the app's domains, and open connections go on. It may not have
    /// expired, the key must be its own, and intermediate certificates follow it in its file.
    ///
    /// Example: corundum certs:add fullchain.pem privkey.pem
    #[command(name = "certs:add")]
    Add {
        #[command(flatten)]
        files: Files,
        /// A name for it; one is made up if none is given
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        app: App,
    },
    /// Put another certificate in the place of one
    ///
    /// Example: corundum certs:update fullchain.pem privkey.pem --name amber-brook-12345
    #[command(name = "certs:update")]
    Update {
        #[command(flatten)]
        files: Files,
        #[command(flatten)]
        which: Which,
    },
    /// Show a certificate
    #[command(name = "certs:info")]
    Info {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        form: Form,
    },
    /// Remove a certificate
    ///
    /// Clients that ask for its hosts are refused from then on, unless another certificate is for them.
    #[command(name = "certs:remove")]
    Remove {
        #[command(flatten)]
        which: Which,
    },
}

/// A certificate and its key.
#[derive(Args)]
pub(super) struct Files {
    /// The certificate in PEM, those that issued it behind it
    certificate: PathBuf,
    /// Its private key in PEM, not encrypted
    key: PathBuf,
}

/// Which certificate is meant.
#[derive(Args)]
pub(super) struct Which {
    /// Its name, if the app has several
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    app: App,
}

impl Which {
    /// The app, and the certificate as the node shows it.
    fn find(self, client: &Client) -> anyhow::Result<(String, Value)> {
        let app = app_name(self.app.app)?;
        let certs = client.call("GET", &format!("/v1/apps/{app}/certs"), None)?;
        let mut certs = certs.as_array().cloned().unwrap_or_default();
        if let Some(name) = &self.name {
            certs.retain(|cert| cert["name"] == name.as_str());
        }
        match (certs.len(), self.name) {
            (1, _) => Ok((app, certs.remove(0))),
            (0, None) => bail!("{app} has no certificates. Add one with: corundum certs:add"),
            (_, Some(name)) => bail!("Couldn't find that certificate: {name}"),
            (_, None) => bail!("{app} has several certificates: say which with --name"),
        }
    }
}

/// Runs a command about certificates.
pub(super) fn run(command: Command) -> anyhow::Result<ExitCode> {
    let client = Client::new();
    match command {
        Command::Certs { app, form } => list(&client, &app_name(app.app)?, form)?,
        Command::Add { files, name, app } => {
            let app = app_name(app.app)?;
            let put = put(&client, &app, name, &files)?;
            say!(
                "Adding certificate {} to {app}... done",
                shown(&put["name"])
            );
            describe(&put)?;
        }
        Command::Update { files, which } => {
            let (app, old) = which.find(&client)?;
            let put = put(&client, &app, Some(shown(&old["name"])), &files)?;
            say!(
                "Updating certificate {} of {app}... done",
                shown(&put["name"])
            );
            describe(&put)?;
        }
        Command::Info { which, form } => {
            let (_, cert) = which.find(&client)?;
            if form.json {
                print_json(&cert)?;
            } else {
                say!("=== {}", shown(&cert["name"]));
                describe(&cert)?;
            }
        }
        Command::Remove { which } => {
            let (app, cert) = which.find(&client)?;
            let name = shown(&cert["name"]);
            client.call("DELETE", &format!("/v1/apps/{app}/certs/{name}"), None)?;
            say!("Removing certificate {name} from {app}... done");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn put(client: &Client, app: &str, name: Option<String>, files: &Files) -> anyhow::Result<Value> {
    let text = |path: &Path| {
        let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
        // What is no text is no PEM; the node says what it should be.
        Ok::<_, anyhow::Error>(String::from_utf8_lossy(&bytes).into_owned())
    };
    let body = json!({
        "name": name,
        "certificate_chain": text(&files.certificate)?,
        "private_key": text(&files.key)?,
    });
    client.call("POST", &format!("/v1/apps/{app}/certs"), Some(&body))
}

fn joined(value: &Value) -> String {
    let parts = value.as_array().into_iter().flatten();
    parts.map(shown).collect::<Vec<_>>().join(", ")
}

fn list(client: &Client, app: &str, form: Form) -> anyhow::Result<()> {
    let certs = client.call("GET", &format!("/v1/apps/{app}/certs"), None)?;
    if form.json {
        return print_json(&certs);
    }
    let rows: Vec<Vec<String>> = certs
        .as_array()
        .into_iter()
        .flatten()
        .map(|cert| {
            let expires = match cert["expired"].as_bool() {
                Some(true) => format!("{}, expired", shown(&cert["expires_at"])),
                _ => shown(&cert["expires_at"]),
            };
            vec![
                shown(&cert["name"]),
                joined(&cert["common_names"]),
                expires,
                shown(&cert["origin"]),
            ]
        })
        .collect();
    if rows.is_empty() {
        say!("{app} has no certificates. Add one with: corundum certs:add");
    } else {
        table::print(&["Name", "Common Name(s)", "Expires", "Origin"], &rows)?;
    }
    Ok(())
}

fn describe(cert: &Value) -> anyhow::Result<()> {
    let trusted = match cert["self_signed"].as_bool() {
        Some(true) => "self-signed: browsers will not trust it".to_owned(),
        _ => shown(&cert["issuer"]),
    };
    for (label, value) in [
        ("Common Name(s)", joined(&cert["common_names"])),
        ("Shown For", joined(&cert["shown_for"])),
        ("Starts At", shown(&cert["starts_at"])),
        ("Expires At", shown(&cert["expires_at"])),
        ("Subject", shown(&cert["subject"])),
        ("Issuer", trusted),
        ("Serial", shown(&cert["serial"])),
        ("SHA-256", shown(&cert["fingerprint"])),
    ] {
        say!("{:16} {value}", format!("{label}:"));
    }
    Ok(())
}
