//! `certs:auto`, `certs:auto:enable`, `certs:auto:disable` and `certs:auto:refresh`.

use clap::Subcommand;
use corundum_api::acm::AcmResource;
use corundum_api::app::AppResource;

use crate::app_option::AppOption;
use crate::client::{ApiClient, app_path};
use crate::output::{OutputOption, print_json, say};
use crate::table::Table;
use crate::units::or_dash;

/// Commands about automatic certificates.
#[derive(Subcommand)]
pub enum CertsAutoCommand {
    /// Show the state of the app's automatic certificates
    ///
    /// Prints for each host of the app the state of its certificate and the last error. The app's log has the same, from
    /// corundum[acme].
    #[command(name = "certs:auto")]
    Auto {
        #[command(flatten)]
        app: AppOption,
        #[command(flatten)]
        output: OutputOption,
    },
    /// Let the node get and renew certificates for the app's domains
    ///
    /// The node requests them from Let's Encrypt, or from the ACME server of its --acme-directory; with this command you
    /// agree to that server's terms of service. The domains must lead to this node, with port 80 to its --http or port 443
    /// to its --https listener. The node renews a certificate when a third of its lifetime is left. It skips wildcards and
    /// domains that have a certificate added by certs:add.
    #[command(name = "certs:auto:enable")]
    Enable(AppOption),
    /// Stop getting certificates for the app, and remove those that the node got
    #[command(name = "certs:auto:disable")]
    Disable(AppOption),
    /// Try failed certificates again now
    #[command(name = "certs:auto:refresh")]
    Refresh(AppOption),
}

/// Runs a command about automatic certificates.
pub(super) fn run(command: CertsAutoCommand, client: &ApiClient) -> anyhow::Result<()> {
    match command {
        CertsAutoCommand::Auto { app, output } => list(client, &app.name()?, output)?,
        CertsAutoCommand::Enable(app) => {
            let app = change(client, "POST", app)?;
            say!("Enabling automatic certificates on {}... done", app.name);
            say!("Follow their progress with: corundum certs:auto");
        }
        CertsAutoCommand::Disable(app) => {
            let app = change(client, "DELETE", app)?;
            say!("Disabling automatic certificates on {}... done", app.name);
        }
        CertsAutoCommand::Refresh(app) => {
            let app = change(client, "PATCH", app)?;
            say!("Refreshing automatic certificates on {}... done", app.name);
        }
    }
    Ok(())
}

fn change(client: &ApiClient, method: &str, app: AppOption) -> anyhow::Result<AppResource> {
    client.call(method, &app_path(&app.name()?, "/acm"), None::<&()>)
}

fn list(client: &ApiClient, app: &str, output: OutputOption) -> anyhow::Result<()> {
    let acm: AcmResource = client.get(&app_path(app, "/acm"))?;
    if output.json {
        return print_json(&acm);
    }
    if !acm.enabled {
        say!("Automatic certificates are disabled on {app}: corundum certs:auto:enable");
        return Ok(());
    }
    say!("=== Automatic certificates are enabled on {app}");
    let rows = acm.hosts.iter().map(|host| {
        [
            host.hostname.clone(),
            host.status.clone(),
            or_dash(host.expires_at),
            or_dash(host.next_attempt_at),
        ]
    });
    let table = Table::new(["Domain", "Status", "Expires", "Next attempt"]).with_rows(rows);
    if table.is_empty() {
        say!("No host needs a certificate. Add a domain with: corundum domains:add");
        return Ok(());
    }
    table.print()?;
    for host in &acm.hosts {
        if let Some(message) = &host.message {
            say!(" !     {}: {message}", host.hostname);
        }
    }
    Ok(())
}
