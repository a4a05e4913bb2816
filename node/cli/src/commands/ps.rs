//! `ps`, `ps:scale` and `ps:restart`.

use anyhow::Context;
use clap::Subcommand;
use corundum_abi::names::ProcessType;
use corundum_api::app::AppResource;
use corundum_api::dyno::DynoResource;
use corundum_api::formation::{FormationBatchUpdate, FormationResource, FormationUpdate, Quantity};
use serde::Deserialize;

use super::apps::{print_url, web_quantity};
use super::autoscale;
use crate::app_option::AppOption;
use crate::client::{ApiClient, app_path};
use crate::output::{OutputOption, print_json, say};
use crate::table::Table;
use crate::units::percentiles;

/// Commands about dynos.
#[derive(Subcommand)]
pub enum PsCommand {
    /// List the dynos
    ///
    /// Lists only dynos that exist: they start with the requests that need them and end after a minute without any.
    /// Memory is what the dyno has for itself, Shared what the dynos of a release share until one writes to it.
    /// Requests, errors and service times are those of the last five minutes.
    Ps {
        #[command(flatten)]
        app: AppOption,
        #[command(flatten)]
        output: OutputOption,
    },
    /// Set the most web dynos of an app
    ///
    /// Each dyno serves one request at a time. The node starts none ahead of requests; web=0 takes the app out of service.
    ///
    /// Example: corundum ps:scale web=32
    #[command(name = "ps:scale")]
    Scale {
        /// Most web dynos, as web=NUMBER
        formation: String,
        #[command(flatten)]
        app: AppOption,
    },
    /// Replace the dynos with fresh ones
    #[command(name = "ps:restart", visible_alias = "restart")]
    Restart(AppOption),
}

/// The empty object that actions answer.
#[derive(Deserialize)]
struct EmptyResponse {}

/// Runs a command about dynos.
pub(super) fn run(command: PsCommand, client: &ApiClient) -> anyhow::Result<()> {
    match command {
        PsCommand::Ps { app, output } => list(client, &app.name()?, output),
        PsCommand::Scale { formation, app } => scale(client, &app.name()?, &formation),
        PsCommand::Restart(app) => {
            let app = app.name()?;
            let _: EmptyResponse = client.delete(&app_path(&app, "/dynos"))?;
            say!("Restarting dynos on {app}... done");
            print_url(&client.get(&app_path(&app, ""))?)
        }
    }
}

fn list(client: &ApiClient, app: &str, output: OutputOption) -> anyhow::Result<()> {
    let dynos: Vec<DynoResource> = client.get(&app_path(app, "/dynos"))?;
    if output.json {
        return print_json(&dynos);
    }
    let headings = [
        "Dyno", "State", "Release", "Age", "Served", "Memory", "Shared", "Requests", "Errors",
        "p50", "p95", "p99",
    ];
    let table = Table::new(headings).with_rows(dynos.iter().map(row));
    if table.is_empty() {
        say!("No dynos of {app} are up: they start with the first request.");
    } else {
        table.print()?;
    }
    let info: AppResource = client.get(&app_path(app, ""))?;
    let web = web_quantity(&info);
    match &info.autoscale {
        None => say!("web: {web} dynos at most"),
        Some(rule) => say!(
            "web: {web} dynos at most, autoscaled: {}",
            autoscale::describe(rule)
        ),
    }
    print_url(&info)
}

fn row(dyno: &DynoResource) -> [String; 12] {
    let metrics = dyno.metrics.clone().unwrap_or_default();
    let [p50, p95, p99] = percentiles(&metrics.service_ms);
    [
        dyno.name.to_string(),
        dyno.activity.as_str().to_owned(),
        dyno.release.version.to_string(),
        format!("{} s", dyno.age_seconds),
        dyno.served.to_string(),
        megabytes(dyno.memory_bytes),
        megabytes(dyno.linear_memory_bytes.saturating_sub(dyno.memory_bytes)),
        metrics.requests.to_string(),
        metrics.errors.to_string(),
        p50,
        p95,
        p99,
    ]
}

/// Formats a size to a tenth of a megabyte, since a dyno of its own has few of them.
fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

fn scale(client: &ApiClient, app: &str, formation: &str) -> anyhow::Result<()> {
    let number = formation
        .strip_prefix("web=")
        .and_then(|number| number.parse().ok())
        .with_context(|| {
            format!("\"{formation}\": not a formation; write web=NUMBER, as in web=4")
        })?;
    let request = FormationBatchUpdate {
        updates: vec![FormationUpdate {
            process_type: ProcessType::web(),
            quantity: Some(Quantity::Absolute(number)),
        }],
    };
    let changed: Vec<FormationResource> = client.patch(&app_path(app, "/formation"), &request)?;
    let running: Vec<String> = changed
        .iter()
        .map(|one| format!("{} at {}", one.process_type, one.quantity))
        .collect();
    say!("Scaling dynos... done, now running {}", running.join(", "));
    print_url(&client.get(&app_path(app, ""))?)
}
