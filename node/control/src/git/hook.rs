//! Git's hooks: processes that ask the node whether a push may become a release, and then make it one.
//!
//! Git runs `pre-receive` in the repository, with the pushed objects in quarantine. The hook passes the update to the node
//! over a socket in the data directory, and the node's lines on to git, which shows them to the pusher as `remote:` lines.
//! When the pusher disconnects, git ends the hook, the connection closes, and the node ends the build.
//!
//! After git has kept the objects, it leaves the update of the deployed branches to `proc-receive` (githooks(5)). This hook
//! has the node make the release and move the branch in one step. Without the hooks git refuses such an update, so a push
//! that was not built is never accepted.

use std::io::{self, BufRead, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use corundum_abi::names::AppName;
use serde::{Deserialize, Serialize};

use super::pushed_commit::{Push, QUARANTINE};
use super::updates::{self, RefUpdate, branch_of};

/// The variable that names the socket of the node.
pub(crate) const SOCKET: &str = "CORUNDUM_HOOK_SOCKET";
/// The variable that names the app of the repository.
pub(crate) const APP: &str = "CORUNDUM_HOOK_APP";
/// The variable with the number of the push.
pub(crate) const PUSH: &str = "CORUNDUM_HOOK_PUSH";

/// The last line of an accepted push, which the hook does not pass on.
pub(super) const ACCEPTED: &str = "\u{0}accepted";

/// Bytes of all updates of a push, some ten thousand.
const MAX_UPDATES: u64 = 1 << 20;
/// Bytes of a packet of git's protocol (gitprotocol-common(5)).
const MAX_PACKET: usize = 65_520;

/// A hook's request to the node.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum HookRequest {
    /// Check and build the pushed commit.
    Build(Push),
    /// Make the build a release, and move the branch.
    Release {
        app: AppName,
        /// The number of the push.
        number: u64,
        update: RefUpdate,
    },
}

/// Runs the hook of this name. Git accepts the push if the exit status is zero.
pub fn run(name: &str) -> ExitCode {
    let result = match name {
        "pre-receive" => pre_receive(),
        "proc-receive" => proc_receive().map(|()| true),
        _ => Err(anyhow::anyhow!("{name}: not a hook of this program")),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!(" !     {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Has the node build the commit of the deployed branch.
fn pre_receive() -> anyhow::Result<bool> {
    let mut updates = Vec::new();
    let mut input = io::stdin().lock().take(MAX_UPDATES);
    for line in (&mut input).lines() {
        updates.push(RefUpdate::parse(&line?)?);
    }
    if input.limit() == 0 {
        bail!("the push updates too many branches and tags at once; push fewer");
    }
    if std::env::var_os("GIT_PUSH_CERT").is_some() {
        bail!("signed pushes are not supported; push without --signed");
    }
    let Some(update) = updates::deploying(&updates)? else {
        eprintln!("       Nothing to deploy: only main and master do");
        return Ok(true);
    };
    let others = updates
        .iter()
        .filter(|other| other.reference.starts_with("refs/heads/") && *other != update);
    for other in others {
        let branch = branch_of(&other.reference);
        eprintln!(" !     {branch} does not deploy, only main and master do");
    }
    let environ = QUARANTINE
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
    ask(&HookRequest::Build(Push {
        app: app()?,
        number: number()?,
        update: update.clone(),
        repository: std::env::current_dir()?,
        environ: environ.collect(),
    }))
}

/// Has the node release the build and move the branch, and tells git the result of each update.
fn proc_receive() -> anyhow::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    while read_packet(&mut input)?.is_some() {}
    write_packet(&mut output, b"version=1\n")?;
    output.write_all(b"0000")?;
    output.flush()?;
    let mut updates = Vec::new();
    while let Some(packet) = read_packet(&mut input)? {
        updates.push(RefUpdate::parse(std::str::from_utf8(&packet)?)?);
    }
    for update in updates {
        let reference = update.reference.clone();
        let released = ask(&HookRequest::Release {
            app: app()?,
            number: number()?,
            update,
        });
        let result = match released {
            Ok(true) => format!("ok {reference}\n"),
            Ok(false) => format!("ng {reference} push rejected\n"),
            Err(error) => {
                eprintln!(" !     {error:#}");
                format!("ng {reference} push rejected\n")
            }
        };
        write_packet(&mut output, result.as_bytes())?;
    }
    output.write_all(b"0000")?;
    Ok(output.flush()?)
}

fn app() -> anyhow::Result<AppName> {
    Ok(std::env::var(APP).context("not run by the node")?.parse()?)
}

fn number() -> anyhow::Result<u64> {
    Ok(std::env::var(PUSH)
        .context("not run by the node")?
        .parse()?)
}

/// Sends a request to the node, passes its lines on, and returns whether the node accepted.
fn ask(request: &HookRequest) -> anyhow::Result<bool> {
    let socket = std::env::var_os(SOCKET).context("not run by the node")?;
    let mut node = UnixStream::connect(socket).context("the node does not answer")?;
    serde_json::to_writer(&node, request)?;
    node.write_all(b"\n")?;
    let mut accepted = false;
    for line in io::BufReader::new(node).lines() {
        let line = line?;
        if line == ACCEPTED {
            accepted = true;
        } else {
            eprintln!("{line}");
        }
    }
    Ok(accepted)
}

/// Reads a packet of git's protocol. Returns `None` for a flush packet.
fn read_packet(input: &mut impl Read) -> anyhow::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    input.read_exact(&mut length)?;
    let length = usize::from_str_radix(std::str::from_utf8(&length)?, 16)?;
    match length {
        0 => Ok(None),
        4..=MAX_PACKET => {
            let mut packet = vec![0; length - 4];
            input.read_exact(&mut packet)?;
            Ok(Some(packet))
        }
        _ => bail!("git sent a packet of {length} bytes"),
    }
}

fn write_packet(output: &mut impl Write, packet: &[u8]) -> io::Result<()> {
    write!(output, "{:04x}", packet.len() + 4)?;
    output.write_all(packet)
}

/// Returns the path of the socket on which a node listens for its hooks.
pub(crate) fn socket_path(data: &Path) -> PathBuf {
    data.join("hook.sock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_read_as_written() {
        let mut bytes = Vec::new();
        write_packet(&mut bytes, b"version=1\n").unwrap();
        bytes.extend_from_slice(b"0000");
        assert!(bytes.starts_with(b"000eversion=1\n"));
        let mut input = bytes.as_slice();
        let packet = read_packet(&mut input).unwrap();
        assert_eq!(packet.as_deref(), Some(&b"version=1\n"[..]));
        assert_eq!(read_packet(&mut input).unwrap(), None);
        for bad in ["", "00", "0003", "zzzz", "0009ab", "fff5"] {
            assert!(read_packet(&mut bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
