//! Parts of an app that its author may expect to run, and that do not run.

use corundum_abi::names::ProcessType;

use super::bundle::BundledApp;
use crate::app_json::AppJson;
use crate::command_line::{CommandLineError, ProcessCommandLine};
use crate::procfile::ProcessCommands;

/// Process type of the release phase.
const RELEASE: &str = "release";

/// Checks the command of the release phase, without which no release can go live.
///
/// # Errors
///
/// [`CommandLineError`].
pub(super) fn check_release_phase(processes: &ProcessCommands) -> Result<(), CommandLineError> {
    let release = processes
        .iter()
        .find(|(process, _)| process.as_str() == RELEASE);
    match release {
        Some((_, command)) => ProcessCommandLine::parse(command).map(|_| ()),
        None => Ok(()),
    }
}

/// Returns a line for each part of the app that does not run.
pub(super) fn notes(app: &BundledApp, processes: &ProcessCommands) -> Vec<String> {
    let web = ProcessType::web();
    let others = processes.iter().filter(|(process, _)| **process != web);
    let lines = others.filter_map(|(process, command)| {
        let error = ProcessCommandLine::parse(command).err()?;
        Some(format!(
            "The process type {process} cannot be scaled: {error}"
        ))
    });
    let mut notes: Vec<String> = lines.collect();
    notes.extend(of_app_json(&app.app_json));
    notes
}

fn of_app_json(app_json: &AppJson) -> Vec<String> {
    let mut notes = Vec::new();
    let addons = app_json.addon_names();
    if !addons.is_empty() {
        notes.push(format!(
            "Add-ons of app.json are not created: {}. Set their config vars with corundum config:set",
            addons.join(", ")
        ));
    }
    notes
}
