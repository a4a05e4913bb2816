//! `usage`.

use std::collections::BTreeMap;

use clap::Args;
use corundum_api::usage::UsageResource;

use crate::client::{ApiClient, app_path};
use crate::output::{OutputOption, print_json, say};
use crate::table::Table;
use crate::units::size;

/// Show what apps have used: requests, bytes sent, processor time and memory
///
/// Lists all apps of the node with the sums of this month; with --app, one app by day. Days are those of UTC.
#[derive(Args)]
pub struct UsageArguments {
    /// Show one app, by day
    #[arg(short, long, value_name = "NAME")]
    app: Option<String>,
    /// First day, as 2026-01-31 [default: the first of this month]
    #[arg(long, value_name = "DAY")]
    start: Option<String>,
    #[command(flatten)]
    output: OutputOption,
}

/// Runs `usage`.
pub(super) fn run(arguments: UsageArguments, client: &ApiClient) -> anyhow::Result<()> {
    let query = arguments
        .start
        .map_or_else(String::new, |start| format!("?start={start}"));
    let path = match &arguments.app {
        Some(app) => app_path(app, &format!("/usage{query}")),
        None => format!("/v1/usage{query}"),
    };
    let usage: Vec<UsageResource> = client.get(&path)?;
    if arguments.output.json {
        return print_json(&usage);
    }
    if usage.is_empty() {
        say!("Nothing was used in this time.");
        return Ok(());
    }
    match arguments.app {
        Some(_) => {
            let rows = usage.iter().map(|day| row(day.date.to_string(), day));
            table("Day").with_rows(rows).print()?;
        }
        None => {
            let sums = by_app(usage);
            let rows = sums.iter().map(|sum| row(sum.app.to_string(), sum));
            table("App").with_rows(rows).print()?;
        }
    }
    Ok(())
}

/// Adds the days of each app up.
fn by_app(usage: Vec<UsageResource>) -> Vec<UsageResource> {
    let mut sums: BTreeMap<String, UsageResource> = BTreeMap::new();
    for day in usage {
        match sums.get_mut(day.app.as_str()) {
            Some(sum) => {
                sum.requests += day.requests;
                sum.bytes += day.bytes;
                sum.cpu_seconds += day.cpu_seconds;
                sum.gigabyte_hours += day.gigabyte_hours;
            }
            None => {
                sums.insert(day.app.to_string(), day);
            }
        }
    }
    sums.into_values().collect()
}

fn table(first: &'static str) -> Table {
    Table::new([first, "Requests", "Sent", "CPU", "Memory"])
}

fn row(name: String, usage: &UsageResource) -> [String; 5] {
    [
        name,
        usage.requests.to_string(),
        size(usage.bytes),
        format!("{:.1} s", usage.cpu_seconds),
        format!("{:.3} GB h", usage.gigabyte_hours),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_of_an_app_add_up() {
        let day = |app: &str, date: &str, requests| UsageResource {
            app: app.parse().unwrap(),
            date: date.parse().unwrap(),
            requests,
            bytes: 10,
            cpu_seconds: 0.5,
            gigabyte_hours: 0.25,
        };
        let sums = by_app(vec![
            day("two-app", "2026-01-01", 5),
            day("one-app", "2026-01-01", 1),
            day("one-app", "2026-01-02", 2),
        ]);
        let rows: Vec<_> = sums
            .iter()
            .map(|sum| row(sum.app.to_string(), sum))
            .collect();
        assert_eq!(rows[0], ["one-app", "3", "20 B", "1.0 s", "0.500 GB h"]);
        assert_eq!(rows[1][1], "5");
    }
}
