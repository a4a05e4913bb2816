//! `cron`.

use clap::Args;
use corundum_api::cron::CronResource;

use crate::app_option::AppOption;
use crate::client::{ApiClient, app_path};
use crate::output::{OutputOption, print_json, say};
use crate::table::Table;

/// List the scheduled commands of an app
///
/// The key "cron" of app.json has them: {"cron": [{"schedule": "30 4 * * *", "command": "rake cleanup"}]}. Each runs in a dyno of
/// its own, named scheduler and a number.
#[derive(Args)]
pub struct CronArguments {
    #[command(flatten)]
    app: AppOption,
    #[command(flatten)]
    output: OutputOption,
}

/// Runs `cron`.
pub(super) fn run(arguments: CronArguments, client: &ApiClient) -> anyhow::Result<()> {
    let app = arguments.app.name()?;
    let commands: Vec<CronResource> = client.get(&app_path(&app, "/cron"))?;
    if arguments.output.json {
        return print_json(&commands);
    }
    if commands.is_empty() {
        say!("{app} has no scheduled commands: its app.json has no \"cron\".");
        return Ok(());
    }
    let none = || "-".to_owned();
    let rows = commands.iter().map(|one| {
        [
            one.schedule.clone(),
            one.timezone.clone(),
            one.command.clone(),
            one.next_at.map_or_else(none, |at| at.to_string()),
            one.last_at.map_or_else(none, |at| at.to_string()),
        ]
    });
    let headings = ["Schedule", "Zone", "Command", "Next run", "Last run"];
    Table::new(headings).with_rows(rows).print()?;
    Ok(())
}
