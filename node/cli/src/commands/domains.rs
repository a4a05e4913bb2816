//! `domains`, `domains:add` and `domains:remove`.

use clap::Subcommand;
use corundum_api::domain::{DomainCreate, DomainKind, DomainResource};
use corundum_api::patch::Patch;

use crate::app_option::AppOption;
use crate::client::{ApiClient, app_path, segment};
use crate::output::{OutputOption, print_json, say};
use crate::table::Table;

/// Commands about domains.
#[derive(Subcommand)]
pub enum DomainsCommand {
    /// List the domains
    ///
    /// Prints the name that the node gives the app, then the domains that were added.
    Domains {
        #[command(flatten)]
        app: AppOption,
        #[command(flatten)]
        output: OutputOption,
    },
    /// Serve the app at a host name of your own
    ///
    /// The name must lead to this node: at your DNS provider, make it a CNAME of the app's own name, or give it the node's
    /// address. *.example.com stands for every name one label below example.com; a domain that names the host exactly
    /// takes precedence.
    ///
    /// Example: corundum domains:add www.example.com
    #[command(name = "domains:add")]
    Add {
        /// Host name to add
        hostname: String,
        #[command(flatten)]
        app: AppOption,
    },
    /// Stop serving the app at a host name
    #[command(name = "domains:remove")]
    Remove {
        /// Host name to remove
        hostname: String,
        #[command(flatten)]
        app: AppOption,
    },
}

/// Runs a command about domains.
pub(super) fn run(command: DomainsCommand, client: &ApiClient) -> anyhow::Result<()> {
    match command {
        DomainsCommand::Domains { app, output } => list(client, &app.name()?, output)?,
        DomainsCommand::Add { hostname, app } => {
            let app = app.name()?;
            let request = DomainCreate {
                hostname,
                sni_endpoint: Patch::Absent,
            };
            let added: DomainResource = client.post(&app_path(&app, "/domains"), &request)?;
            say!("Adding {} to {app}... done", added.hostname);
            say!("Point its DNS record to this node if it does not do so yet.");
        }
        DomainsCommand::Remove { hostname, app } => {
            let app = app.name()?;
            let path = app_path(&app, &format!("/domains/{}", segment(&hostname)));
            let removed: DomainResource = client.delete(&path)?;
            say!("Removing {} from {app}... done", removed.hostname);
        }
    }
    Ok(())
}

fn list(client: &ApiClient, app: &str, output: OutputOption) -> anyhow::Result<()> {
    let domains: Vec<DomainResource> = client.get(&app_path(app, "/domains"))?;
    if output.json {
        return print_json(&domains);
    }
    let (own, custom): (Vec<DomainResource>, Vec<DomainResource>) = domains
        .into_iter()
        .partition(|domain| domain.kind == DomainKind::Heroku);
    say!("=== {app} Corundum domain");
    for domain in own {
        say!("{}", domain.hostname);
    }
    let rows = custom
        .into_iter()
        .map(|domain| [domain.hostname, domain.created_at.to_string()]);
    let table = Table::new(["Domain", "Added"]).with_rows(rows);
    if !table.is_empty() {
        say!("\n=== {app} custom domains");
        table.print()?;
    }
    Ok(())
}
