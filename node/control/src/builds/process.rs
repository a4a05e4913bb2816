//! Running the compile process: its input fed, its output relayed, its time limited.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use corundum_abi::names::SlugDigest;
use corundum_compiler::slug::Description;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use crate::builds::protocol::{Outcome, REFUSED, Request};
use crate::config::NodeConfig as Settings;
use corundum_store::ConfigVars;

/// A build may take this long, as on Heroku.
const TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// Bytes of output that a pusher is shown.
const MAX_OUTPUT: u64 = 4 << 20;
/// What the compile process gets of the node's environment: the way to gem servers, where a proxy leads there.
const PROXY: [&str; 8] = [
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
];

/// What is built.
pub(crate) enum Source {
    /// An app's tree: a process that writes it as a tar stream to its piped standard output.
    Tree(Child),
    /// An existing slug.
    Slug(PathBuf),
}

/// A finished build. What it made lies in its directory, and is gone with it unless it gets a name elsewhere.
pub(crate) struct Build {
    directory: TempDir,
    /// The slug's digest, if one was made.
    pub(crate) slug: Option<SlugDigest>,
    /// What the slug says of itself.
    pub(crate) about: Description,
}

impl Build {
    /// Where its slug is, if one was made.
    pub(crate) fn slug_path(&self) -> Option<PathBuf> {
        self.slug
            .as_ref()
            .map(|_| self.directory.path().join("slug.tar"))
    }

    /// Where its image is.
    pub(crate) fn image_path(&self) -> PathBuf {
        self.directory.path().join("image")
    }
}

/// A compile process and the directory it works in, which can be removed when the process has ended and not before.
struct Work {
    child: Option<Child>,
    directory: Option<TempDir>,
}

impl Drop for Work {
    fn drop(&mut self) {
        let (Some(mut child), directory) = (self.child.take(), self.directory.take()) else {
            return;
        };
        if matches!(child.try_wait(), Ok(Some(_))) {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            let _ = child.kill().await;
            drop(directory);
        });
    }
}

/// Builds `source` with the pack at `pack` for an app at `host`. Dropping the future ends the process; nothing of the
/// build is then left.
pub(crate) async fn run(
    settings: &Settings,
    pack: &Path,
    source: Source,
    host: String,
    config: &ConfigVars,
    mut say: impl FnMut(&str) + Send,
) -> anyhow::Result<Build> {
    let Settings { data, .. } = settings;
    let directory = tempfile::tempdir_in(data.join("work"))?;
    let place = directory.path().to_owned();
    let mut work = Work {
        child: None,
        directory: Some(directory),
    };
    let (slug, tree) = match source {
        Source::Slug(path) => (Some(path), None),
        Source::Tree(child) => (None, Some(child)),
    };
    let request = Request {
        pack: pack.to_owned(),
        slug,
        directory: place.clone(),
        limits: settings.build,
        gems: settings.gems.clone(),
        gem_sources: settings.gem_sources.clone(),
        gem_cache: data.join("gems"),
        host,
        config: config.clone().into_iter().collect(),
    };
    let child = Command::new(std::env::current_exe()?)
        .arg("compile")
        .env_clear()
        .envs(
            PROXY
                .iter()
                .filter_map(|name| Some((name, std::env::var_os(name)?))),
        )
        .current_dir(&place)
        .env("TMPDIR", &place)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .context("the compile process does not start")?;
    let child = work.child.insert(child);
    let mut input = child.stdin.take().context("no input")?;
    let frame = request.frame()?;
    let feed = async move {
        input.write_all(&frame).await?;
        if let Some(mut tree) = tree
            && let Some(mut tar) = tree.stdout.take()
        {
            tokio::io::copy(&mut tar, &mut input).await?;
            // Half a tree may look like a whole one.
            if !tree.wait().await?.success() {
                return Ok(Fed::Half);
            }
        }
        input.shutdown().await?;
        Ok::<_, std::io::Error>(Fed::Whole)
    };
    let output = child.stdout.take().context("no output")?;
    let relay = async {
        let mut lines = BufReader::new(output.take(MAX_OUTPUT)).split(b'\n');
        while let Some(line) = lines.next_segment().await? {
            say(&String::from_utf8_lossy(&line));
        }
        Ok::<_, std::io::Error>(())
    };
    let work_done = async {
        // The process may end before it has read everything: its status says why.
        let (fed, relayed) = tokio::join!(feed, relay);
        relayed?;
        Ok::<_, std::io::Error>((fed, child.wait().await?))
    };
    let (fed, status) = match tokio::time::timeout(TIMEOUT, work_done).await {
        Ok(done) => done?,
        Err(_) => bail!(
            "The build took longer than {} minutes and was ended",
            TIMEOUT.as_secs() / 60
        ),
    };
    if matches!(fed, Ok(Fed::Half)) {
        bail!("git could not read the whole pushed tree: push again");
    }
    if !status.success() {
        return Err(rejection(status));
    }
    let outcome: Outcome = serde_json::from_slice(&std::fs::read(place.join("result.json"))?)?;
    Ok(Build {
        directory: work.directory.take().context("no directory")?,
        slug: outcome.slug,
        about: outcome.description,
    })
}

/// How much of a tree the compile process got.
enum Fed {
    Whole,
    Half,
}

/// The compile process has refused the app and said why.
#[derive(Debug, thiserror::Error)]
#[error("the build failed")]
pub(crate) struct Refused;

/// What a failed process means to the pusher.
fn rejection(status: std::process::ExitStatus) -> anyhow::Error {
    use std::os::unix::process::ExitStatusExt;
    match status.signal() {
        Some(signal) => anyhow::anyhow!(
            "Push rejected: the build was ended by signal {signal}; it may have used too much time or memory"
        ),
        None if status.code() == Some(REFUSED) => Refused.into(),
        None => anyhow::anyhow!(
            "Push rejected: the build failed by a fault of the platform's ({status}). Its operator finds more in the node's own log"
        ),
    }
}
