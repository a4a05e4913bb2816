//! The pre-receive hook: a process that asks the node whether a push may become a release.
//!
//! Git runs the hook in the repository, with the pushed objects in quarantine. The hook passes the update to the node over a
//! socket in the data directory, and the node's lines on to git, which shows them to the pusher as `remote:` lines. When the
//! pusher disconnects, git ends the hook, the connection closes, and the node ends the build.

use std::io::{BufRead, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};

use super::pushed_commit::{Push, QUARANTINE};

/// The variable that names the socket of the node.
pub(crate) const SOCKET: &str = "CORUNDUM_HOOK_SOCKET";
/// The variable that names the app of the repository.
pub(crate) const APP: &str = "CORUNDUM_HOOK_APP";

/// The branches that deploy.
const BRANCHES: [&str; 2] = ["refs/heads/main", "refs/heads/master"];

/// The last line of an accepted push, which the hook does not pass on.
pub(super) const ACCEPTED: &str = "\u{0}accepted";

/// Runs the hook. Git accepts the push if the exit status is zero.
pub fn pre_receive() -> ExitCode {
    match request() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!(" !     {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn request() -> anyhow::Result<bool> {
    let mut updates = Vec::new();
    for line in std::io::stdin().lock().take(1 << 20).lines() {
        updates.push(line?);
    }
    let fields: Vec<&str> = updates
        .first()
        .map(|line| line.split(' ').collect())
        .unwrap_or_default();
    let [old, commit, reference] = fields[..] else {
        bail!("git sent no update")
    };
    if updates.len() > 1 {
        bail!("Push one branch at a time: git push corundum main");
    }
    if !BRANCHES.contains(&reference) {
        bail!(
            "only main and master deploy, not {reference}.\n !     To deploy it: git push corundum {}:main",
            reference.trim_start_matches("refs/heads/")
        );
    }
    if commit.bytes().all(|byte| byte == b'0') {
        bail!("The deployed branch cannot be deleted. To delete the app: corundum apps:destroy");
    }
    let environ = QUARANTINE
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
    let push = Push {
        app: std::env::var(APP).context("not run by the node")?.parse()?,
        commit: commit.to_owned(),
        reference: reference.to_owned(),
        old: old.to_owned(),
        repository: std::env::current_dir()?,
        environ: environ.collect(),
    };
    let socket = std::env::var_os(SOCKET).context("not run by the node")?;
    let mut node = UnixStream::connect(socket).context("the node does not answer")?;
    serde_json::to_writer(&node, &push)?;
    node.write_all(b"\n")?;
    let mut accepted = false;
    for line in std::io::BufReader::new(node).lines() {
        let line = line?;
        if line == ACCEPTED {
            accepted = true;
        } else {
            println!("{line}");
            std::io::stdout().flush()?;
        }
    }
    Ok(accepted)
}

/// Returns the path of the socket on which a node listens for its hooks.
pub(crate) fn socket_path(data: &Path) -> PathBuf {
    data.join("hook.sock")
}
