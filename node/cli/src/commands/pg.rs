//! `pg:info`, `pg:psql` and the backups of databases.

mod backups;

use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use corundum_api::addon::{AddonAttachmentResource, AddonFact, AddonResource};
use percent_encoding::percent_decode_str;

use self::backups::BackupsCommand;
use super::addons::addon_path;
use crate::app_option::AppOption;
use crate::client::{ApiClient, app_path};
use crate::output::say;
use crate::tunnel::{self, LocalProgram};

/// The config var of an app's first database.
const DATABASE: &str = "DATABASE_URL";

/// Commands about databases.
#[derive(Subcommand)]
pub enum PgCommand {
    /// Show the databases of the app
    #[command(name = "pg:info")]
    Info {
        #[command(flatten)]
        app: AppOption,
    },
    /// Open a session of psql on a database
    ///
    /// Runs the psql of this machine, which connects through the node. Needs Debian's package postgresql-client here.
    ///
    /// Example: corundum pg:psql -c 'select count(*) from users'
    #[command(name = "pg:psql", visible_alias = "psql")]
    Psql {
        /// Name of the add-on, of its attachment or of its config var
        #[arg(default_value = DATABASE)]
        database: String,
        /// Run these statements instead of a session
        #[arg(short, long, value_name = "SQL")]
        command: Option<String>,
        /// Run the statements of this file instead of a session
        #[arg(short, long, value_name = "FILE", conflicts_with = "command")]
        file: Option<String>,
        #[command(flatten)]
        app: AppOption,
    },
    #[command(flatten)]
    Backups(BackupsCommand),
}

/// Runs a command about databases.
pub(super) fn run(command: PgCommand, client: &ApiClient) -> anyhow::Result<ExitCode> {
    match command {
        PgCommand::Info { app } => info(client, &app.name()?, "postgres")?,
        PgCommand::Psql {
            database,
            command,
            file,
            app,
        } => return psql(client, &app.name()?, &database, command, file),
        PgCommand::Backups(command) => backups::run(command, client)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints what a service tells about the app's add-ons.
pub(super) fn info(client: &ApiClient, app: &str, service: &str) -> anyhow::Result<()> {
    let addons: Vec<AddonResource> = client.get(&app_path(app, "/addons"))?;
    let mut addons = addons.into_iter();
    let mut of_service = addons
        .by_ref()
        .filter(|addon| addon.addon_service.name == service)
        .peekable();
    if of_service.peek().is_none() {
        say!("{app} has no add-on of {service}: corundum addons:create {service}");
    }
    for addon in of_service {
        say!("=== {}", addon.config_vars.join(", "));
        say!("Plan: {}", addon.plan.name);
        say!("Add-on: {}", addon.name);
        if addon.state == "provisioned" {
            let path = format!("{}/info", addon_path(app, &addon.name));
            let facts: Vec<AddonFact> = client.get(&path)?;
            for fact in facts {
                say!("{}: {}", fact.name, fact.value);
            }
        }
        say!("Created: {}", addon.created_at);
    }
    Ok(())
}

/// The parts of the URL in a config var.
pub(super) struct ServerUrl {
    pub(super) user: String,
    pub(super) password: String,
    pub(super) database: String,
    /// The options after the question mark.
    pub(super) query: String,
}

/// Returns the URL of an add-on as the app has it, from the config vars.
pub(super) fn server_url(
    client: &ApiClient,
    app: &str,
    identity: &str,
) -> anyhow::Result<ServerUrl> {
    let addon: AddonResource = client.get(&addon_path(app, identity))?;
    let attached: Vec<AddonAttachmentResource> =
        client.get(&app_path(app, "/addon-attachments"))?;
    let attachment = attached.iter().find(|one| one.addon.id == addon.id);
    let variable = attachment.and_then(|one| one.config_vars.first());
    let variable = variable.with_context(|| format!("{} is not attached to {app}", addon.name))?;
    let config: std::collections::BTreeMap<String, String> =
        client.get(&app_path(app, "/config-vars"))?;
    let url = config.get(variable);
    let url = url.with_context(|| format!("{variable} is not set"))?;
    parse(url).with_context(|| format!("{variable} is not the URL of a server"))
}

fn parse(url: &str) -> Option<ServerUrl> {
    let (_, rest) = url.split_once("://")?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (login, _) = authority.rsplit_once('@')?;
    let (user, password) = login.split_once(':')?;
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    Some(ServerUrl {
        user: decoded(user),
        password: decoded(password),
        database: decoded(database),
        query: query.to_owned(),
    })
}

fn psql(
    client: &ApiClient,
    app: &str,
    database: &str,
    command: Option<String>,
    file: Option<String>,
) -> anyhow::Result<ExitCode> {
    let url = server_url(client, app, database)?;
    let mut arguments = Vec::new();
    for (option, value) in [("--command", command), ("--file", file)] {
        if let Some(value) = value {
            arguments.extend([option.to_owned(), value]);
        }
    }
    let needs_tls = url.query.contains("sslmode=");
    let path = format!("{}/tunnel", addon_path(app, database));
    tunnel::run(path, |port| LocalProgram {
        name: "psql",
        package: "postgresql-client",
        arguments,
        environment: vec![
            ("PGHOST", "127.0.0.1".to_owned()),
            ("PGPORT", port.to_string()),
            ("PGUSER", url.user),
            ("PGPASSWORD", url.password),
            ("PGDATABASE", url.database),
            (
                "PGSSLMODE",
                if needs_tls { "require" } else { "disable" }.to_owned(),
            ),
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_of_a_server_is_read() {
        let url = parse("postgres://u:p%2Fw@db.internal:5432/d?sslmode=require").unwrap();
        assert_eq!(
            (&*url.user, &*url.password, &*url.database, &*url.query),
            ("u", "p/w", "d", "sslmode=require")
        );
        let redis = parse("redis://:secret@127.0.0.1:6379").unwrap();
        assert_eq!((&*redis.user, &*redis.password), ("", "secret"));
        for text in ["", "postgres://host/d", "postgres://u@host/d", "u:p@host"] {
            assert!(parse(text).is_none(), "{text}");
        }
    }
}
