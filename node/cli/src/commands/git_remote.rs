//! `git:remote`.

use std::process::{Command, Output};

use anyhow::Context;
use corundum_api::app::AppResource;

use crate::app_option::AppOption;
use crate::client::{ApiClient, app_path};
use crate::output::say;

/// Runs `git:remote`.
pub(super) fn run(app: AppOption, client: &ApiClient) -> anyhow::Result<()> {
    add(&client.get(&app_path(&app.name()?, ""))?)
}

/// Sets the git remote `corundum` of this repository to an app's.
pub(super) fn add(app: &AppResource) -> anyhow::Result<()> {
    let url = &app.git_url;
    if !git(&["remote", "set-url", "corundum", url])?
        .status
        .success()
    {
        let added = git(&["remote", "add", "corundum", url])?;
        anyhow::ensure!(
            added.status.success(),
            "git: {}",
            String::from_utf8_lossy(&added.stderr).trim()
        );
    }
    say!("Git remote corundum -> {url}");
    Ok(())
}

fn git(arguments: &[&str]) -> anyhow::Result<Output> {
    let output = Command::new("git").args(arguments).output();
    output.context("git: cannot be run; is it installed?")
}
