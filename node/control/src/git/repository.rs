//! Bare repositories of apps, and the hooks that they share.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use corundum_abi::names::AppName;

use super::command::{self, GitError};
use crate::data_dir::DataDir;

/// Names of the hooks; each runs the command `git-hook` of this program.
const HOOKS: [&str; 2] = ["pre-receive", "proc-receive"];

/// Creates an app's bare repository.
///
/// The repository's own configuration stays as git made it: all that a push depends on is passed to each command, so that a
/// data directory can move.
pub(crate) async fn init(data: &DataDir, app: &AppName) -> Result<(), GitError> {
    let mut init = command::command();
    init.args(["init", "--quiet", "--bare", "--template="])
        .arg("--initial-branch=main")
        .arg(data.repository(app));
    command::run("init", init).await.map(drop)
}

/// Writes the hooks, which name the program of this process.
///
/// # Errors
///
/// The data directory cannot be written, or this program's path is unknown.
pub(crate) fn write_hooks(hooks: &Path) -> io::Result<()> {
    std::fs::create_dir_all(hooks)?;
    let program = std::env::current_exe()?;
    let program = program.to_string_lossy().replace('\'', r"'\''");
    for name in HOOKS {
        let script = format!("#!/bin/sh\nexec '{program}' git-hook {name}\n");
        // Renamed into place: a hook that git starts meanwhile must be whole.
        let new = tempfile::NamedTempFile::new_in(hooks)?;
        std::fs::write(new.path(), script)?;
        std::fs::set_permissions(new.path(), PermissionsExt::from_mode(0o700))?;
        new.persist(hooks.join(name))?;
    }
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
