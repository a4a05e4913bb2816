//! `outbound`, `outbound:add` and `outbound:remove`.

use clap::Subcommand;
use corundum_api::outbound::{OutboundGrantCreate, OutboundGrantResource, OutboundResource};

use crate::app_option::AppOption;
use crate::client::{ApiClient, app_path, segment};
use crate::output::{OutputOption, print_json, say};
use crate::table::Table;

/// Commands about outbound connections.
#[derive(Subcommand)]
pub enum OutboundCommand {
    /// List the targets that the app may connect to
    ///
    /// Prints the list in app.json of the current release and the targets that are granted to the app beside it.
    Outbound {
        #[command(flatten)]
        app: AppOption,
        #[command(flatten)]
        output: OutputOption,
    },
    /// Let the app connect to a target
    ///
    /// TARGET is https://HOST, http://HOST, tcp://HOST:PORT, udp://HOST:PORT, a network as 10.0.0.0/8, or * for all public
    /// addresses. HOST is a name, *.NAME for all names below it, or an address. A private address needs such a grant; one of
    /// the node itself, of its link or of a cloud's metadata needs a grant of exactly this address. Running dynos may
    /// connect at once.
    ///
    /// Example: corundum outbound:add tcp://db.internal:5432
    #[command(name = "outbound:add")]
    Add {
        /// Target to grant
        target: String,
        #[command(flatten)]
        app: AppOption,
    },
    /// Take a granted target from the app
    ///
    /// Dynos open no further connection to it and are replaced one by one, so that open connections end.
    #[command(name = "outbound:remove")]
    Remove {
        /// Target to take
        target: String,
        #[command(flatten)]
        app: AppOption,
    },
}

/// Runs a command about outbound connections.
pub(super) fn run(command: OutboundCommand, client: &ApiClient) -> anyhow::Result<()> {
    match command {
        OutboundCommand::Outbound { app, output } => list(client, &app.name()?, output)?,
        OutboundCommand::Add { target, app } => {
            let app = app.name()?;
            let request = OutboundGrantCreate { target };
            let added: OutboundGrantResource =
                client.post(&app_path(&app, "/outbound"), &request)?;
            say!("Granting {} to {app}... done", added.target);
        }
        OutboundCommand::Remove { target, app } => {
            let app = app.name()?;
            let path = app_path(&app, &format!("/outbound/{}", segment(&target)));
            let removed: OutboundGrantResource = client.delete(&path)?;
            say!("Taking {} from {app}... done", removed.target);
        }
    }
    Ok(())
}

fn list(client: &ApiClient, app: &str, output: OutputOption) -> anyhow::Result<()> {
    let outbound: OutboundResource = client.get(&app_path(app, "/outbound"))?;
    if output.json {
        return print_json(&outbound);
    }
    say!("{}", summary(app, &outbound));
    let listed = outbound.listed.unwrap_or_default().into_iter();
    // The node refuses listed targets where it allows granted ones only.
    let listed = listed.filter(|_| outbound.default != "granted");
    let listed = listed.map(|target| [target, "app.json".to_owned(), String::new()]);
    let grants = outbound.grants.into_iter();
    let grants = grants.map(|grant| {
        let added = grant.created_at.to_string();
        [grant.target, "granted".to_owned(), added]
    });
    let table = Table::new(["Target", "Source", "Added"]).with_rows(listed.chain(grants));
    if !table.is_empty() {
        say!();
        table.print()?;
    }
    Ok(())
}

/// Returns the sentence above the table.
fn summary(app: &str, outbound: &OutboundResource) -> String {
    let is_listed = outbound.listed.is_some();
    match outbound.default.as_str() {
        "granted" => format!("{app} connects to granted targets only."),
        _ if is_listed => {
            format!(
                "{app} connects to the public addresses that app.json lists and to granted targets."
            )
        }
        "listed" => {
            format!(
                "{app} connects to granted targets only, since its app.json has no \"outbound\"."
            )
        }
        _ => format!("{app} connects to all public addresses and to granted targets."),
    }
}
