//! The pre-receive hook: git asks the node whether a push may become a release.
//!
//! git runs the hook in the repository, with the pushed objects in quarantine; the hook passes what it was told to the
//! node over a socket in the data directory, and what the node says on to git, which shows it to the pusher as
//! `remote:` lines. If the pusher goes away, the hook ends, its connection closes, and the build is ended with it.

use std::io::{BufRead, Read, Write};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use corundum_build::BuildProcessError;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

use crate::git::push::{Push, QUARANTINE, deploy};
use crate::platform::Platform;

/// The variable that tells the hook where the node listens.
pub(crate) const SOCKET: &str = "CORUNDUM_HOOK_SOCKET";
/// The variable that tells the hook whose repository it is.
pub(crate) const APP: &str = "CORUNDUM_HOOK_APP";

/// The branches that deploy.
const BRANCHES: [&str; 2] = ["refs/heads/main", "refs/heads/master"];

/// The last line of an accepted push, which git is not shown.
const ACCEPTED: &str = "\u{0}accepted";

/// The hook's own process: its exit status decides.
pub fn pre_receive() -> ExitCode {
    match ask() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!(" !     {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn ask() -> anyhow::Result<bool> {
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
            "Only main and master are deployed, and this is {reference}.\n !     To deploy it: git push corundum {}:main",
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
    let mut node = StdUnixStream::connect(socket).context("the node does not answer")?;
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

/// Where the node of a data directory listens for its hooks.
pub(crate) fn socket_path(data: &Path) -> PathBuf {
    data.join("hook.sock")
}

/// Listens for hooks.
pub(crate) fn listen(platform: &Platform) -> anyhow::Result<UnixListener> {
    let path = socket_path(&platform.settings().data);
    let _ = std::fs::remove_file(&path);
    UnixListener::bind(&path).with_context(|| format!("cannot listen on {}", path.display()))
}

/// Serves hooks. The data directory lets nobody else in.
pub(crate) async fn serve(listener: UnixListener, platform: Arc<Platform>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let platform = platform.clone();
                tokio::spawn(async move {
                    if let Err(error) = answer(stream, platform).await {
                        tracing::warn!(error = format!("{error:#}"), "a hook");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accept");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
}

/// Returns whether the build has told the pusher itself why it failed.
fn is_rejection(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(BuildProcessError::Rejected))
}

async fn answer(stream: UnixStream, platform: Arc<Platform>) -> anyhow::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut line = String::new();
    (&mut reader).take(1 << 20).read_line(&mut line).await?;
    let push: Push = serde_json::from_str(&line)?;
    // Unbounded, but for what one build may say (`MAX_OUTPUT_BYTES` of the build process): the build must not wait for its reader.
    let (lines, mut said) = mpsc::unbounded_channel::<String>();
    let relay = async {
        while let Some(line) = said.recv().await {
            writer.write_all(format!("{line}\n").as_bytes()).await?;
        }
        Ok::<_, std::io::Error>(())
    };
    let work = async {
        let result = deploy(&platform, &push, &lines).await;
        match result {
            Ok(()) => drop(lines.send(ACCEPTED.to_owned())),
            // The build has said it already.
            Err(error) if is_rejection(&error) => {}
            Err(error) => {
                let text = format!("{error:#}").replace('\n', "\n !     ");
                let _ = lines.send(format!(" !\n !     {text}\n !"));
            }
        }
        drop(lines);
    };
    let gone = async {
        // The hook says nothing more: a read that ends means that it has gone.
        let mut byte = [0];
        let _ = reader.read(&mut byte).await;
    };
    tokio::select! {
        (result, ()) = async { tokio::join!(relay, work) } => Ok(result?),
        () = gone => bail!("the pusher of {} went away: the build was ended", push.app),
    }
}
