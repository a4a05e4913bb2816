//! Bare repositories of apps, and the git commands that work on them.

use std::io;
use std::path::Path;
use std::process::Stdio;

use corundum_abi::names::AppName;
use tokio::process::Command;

use crate::data_dir::DataDir;

/// A repository that cannot be made. The node is at fault.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RepositoryError {
    /// Git cannot be started.
    #[error("git cannot be run: is it installed? ({0})")]
    Run(io::Error),
    /// A git command failed.
    #[error("git {command}: {output}")]
    Git {
        /// The subcommand.
        command: &'static str,
        /// Its error output.
        output: String,
    },
    /// The hook cannot be written.
    #[error("git: cannot write the hook: {0}")]
    Hook(#[from] io::Error),
}

/// Creates an app's bare repository, and the hook that all repositories share.
pub(crate) async fn init(data: &DataDir, app: &AppName) -> Result<(), RepositoryError> {
    let (hooks, repository) = (data.hooks(), data.repository(app));
    write_hook(&hooks)?;
    let mut init = command();
    init.args(["init", "--quiet", "--bare", "--initial-branch=main"])
        .arg(&repository);
    run("init", init).await?;
    let hooks = hooks.to_string_lossy();
    for (name, value) in [
        ("http.receivepack", "true"),
        ("transfer.fsckObjects", "true"),
        ("receive.denyDeletes", "true"),
        ("gc.auto", "0"),
        // `gc --auto` would not collect, but its lock would stay when a client disconnects right after a push.
        ("receive.autogc", "false"),
        ("core.hooksPath", &hooks),
    ] {
        let mut config = command();
        config
            .arg("-C")
            .arg(&repository)
            .args(["config", name, value]);
        run("config", config).await?;
    }
    Ok(())
}

/// Writes the hook of all repositories into the folder `hooks`.
pub(crate) fn write_hook(hooks: &Path) -> io::Result<()> {
    std::fs::create_dir_all(hooks)?;
    let program = std::env::current_exe()?;
    let script = format!(
        "#!/bin/sh\nexec \"{}\" git-hook pre-receive\n",
        program.display()
    );
    // Renamed into place: a hook that git starts meanwhile must be whole.
    let new = tempfile::NamedTempFile::new_in(hooks)?;
    std::fs::write(new.path(), script)?;
    std::fs::set_permissions(
        new.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o700),
    )?;
    new.persist(hooks.join("pre-receive"))?;
    Ok(())
}

/// Removes the objects of pushes that ended before git accepted or rejected them.
pub(crate) fn remove_quarantine(repository: &Path) {
    let entries = std::fs::read_dir(repository.join("objects"));
    for entry in entries.into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_string_lossy().contains("incoming-") {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Returns a git command that reads a repository's own configuration, and neither the machine's nor the user's.
pub(crate) fn command() -> Command {
    let mut git = Command::new("git");
    git.env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("GIT_CONFIG_NOSYSTEM", "1");
    git
}

async fn run(name: &'static str, mut git: Command) -> Result<(), RepositoryError> {
    let output = git.stdin(Stdio::null()).output().await;
    let output = output.map_err(RepositoryError::Run)?;
    if output.status.success() {
        return Ok(());
    }
    Err(RepositoryError::Git {
        command: name,
        output: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}
