//! The formation that `app.json` asks for, which the first release of an app gets.

use std::sync::Arc;

use corundum_abi::dyno_size::DynoSize;
use corundum_abi::names::{AppName, ProcessType};
use corundum_compiler::app_json::AppJson;
use corundum_compiler::procfile::ProcessCommands;
use corundum_store::{ProcessScale, ProcessScales};

use crate::apps::formation::Formations;
use crate::processes::{self, Processes};

/// Scales an app as its `app.json` asks, within `limit` dynos of each process type. Returns lines for the pusher about what the
/// app does not get.
///
/// A failure is only logged: the push has succeeded.
pub(super) fn apply(
    formations: &Formations,
    processes: &Arc<Processes>,
    app: &AppName,
    app_json: &AppJson,
    declared: &ProcessCommands,
    limit: u32,
) -> Vec<String> {
    let mut lines = Vec::new();
    let mut bounded = |process: &str, asked: u32| {
        if asked > limit {
            lines.push(format!(
                "app.json asks for {asked} {process} dynos, and gets {limit}, this node's limit for app.json"
            ));
        }
        asked.min(limit)
    };
    if let Some(asked) = app_json.web_quantity() {
        let quantity = bounded("web", asked);
        if let Err(error) = formations.scale(app, quantity) {
            tracing::warn!(%app, %error, "could not set the formation of app.json");
        }
    }
    let mut scales = ProcessScales::new();
    let mut unknown = Vec::new();
    for (process, asked) in &app_json.formation {
        let is_web = *process == ProcessType::web();
        if !is_web && (!processes::is_long_running(process) || !declared.contains_key(process)) {
            continue;
        }
        let size = asked.size.as_deref().map(str::parse).transpose();
        let size: DynoSize = size
            .unwrap_or_else(|error| {
                unknown.push(format!("app.json, {process}: {error}"));
                None
            })
            .unwrap_or_default();
        if is_web {
            if size != DynoSize::default()
                && let Err(error) = formations.resize(app, size)
            {
                tracing::warn!(%app, %error, "could not set the size of app.json");
            }
            continue;
        }
        let quantity = bounded(process.as_str(), asked.quantity);
        scales.insert(process.clone(), ProcessScale { quantity, size });
    }
    lines.extend(unknown);
    if !scales.is_empty()
        && let Err(error) = processes.scale(app, &scales)
    {
        tracing::warn!(%app, %error, "could not set the formation of app.json");
    }
    lines
}
