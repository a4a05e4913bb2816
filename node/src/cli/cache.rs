//! The commands about the HTTP cache.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::client::{Client, app_name};
use super::commands::{print_json, say, shown};
use super::{App, Form, table};

/// Commands about the cache.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Show what the HTTP cache does for each app
    ///
    /// The hit ratio is the part of the requests that a cache may answer at all for which no dyno had to make a response.
    /// Whether a response is stored is the app's to say, by Cache-Control; the header Cache-Status of each response tells
    /// what became of it. Counted since the node was started.
    #[command(name = "cache:stats")]
    Stats(Form),
    /// Remove an app's responses from the HTTP cache
    ///
    /// All of them, those of one URL, or those that the app has given a tag by the header Cache-Tag. An app does the same by
    /// itself with a response header: Cache-Purge: tag="news", url="/about", or Cache-Purge: all.
    ///
    /// Example: corundum cache:purge --tag news
    #[command(name = "cache:purge")]
    Purge {
        /// This URL alone, with all its variants
        #[arg(long)]
        url: Option<String>,
        /// What has this tag alone
        #[arg(long, conflicts_with = "url")]
        tag: Option<String>,
        #[command(flatten)]
        app: App,
    },
}

/// Runs a command about the cache.
pub(super) fn run(command: Command) -> anyhow::Result<ExitCode> {
    let client = Client::new();
    match command {
        Command::Stats(form) => stats(&client, form)?,
        Command::Purge { url, tag, app } => {
            let app = app_name(app.app)?;
            let scope = match (url, tag) {
                (Some(url), _) => json!({"url": url}),
                (None, Some(tag)) => json!({"tag": tag}),
                (None, None) => json!({}),
            };
            let answer =
                client.call("POST", &format!("/v1/apps/{app}/cache/purge"), Some(&scope))?;
            say!(
                "Purging the cache of {app}... done, {} removed",
                shown(&answer["purged"])
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn stats(client: &Client, form: Form) -> anyhow::Result<()> {
    let answer = client.call("GET", "/v1/cache", None)?;
    if form.json {
        return print_json(&answer);
    }
    let heading = [
        "App",
        "Hit ratio",
        "Hits",
        "Collapsed",
        "Revalidated",
        "Stale",
        "Misses",
        "Bypassed",
        "Entries",
        "MB",
    ];
    let rows: Vec<Vec<String>> = answer["apps"]
        .as_array()
        .into_iter()
        .flatten()
        .map(row)
        .collect();
    table::print(&heading, &rows)?;
    say!();
    say!(
        "{} of {} MB are in use.",
        megabytes(&answer["bytes"]),
        megabytes(&answer["capacity"])
    );
    Ok(())
}

fn row(app: &Value) -> Vec<String> {
    let numbers = [
        "hits",
        "collapsed",
        "revalidated",
        "stale",
        "misses",
        "bypassed",
        "entries",
    ];
    let numbers = numbers.iter().map(|name| shown(&app[name]).to_string());
    let first = [shown(&app["app"]).to_string(), ratio(app)];
    let last = [megabytes(&app["bytes"])];
    first.into_iter().chain(numbers).chain(last).collect()
}

/// An app's hit ratio, as people read it.
pub(super) fn ratio(stats: &Value) -> String {
    let ratio = stats["hit_ratio"].as_f64();
    ratio.map_or("-".to_owned(), |ratio| format!("{:.1}%", 100.0 * ratio))
}

fn megabytes(bytes: &Value) -> String {
    format!("{:.1}", bytes.as_f64().unwrap_or(0.0) / f64::from(1 << 20))
}
