//! `cache:stats` and `cache:purge`.

use clap::Subcommand;
use corundum_api::cache::{AppCacheStats, CachePurge, CachePurged, NodeCacheResource};

use crate::app_option::AppOption;
use crate::client::{ApiClient, app_path};
use crate::output::{OutputOption, print_json, say};
use crate::table::Table;
use crate::units::{megabytes, percent};

/// Commands about the HTTP cache.
#[derive(Subcommand)]
pub enum CacheCommand {
    /// Show statistics of the HTTP cache by app
    ///
    /// The hit ratio is the share of cacheable requests that made no dyno generate a response. The app decides by
    /// Cache-Control whether a response is stored; the header Cache-Status of each response tells what the cache did.
    /// Counts begin when the node is started.
    #[command(name = "cache:stats")]
    Stats(OutputOption),
    /// Remove an app's responses from the HTTP cache
    ///
    /// Removes all of them, those of one URL, or those that the app tagged with the header Cache-Tag. An app can do the
    /// same with a response header: Cache-Purge: tag="news", url="/about", or Cache-Purge: all.
    ///
    /// Example: corundum cache:purge --tag news
    #[command(name = "cache:purge")]
    Purge {
        /// Remove only this URL with all its variants
        #[arg(long)]
        url: Option<String>,
        /// Remove only responses with this tag
        #[arg(long, conflicts_with = "url")]
        tag: Option<String>,
        #[command(flatten)]
        app: AppOption,
    },
}

/// Runs a command about the HTTP cache.
pub(super) fn run(command: CacheCommand, client: &ApiClient) -> anyhow::Result<()> {
    match command {
        CacheCommand::Stats(output) => stats(client, output),
        CacheCommand::Purge { url, tag, app } => {
            let app = app.name()?;
            let path = app_path(&app, "/cache/purge");
            let CachePurged { purged } = client.post(&path, &CachePurge { url, tag })?;
            say!("Purging the cache of {app}... done, {purged} removed");
            Ok(())
        }
    }
}

fn stats(client: &ApiClient, output: OutputOption) -> anyhow::Result<()> {
    let cache: NodeCacheResource = client.get("/v1/cache")?;
    if output.json {
        return print_json(&cache);
    }
    Table::new([
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
    ])
    .with_rows(cache.apps.iter().map(row))
    .print()?;
    say!();
    say!(
        "{} of {} MB are in use.",
        megabytes(cache.bytes),
        megabytes(cache.capacity)
    );
    Ok(())
}

fn row(AppCacheStats { app, stats }: &AppCacheStats) -> [String; 10] {
    [
        app.name.to_string(),
        percent(stats.hit_ratio),
        stats.hits.to_string(),
        stats.collapsed.to_string(),
        stats.revalidated.to_string(),
        stats.stale.to_string(),
        stats.misses.to_string(),
        stats.bypassed.to_string(),
        stats.entries.to_string(),
        megabytes(stats.bytes),
    ]
}
