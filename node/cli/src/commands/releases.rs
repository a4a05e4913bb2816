//! `releases`.

use clap::Args;
use corundum_api::release::ReleaseResource;

use crate::app_option::AppOption;
use crate::client::{ApiClient, app_path};
use crate::output::{OutputOption, print_json, say};
use crate::table::Table;

/// List the releases
///
/// A release is a slug with config vars. Each push makes one, and so do config:set, config:unset and rollback.
#[derive(Args)]
pub struct ReleasesArguments {
    #[command(flatten)]
    app: AppOption,
    #[command(flatten)]
    output: OutputOption,
}

/// Runs `releases`.
pub(super) fn run(arguments: ReleasesArguments, client: &ApiClient) -> anyhow::Result<()> {
    let app = arguments.app.name()?;
    let releases: Vec<ReleaseResource> = client.get(&app_path(&app, "/releases"))?;
    if arguments.output.json {
        return print_json(&releases);
    }
    let rows = releases.into_iter().map(|release| {
        [
            release.version.to_string(),
            release.description,
            release.created_at.to_string(),
        ]
    });
    let table = Table::new(["Release", "Description", "Created"]).with_rows(rows);
    if table.is_empty() {
        say!("{app} has no releases. Make one with: git push corundum main");
    } else {
        table.print()?;
    }
    Ok(())
}
