//! `upgrade:status`.

use clap::Subcommand;
use corundum_api::upgrade::{PreparedImages, UpgradeResource};

use crate::client::ApiClient;
use crate::output::{OutputOption, print_json, say};
use crate::table::Table;

/// Commands about upgrades of the node.
#[derive(Subcommand)]
pub enum UpgradeCommand {
    /// Show the progress of an upgrade of the node
    ///
    /// After SIGHUP, a new process prepares the images of busy apps while the old one serves, those used last first. It
    /// takes over when they are ready, and makes the other images at the first request to their app.
    #[command(name = "upgrade:status")]
    Status(OutputOption),
}

/// Runs a command about upgrades.
pub(super) fn run(command: UpgradeCommand, client: &ApiClient) -> anyhow::Result<()> {
    let UpgradeCommand::Status(output) = command;
    let upgrade: UpgradeResource = client.get("/v1/upgrade")?;
    if output.json {
        return print_json(&upgrade);
    }
    say!("State    {}", upgrade.state.as_str());
    if let (Some(version), Some(pid)) = (&upgrade.version, upgrade.pid) {
        say!("Process  {pid}, version {version}");
    }
    if let Some(message) = &upgrade.message {
        say!("Reason   {message}");
    }
    say!();
    let row = |what: &str, images: PreparedImages| {
        [
            what.to_owned(),
            images.total.to_string(),
            images.ready.to_string(),
            images.failed.to_string(),
        ]
    };
    Table::new(["Images", "Total", "Ready", "Failed"])
        .with_rows([
            row("busy apps, before the takeover", upgrade.busy),
            row("all apps, now", upgrade.images),
        ])
        .print()?;
    Ok(())
}
