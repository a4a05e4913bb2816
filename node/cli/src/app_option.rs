//! The app that a command is for.

use std::process::Command;

use anyhow::bail;
use clap::Args;

/// The option `--app`, which most commands take.
#[derive(Args, Clone, Debug)]
pub struct AppOption {
    /// App to act on [default: the app of the git remote `corundum`]
    #[arg(short, long, env = "CORUNDUM_APP")]
    app: Option<String>,
}

impl AppOption {
    /// Returns the app's name: as given, or from the git remote of the current directory.
    pub(crate) fn name(self) -> anyhow::Result<String> {
        let name = self.app.or_else(|| {
            git_remote()?
                .rsplit('/')
                .next()?
                .strip_suffix(".git")
                .map(str::to_owned)
        });
        match name {
            Some(name) => Ok(name),
            None => bail!(
                "--app: missing, and no git remote corundum is here\nName the app, or go to a repository that has the remote."
            ),
        }
    }
}

/// Returns the URL of the git remote `corundum`.
fn git_remote() -> Option<String> {
    let output = Command::new("git")
        .args(["remote", "get-url", "corundum"])
        .output()
        .ok()?;
    let url = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(url)
}
