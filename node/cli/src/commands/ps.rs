//! `ps`, `ps:scale` and `ps:restart`.

use anyhow::Context;
use clap::Subcommand;
use corundum_api::app::AppResource;
use corundum_api::dyno::DynoResource;
use corundum_api::formation::{
    FormationBatchUpdate, FormationChange, FormationResource, FormationUpdate, Quantity,
};
use serde::Deserialize;

use super::apps::{print_url, web_quantity};
use super::autoscale;
use crate::app_option::AppOption;
use crate::client::{ApiClient, app_path, segment};
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
    /// Set the number of dynos of process types, or list it
    ///
    /// For web it is the most dynos that there may be: each serves one request at a time, and none starts ahead of requests;
    /// web=0 takes the app out of service. The other types of the Procfile run in as many dynos as the number says, all the time.
    ///
    /// Examples:
    ///   corundum ps:scale web=32 worker=2
    ///   corundum ps:scale worker=2:standard-2x
    ///   corundum ps:scale worker+1
    #[command(name = "ps:scale", visible_alias = "scale", verbatim_doc_comment)]
    Scale {
        /// Changes, as TYPE=NUMBER, TYPE=NUMBER:SIZE, TYPE+NUMBER or TYPE-NUMBER
        changes: Vec<String>,
        #[command(flatten)]
        app: AppOption,
        #[command(flatten)]
        output: OutputOption,
    },
    /// Set the size of the dynos of process types, or list the process types
    ///
    /// The size is a quota of memory: standard-1x has 512 MB, standard-2x 1 GB and performance-m 2.5 GB. Dynos that run are
    /// replaced.
    ///
    /// Example: corundum ps:type worker=standard-2x
    #[command(name = "ps:type", visible_alias = "ps:resize")]
    Type {
        /// Sizes, as TYPE=SIZE
        changes: Vec<String>,
        #[command(flatten)]
        app: AppOption,
        #[command(flatten)]
        output: OutputOption,
    },
    /// Replace dynos with fresh ones
    ///
    /// Web dynos end when they are idle. Others get SIGTERM and 30 seconds to end.
    #[command(name = "ps:restart", visible_alias = "restart")]
    Restart {
        /// A process type or a dyno, as worker or worker.1 [default: all dynos]
        dyno: Option<String>,
        #[command(flatten)]
        app: AppOption,
    },
    /// End a one-off dyno, or restart a dyno of the formation
    ///
    /// The dyno gets SIGTERM, and ends 30 seconds later at the latest. Dynos of the formation start again; ps:scale ends them.
    ///
    /// Example: corundum ps:stop run.3
    #[command(name = "ps:stop", visible_alias = "ps:kill")]
    Stop {
        /// A dyno or a process type, as run.3 or run
        dyno: String,
        #[command(flatten)]
        app: AppOption,
    },
}

/// The empty object that actions answer.
#[derive(Deserialize)]
struct EmptyResponse {}

/// Runs a command about dynos.
pub(super) fn run(command: PsCommand, client: &ApiClient) -> anyhow::Result<()> {
    match command {
        PsCommand::Ps { app, output } => list(client, &app.name()?, output),
        PsCommand::Scale {
            changes,
            app,
            output,
        } => scale(client, &app.name()?, &changes, output, parse_scale),
        PsCommand::Type {
            changes,
            app,
            output,
        } => scale(client, &app.name()?, &changes, output, parse_size),
        PsCommand::Restart { dyno, app } => restart(client, &app.name()?, dyno.as_deref()),
        PsCommand::Stop { dyno, app } => stop(client, &app.name()?, &dyno),
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
    let formation: Vec<FormationResource> = client.get(&app_path(app, "/formation"))?;
    for one in formation
        .iter()
        .filter(|one| one.process_type.as_str() != "web")
    {
        say!(
            "{}: {} dynos ({}), {}",
            one.process_type,
            one.quantity,
            one.size,
            one.command
        );
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
        match (dyno.process_type.as_str(), dyno.state.as_str()) {
            ("web", "up") => dyno.activity.as_str().to_owned(),
            (_, state) => state.to_owned(),
        },
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

fn restart(client: &ApiClient, app: &str, dyno: Option<&str>) -> anyhow::Result<()> {
    let (path, shown) = match dyno {
        None => ("/dynos".to_owned(), "dynos".to_owned()),
        Some(dyno) => (dynos_path(dyno), dyno.to_owned()),
    };
    let _: EmptyResponse = client.delete(&app_path(app, &path))?;
    say!("Restarting {shown} on {app}... done");
    print_url(&client.get(&app_path(app, ""))?)
}

fn stop(client: &ApiClient, app: &str, dyno: &str) -> anyhow::Result<()> {
    let path = format!("{}/actions/stop", dynos_path(dyno));
    let _: EmptyResponse = client.post(&app_path(app, &path), &serde_json::json!({}))?;
    say!("Stopping {dyno} on {app}... done");
    Ok(())
}

/// Returns the path of a dyno or of the dynos of a process type, below that of the app.
fn dynos_path(dyno: &str) -> String {
    match dyno.contains('.') {
        true => format!("/dynos/{}", segment(dyno)),
        false => format!("/formations/{}", segment(dyno)),
    }
}

fn parse_scale(change: &str) -> anyhow::Result<FormationUpdate> {
    let invalid = || {
        format!(
            "\"{change}\": not a change; write TYPE=NUMBER, as in worker=2, worker=2:standard-2x or worker+1"
        )
    };
    let at = change.find(['=', '+', '-'].as_slice());
    // A dash may belong to the name of the type.
    let at = change
        .find('=')
        .or_else(|| change.rfind(['+', '-'].as_slice()))
        .or(at);
    let (process, rest) = change.split_at(at.with_context(invalid)?);
    let rest = rest.strip_prefix('=').unwrap_or(rest);
    let (quantity, size) = match rest.split_once(':') {
        Some((quantity, size)) => (quantity, Some(size.to_owned())),
        None => (rest, None),
    };
    let quantity: Quantity = quantity.parse().ok().with_context(invalid)?;
    Ok(FormationUpdate {
        process_type: process.parse().ok().with_context(invalid)?,
        change: FormationChange {
            quantity: Some(quantity),
            size,
            dyno_size: None,
        },
    })
}

fn parse_size(change: &str) -> anyhow::Result<FormationUpdate> {
    let invalid = || format!("\"{change}\": not a size; write TYPE=SIZE, as in worker=standard-2x");
    let (process, size) = change.split_once('=').with_context(invalid)?;
    Ok(FormationUpdate {
        process_type: process.parse().ok().with_context(invalid)?,
        change: FormationChange {
            size: Some(size.to_owned()),
            ..FormationChange::default()
        },
    })
}

/// Carries out changes of the formation; without any, lists the formation.
fn scale(
    client: &ApiClient,
    app: &str,
    changes: &[String],
    output: OutputOption,
    parse: fn(&str) -> anyhow::Result<FormationUpdate>,
) -> anyhow::Result<()> {
    let path = app_path(app, "/formation");
    if changes.is_empty() {
        return list_formation(&client.get::<Vec<FormationResource>>(&path)?, output);
    }
    let updates = changes.iter().map(|change| parse(change));
    let request = FormationBatchUpdate {
        updates: updates.collect::<Result<_, _>>()?,
    };
    let changed: Vec<FormationResource> = client.patch(&path, &request)?;
    if output.json {
        return print_json(&changed);
    }
    let running: Vec<String> = changed
        .iter()
        .map(|one| format!("{} at {}:{}", one.process_type, one.quantity, one.size))
        .collect();
    say!("Scaling dynos... done, now running {}", running.join(", "));
    print_url(&client.get(&app_path(app, ""))?)
}

fn list_formation(formation: &[FormationResource], output: OutputOption) -> anyhow::Result<()> {
    if output.json {
        return print_json(&formation);
    }
    let table = Table::new(["Type", "Dynos", "Size", "Command"]);
    let rows = formation.iter().map(|one| {
        [
            one.process_type.to_string(),
            one.quantity.to_string(),
            one.size.clone(),
            one.command.clone(),
        ]
    });
    table.with_rows(rows).print()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_the_formation_are_read() {
        for (text, process, quantity, size) in [
            ("web=3", "web", Quantity::Absolute(3), None),
            (
                "my-worker=2:Standard-2X",
                "my-worker",
                Quantity::Absolute(2),
                Some("Standard-2X"),
            ),
            ("worker+2", "worker", Quantity::Relative(2), None),
            ("my-worker-1", "my-worker", Quantity::Relative(-1), None),
        ] {
            let update = parse_scale(text).unwrap();
            assert_eq!(update.process_type.as_str(), process, "{text}");
            assert_eq!(update.change.quantity, Some(quantity), "{text}");
            assert_eq!(update.change.size.as_deref(), size, "{text}");
        }
        for text in [
            "web",
            "web=",
            "web=x",
            "=2",
            "web=2.5",
            "worker",
            "my-worker",
        ] {
            assert!(parse_scale(text).is_err(), "{text}");
        }
        assert_eq!(
            parse_size("a=eco").unwrap().change.size.as_deref(),
            Some("eco")
        );
        assert!(parse_size("a").is_err());
    }
}
