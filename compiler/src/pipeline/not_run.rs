//! Parts of an app that its author may expect to run at a push, and that do not run.

use super::bundle::BundledApp;
use crate::app_json::AppJson;
use crate::procfile::ProcessCommands;

/// Returns a line for each part of the app that a push does not run.
pub(super) fn notes(app: &BundledApp, processes: &ProcessCommands) -> Vec<String> {
    let mut notes = Vec::new();
    let is_release = |name: &str| name == "release";
    if let Some((_, command)) = processes.iter().find(|(name, _)| is_release(name.as_str())) {
        notes.push(format!(
            "The release phase does not run. After this push, run: corundum run {command}"
        ));
    }
    let idle = processes
        .keys()
        .map(|name| name.as_str())
        .filter(|name| *name != "web" && !is_release(name));
    let idle: Vec<&str> = idle.collect();
    if !idle.is_empty() {
        notes.push(format!(
            "Processes other than web do not run: {}",
            idle.join(", ")
        ));
    }
    notes.extend(of_app_json(&app.app_json));
    notes
}

fn of_app_json(app_json: &AppJson) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(command) = app_json.postdeploy() {
        notes.push(format!(
            "The postdeploy script of app.json does not run. After this push, run: corundum run {command}"
        ));
    }
    let addons = app_json.addon_names();
    if !addons.is_empty() {
        notes.push(format!(
            "Add-ons of app.json are not created: {}. Set their config vars with corundum config:set",
            addons.join(", ")
        ));
    }
    notes
}
