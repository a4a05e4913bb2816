//! Collection of repositories: `git gc` between pushes, at a low priority and within limits. A push ends it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use corundum_abi::names::AppName;
use rustix::process::{Pid, Signal, kill_process_group, setpriority_process};

use super::command;
use crate::apps::locks::AppLocks;
use crate::data_dir::DataDir;

/// Loose objects and packs of a repository that is left alone.
const MAX_LOOSE: usize = 500;
const MAX_PACKS: usize = 10;
/// The time of one collection.
const TIMEOUT: Duration = Duration::from_secs(600);
/// The time for git to remove its temporary files when it is told to end.
const LAST_STEPS: Duration = Duration::from_secs(2);
/// The lowest priority.
const NICENESS: i32 = 19;

/// Settings that bound the memory of a collection, and keep it from taking a lock that a killed process would leave.
const SETTINGS: [(&str, &str); 6] = [
    ("pack.threads", "1"),
    ("pack.windowMemory", "64m"),
    ("pack.deltaCacheSize", "16m"),
    ("core.bigFileThreshold", "8m"),
    ("gc.packRefs", "false"),
    ("gc.writeCommitGraph", "false"),
];

/// Collects an app's repository if it has many files, and returns whether it did. Does nothing while a git client is
/// connected or the app is being built.
///
/// # Errors
///
/// The repository cannot be read, or git fails.
pub(crate) async fn collect(
    data: &DataDir,
    locks: &std::sync::Arc<AppLocks>,
    app: &AppName,
) -> io::Result<bool> {
    let path = data.repository(app);
    let counted = path.clone();
    let counting = tokio::task::spawn_blocking(move || has_many_files(&counted));
    if !counting.await.map_err(io::Error::other)?? {
        return Ok(false);
    }
    let Some(collecting) = locks.begin_collecting(app) else {
        return Ok(false);
    };
    remove_leftovers(&path)?;
    let mut git = command::configured(&SETTINGS);
    // Objects that no branch reaches stay for an hour.
    let mut child = git
        .arg("-C")
        .arg(&path)
        .args(["gc", "--quiet", "--prune=1.hour.ago"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let process = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let _processes = CollectionProcesses(process);
    if let Some(process) = process {
        let _ = setpriority_process(Some(process), NICENESS);
    }
    tokio::select! {
        status = child.wait() => {
            let status = status?;
            return match status.success() {
                true => Ok(true),
                false => Err(io::Error::other(format!("git gc: {status}"))),
            };
        }
        () = collecting.interrupted() => {}
        () = tokio::time::sleep(TIMEOUT) => {
            tracing::warn!(%app, "git gc took more than {} s and was stopped", TIMEOUT.as_secs());
        }
    }
    // Git removes its temporary files on SIGTERM.
    let kill = |signal| process.map(|process| kill_process_group(process, signal));
    let _ = kill(Signal::TERM);
    if tokio::time::timeout(LAST_STEPS, child.wait())
        .await
        .is_err()
    {
        let _ = kill(Signal::KILL);
        let _ = child.wait().await;
    }
    Ok(false)
}

/// Git's processes, which end with the collection: its task may be aborted.
struct CollectionProcesses(Option<Pid>);

impl Drop for CollectionProcesses {
    fn drop(&mut self) {
        let _ = self.0.map(|group| kill_process_group(group, Signal::KILL));
    }
}

/// Removes what killed collections have left. The caller keeps git clients away.
fn remove_leftovers(repository: &Path) -> io::Result<()> {
    let remove = |path: PathBuf| match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    remove(repository.join("gc.pid"))?;
    for entry in std::fs::read_dir(repository.join("objects/pack"))? {
        let entry = entry?;
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".tmp-")
            || name.as_encoded_bytes().starts_with(b"tmp_")
        {
            remove(entry.path())?;
        }
    }
    Ok(())
}

fn has_many_files(repository: &Path) -> io::Result<bool> {
    let objects = repository.join("objects");
    let (mut loose, mut packs) = (0, 0);
    for folder in std::fs::read_dir(&objects)? {
        let folder = folder?;
        let name = folder.file_name();
        if name == "pack" {
            for file in std::fs::read_dir(folder.path())? {
                packs += usize::from(file?.file_name().as_encoded_bytes().ends_with(b".pack"));
            }
        } else if name.len() == 2 {
            loose += std::fs::read_dir(folder.path())?.count();
        }
    }
    Ok(loose > MAX_LOOSE || packs > MAX_PACKS)
}
