//! Parts of an app that its author may expect to run at a push, and that do not run.

use super::bundle::BundledApp;
use crate::app_json::AppJson;
use crate::procfile::ProcessCommands;
use crate::tree::{Tree, TreeError};

/// Gems whose Rails apps have the task `assets:precompile`.
const ASSET_GEMS: [&str; 3] = ["sprockets-rails", "propshaft", "vite_rails"];

/// Files that tell that the assets were compiled before the push, as on Heroku.
const COMPILED: [&str; 4] = [
    "public/assets/.sprockets-manifest-",
    "public/assets/.manifest.json",
    "public/assets/manifest-",
    "public/vite/",
];

/// Returns a line for each part of the app that a push does not run.
pub(super) fn notes(
    app: &BundledApp,
    processes: &ProcessCommands,
) -> Result<Vec<String>, TreeError> {
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
    if has_asset_task(&app.tree)? && !has_compiled_assets(&app.tree) {
        notes.push(
            "The task assets:precompile does not run. Run it before a push, and commit public/assets"
                .to_owned(),
        );
    }
    notes.extend(of_app_json(&app.app_json));
    Ok(notes)
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

/// Returns whether the app has the task, as far as its files tell: a Rakefile names it, or the lockfile has a gem that
/// defines it.
fn has_asset_task(tree: &Tree) -> Result<bool, TreeError> {
    let is_rakefile = |path: &str| {
        ["Rakefile", "rakefile", "Rakefile.rb", "rakefile.rb"].contains(&path)
            || (path.starts_with("lib/tasks/") && path.ends_with(".rake"))
    };
    for (path, _) in tree.entries().filter(|(path, _)| is_rakefile(path)) {
        // A file that is too long for a text, or no text, is none that names a task.
        let text = tree.text(path).ok().flatten().unwrap_or_default();
        if text.contains("assets:precompile") {
            return Ok(true);
        }
    }
    let lockfile = tree.text("Gemfile.lock")?.unwrap_or_default();
    let locked = |gem: &&str| lockfile.contains(&format!("\n    {gem} ("));
    Ok(ASSET_GEMS.iter().any(locked))
}

fn has_compiled_assets(tree: &Tree) -> bool {
    let is_compiled = |path: &str| COMPILED.iter().any(|start| path.starts_with(start));
    tree.entries().any(|(path, _)| is_compiled(path))
}
