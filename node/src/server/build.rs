//! Running the compile process: its input fed, its output relayed, its time limited.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use corundum_compiler::slug::Description;
use corundum_sdk::names::SlugDigest;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use super::Settings;
use super::store::Config;
use crate::compile::{Outcome, Request};

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

/// A finished build.
pub(crate) struct Build {
    /// The slug's digest, if one was made. It is in its place.
    pub(crate) slug: Option<SlugDigest>,
    /// The image's directory name. It is in its place.
    pub(crate) image: String,
    /// What the slug says of itself.
    pub(crate) about: Description,
}

/// Builds `source` with the pack at `pack` for an app at `host`, and puts the results into their places below the data
/// directory. Dropping the future ends the process; nothing of the build is then left.
pub(crate) async fn run(
    settings: &Settings,
    pack: &Path,
    source: Source,
    host: String,
    config: &Config,
    mut say: impl FnMut(&str) + Send,
) -> anyhow::Result<Build> {
    let Settings { data, .. } = settings;
    let work = tempfile::tempdir_in(data.join("work"))?;
    let (slug, tree) = match source {
        Source::Slug(path) => (Some(path), None),
        Source::Tree(child) => (None, Some(child)),
    };
    let request = Request {
        pack: pack.to_owned(),
        slug,
        directory: work.path().to_owned(),
        gems: settings.gems.clone(),
        gem_sources: settings.gem_sources.clone(),
        gem_cache: data.join("gems"),
        host,
        config: config.clone().into_iter().collect(),
    };
    let mut child = Command::new(std::env::current_exe()?)
        .arg("compile")
        .env_clear()
        .envs(
            PROXY
                .iter()
                .filter_map(|name| Some((name, std::env::var_os(name)?))),
        )
        .current_dir(work.path())
        .env("TMPDIR", work.path())
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .context("the compile process does not start")?;
    let mut input = child.stdin.take().context("no input")?;
    let frame = request.frame()?;
    let feed = async move {
        input.write_all(&frame).await?;
        if let Some(mut tree) = tree
            && let Some(mut tar) = tree.stdout.take()
        {
            tokio::io::copy(&mut tar, &mut input).await?;
        }
        input.shutdown().await
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
        let (_, relayed) = tokio::join!(feed, relay);
        relayed?;
        child.wait().await
    };
    let status = match tokio::time::timeout(TIMEOUT, work_done).await {
        Ok(status) => status?,
        Err(_) => bail!(
            "The build took longer than {} minutes and was ended",
            TIMEOUT.as_secs() / 60
        ),
    };
    if !status.success() {
        return Err(rejection(status));
    }
    let outcome: Outcome =
        serde_json::from_slice(&std::fs::read(work.path().join("result.json"))?)?;
    if let Some(digest) = &outcome.slug {
        let place = data.join("slugs").join(format!("{digest}.tar"));
        std::fs::rename(work.path().join("slug.tar"), place)?;
    }
    let image = uuid::Uuid::new_v4().to_string();
    std::fs::rename(work.path().join("image"), data.join("images").join(&image))?;
    Ok(Build {
        slug: outcome.slug,
        image,
        about: outcome.description,
    })
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
        None => Refused.into(),
    }
}
