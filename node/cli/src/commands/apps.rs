//! `apps`, `apps:create`, `apps:info` and `apps:destroy`.

use std::process::Command;

use anyhow::bail;
use clap::Subcommand;
use corundum_abi::names::{AppName, ProcessType};
use corundum_api::app::{AppCreate, AppResource};
use corundum_api::cache::CacheStatsResource;
use corundum_api::metrics::{AppMetricsResource, WindowMetrics};
use serde::Serialize;

use super::git_remote;
use crate::app_option::AppOption;
use crate::client::{ApiClient, app_path};
use crate::output::{OutputOption, print_json, say};
use crate::table::Table;
use crate::units::{or_dash, percent, percentiles, size, time};

/// Commands about apps.
#[derive(Subcommand)]
pub enum AppsCommand {
    /// Create an app, and the git remote `corundum` in this repository
    ///
    /// The name becomes a part of the app's host name: 3 to 30 lower-case letters, digits and dashes. Outside a git
    /// repository, the command creates only the app; add the remote later with `corundum git:remote --app NAME`.
    ///
    /// Example: corundum create guestbook
    #[command(name = "create", visible_alias = "apps:create")]
    Create {
        /// Name of the app [default: a random one]
        name: Option<String>,
    },
    /// List the apps
    Apps(OutputOption),
    /// Show an app
    ///
    /// Prints its URLs, current release, version of Ruby and most web dynos, then metrics of its requests in the last
    /// minutes.
    #[command(name = "apps:info", visible_alias = "info")]
    Info {
        #[command(flatten)]
        app: AppOption,
        #[command(flatten)]
        output: OutputOption,
    },
    /// Delete an app with its releases
    ///
    /// Deletes the app's repository on the node, its slugs, config vars and log too. This cannot be undone, so --confirm
    /// must repeat the name.
    ///
    /// Example: corundum apps:destroy --app guestbook --confirm guestbook
    #[command(name = "apps:destroy", visible_alias = "destroy")]
    Destroy {
        #[command(flatten)]
        app: AppOption,
        /// Name of the app once more
        #[arg(long)]
        confirm: Option<String>,
    },
}

/// An app with its metrics and cache statistics, as `apps:info --json` prints them.
#[derive(Serialize)]
struct AppInfo {
    #[serde(flatten)]
    app: AppResource,
    metrics: AppMetricsResource,
    cache: CacheStatsResource,
}

/// Runs a command about apps.
pub(super) fn run(command: AppsCommand, client: &ApiClient) -> anyhow::Result<()> {
    match command {
        AppsCommand::Create { name } => create(client, name.as_deref()),
        AppsCommand::Apps(output) => list(client, output),
        AppsCommand::Info { app, output } => info(client, &app.name()?, output),
        AppsCommand::Destroy { app, confirm } => destroy(client, &app.name()?, confirm.as_deref()),
    }
}

/// Prints the URL that serves an app.
pub(super) fn print_url(app: &AppResource) -> anyhow::Result<()> {
    say!("{}", or_dash(app.web_url.as_ref()));
    Ok(())
}

/// Returns the most web dynos of an app.
pub(super) fn web_quantity(app: &AppResource) -> u32 {
    let quantity = app.formation.get(&ProcessType::web());
    quantity.copied().unwrap_or_default()
}

fn create(client: &ApiClient, name: Option<&str>) -> anyhow::Result<()> {
    let name = name.map(str::parse::<AppName>).transpose()?;
    let app: AppResource = client.post("/v1/apps", &AppCreate { name })?;
    say!("Creating app... done, {}", app.name);
    say!("{} | {}", or_dash(app.web_url.as_ref()), app.git_url);
    if in_repository() {
        git_remote::add(&app)
    } else {
        say!(
            "Not a git repository, so no remote was added; inside one, run: corundum git:remote -a {}",
            app.name
        );
        Ok(())
    }
}

fn in_repository() -> bool {
    let inside = Command::new("git")
        .args(["rev-parse", "--git-dir"])
        .output();
    inside.is_ok_and(|output| output.status.success())
}

fn list(client: &ApiClient, output: OutputOption) -> anyhow::Result<()> {
    let apps: Vec<AppResource> = client.get("/v1/apps")?;
    if output.json {
        return print_json(&apps);
    }
    let rows = apps.into_iter().map(|app| {
        [
            app.name.to_string(),
            or_dash(app.release.map(|release| release.version)),
            or_dash(language(&app.language, &app.series)),
            or_dash(app.web_url),
        ]
    });
    let table = Table::new(["App", "Release", "Language", "URL"]).with_rows(rows);
    if table.is_empty() {
        say!("There are no apps. Create one with: corundum create");
    } else {
        table.print()?;
    }
    Ok(())
}

/// Returns language and series for display: `ruby 3.3`.
fn language(language: &Option<String>, series: &Option<String>) -> Option<String> {
    Some(format!("{} {}", language.as_ref()?, series.as_ref()?))
}

fn info(client: &ApiClient, app: &str, output: OutputOption) -> anyhow::Result<()> {
    let info = AppInfo {
        app: client.get(&app_path(app, ""))?,
        metrics: client.get(&app_path(app, "/metrics"))?,
        cache: client.get(&app_path(app, "/cache"))?,
    };
    if output.json {
        return print_json(&info);
    }
    let AppInfo {
        app,
        metrics,
        cache,
    } = info;
    say!("=== {}", app.name);
    for (label, value) in [
        ("Created at", app.created_at.to_string()),
        ("Web URL", or_dash(app.web_url.as_ref())),
        ("Git URL", app.git_url.clone()),
        (
            "Release",
            or_dash(app.release.map(|release| release.version)),
        ),
        ("Language", or_dash(language(&app.language, &app.series))),
        ("Web dynos", web_quantity(&app).to_string()),
        ("Cache hits", percent(cache.hit_ratio)),
    ] {
        say!("{:12} {value}", format!("{label}:"));
    }
    say!();
    metrics_table(&metrics).print()?;
    Ok(())
}

/// Makes the table of an app's metrics, one row for each window of time.
fn metrics_table(metrics: &AppMetricsResource) -> Table {
    let windows = [
        ("1m", &metrics.one_minute),
        ("5m", &metrics.five_minutes),
        ("15m", &metrics.fifteen_minutes),
    ];
    Table::new([
        "Last",
        "Requests",
        "Errors",
        "p50",
        "p95",
        "p99",
        "Queue p95",
        "Cache hits",
        "Sent",
        "CPU",
    ])
    .with_rows(windows.map(|(name, window)| metrics_row(name, window)))
}

fn metrics_row(name: &str, window: &WindowMetrics) -> [String; 10] {
    let [p50, p95, p99] = percentiles(&window.service_ms);
    [
        name.to_owned(),
        window.requests.to_string(),
        window.errors.to_string(),
        p50,
        p95,
        p99,
        time(window.queue_ms.p95),
        percent(window.cache_hit_ratio),
        size(window.bytes),
        format!("{:.1} s", window.cpu_seconds),
    ]
}

fn destroy(client: &ApiClient, app: &str, confirm: Option<&str>) -> anyhow::Result<()> {
    if confirm != Some(app) {
        bail!(
            "--confirm: does not name {app}, and deleting an app with all its releases cannot be undone\nTo delete it: corundum apps:destroy --app {app} --confirm {app}"
        );
    }
    let deleted: AppResource = client.delete(&app_path(app, ""))?;
    say!("Destroying {}... done", deleted.name);
    Ok(())
}
