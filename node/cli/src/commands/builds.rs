//! `builds`.

use clap::Args;
use corundum_api::build::{BuildResource, BuildStatus};

use crate::app_option::AppOption;
use crate::client::{ApiClient, app_path};
use crate::output::{OutputOption, print_json, say};
use crate::table::Table;

/// List the builds of pushes
///
/// The node runs as many builds at once as it has memory for. Others wait, and the listing shows how many are before each.
#[derive(Args)]
pub struct BuildsArguments {
    #[command(flatten)]
    app: AppOption,
    #[command(flatten)]
    output: OutputOption,
}

/// Runs `builds`.
pub(super) fn run(arguments: BuildsArguments, client: &ApiClient) -> anyhow::Result<()> {
    let app = arguments.app.name()?;
    let builds: Vec<BuildResource> = client.get(&app_path(&app, "/builds"))?;
    if arguments.output.json {
        return print_json(&builds);
    }
    let rows = builds.into_iter().map(|build| {
        let commit = build.source_blob.version.unwrap_or_default();
        [
            commit.chars().take(8).collect(),
            state(build.status, build.builds_before),
            build.created_at.to_string(),
        ]
    });
    let table = Table::new(["Commit", "State", "Started"]).with_rows(rows);
    if table.is_empty() {
        say!("{app} has no builds. Start one with: git push corundum main");
    } else {
        table.print()?;
    }
    Ok(())
}

fn state(status: BuildStatus, before: Option<usize>) -> String {
    match (status, before) {
        (BuildStatus::Pending, Some(1)) => "waits for 1 build".to_owned(),
        (BuildStatus::Pending, Some(before)) => format!("waits for {before} builds"),
        (BuildStatus::Pending, None) => "running".to_owned(),
        (BuildStatus::Succeeded, _) => "succeeded".to_owned(),
        (BuildStatus::Failed, _) => "failed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_build_shows_its_place() {
        assert_eq!(state(BuildStatus::Pending, Some(2)), "waits for 2 builds");
        assert_eq!(state(BuildStatus::Pending, None), "running");
        assert_eq!(state(BuildStatus::Failed, None), "failed");
    }
}
