//! Parts of an app that its author may expect to run, and that do not run.

use corundum_abi::names::ProcessType;

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
pub(super) fn notes(processes: &ProcessCommands) -> Vec<String> {
    let web = ProcessType::web();
    let others = processes.iter().filter(|(process, _)| **process != web);
    let lines = others.filter_map(|(process, command)| {
        let error = ProcessCommandLine::parse(command).err()?;
        Some(format!(
            "The process type {process} cannot be scaled: {error}"
        ))
    });
    lines.collect()
}
