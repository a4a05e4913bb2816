//! From a pushed commit to a live release: what is to be read of the commit itself, the build, the release.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use corundum_abi::names::AppName;
use corundum_build::BuildSource;
use corundum_compiler::app_json::{AppJson, ConfigVarDefault};
use corundum_compiler::detect::{VersionFiles, choose_series};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::sync::mpsc;

use crate::apps::config_vars as config;
use crate::git::http_backend as git;
use crate::platform::{Branch, MAX_FORMATION, Platform};
use crate::secret;
use corundum_store::ConfigVars;

/// The variables that git's commands need to see quarantined objects.
pub(crate) const QUARANTINE: [&str; 4] = [
    "GIT_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_QUARANTINE_PATH",
];

/// Bytes of a file that is read before the build.
const MAX_BLOB: u64 = 1 << 20;

/// A push as the hook describes it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Push {
    pub(crate) app: AppName,
    pub(crate) commit: String,
    /// The branch that is to become it.
    pub(crate) reference: String,
    /// What the pusher takes the branch to be now; zeros if there is none.
    pub(crate) old: String,
    pub(crate) repository: PathBuf,
    pub(crate) environ: BTreeMap<String, String>,
}

/// Builds the pushed commit and makes it the app's release; `lines` gets what the pusher is to read.
///
/// # Errors
///
/// Why there is no release; [`BuildProcessError::Rejected`](corundum_build::BuildProcessError::Rejected) when the build has told the
/// pusher itself.
pub(crate) async fn deploy(
    platform: &Arc<Platform>,
    push: &Push,
    lines: &mpsc::UnboundedSender<String>,
) -> anyhow::Result<()> {
    let tell = |line: &str| drop(lines.send(line.to_owned()));
    let app = &push.app;
    let _building = platform
        .begin_build(app)
        .context("Another push to this app is being built: wait for it, then push again")?;
    await_earlier(platform, push).await?;
    check_update(push).await?;
    let files = VersionFiles {
        lockfile: blob(push, "Gemfile.lock").await?,
        gemfile: blob(push, "Gemfile").await?,
        ruby_version: blob(push, ".ruby-version").await?,
    };
    let series = choose_series(&files)?;
    let tree = in_quarantine(push)
        .args(["archive", "--format=tar", &push.commit])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let about = match blob(push, "app.json").await? {
        Some(text) => AppJson::parse(&text)?,
        None => AppJson::default(),
    };
    let first = platform.store().current_release(app)?.is_none();
    let mut config = platform.store().config(app)?;
    add_defaults(&mut config, &about, app)?;
    let build = platform
        .build(app, series, BuildSource::Tree(tree), &config, tell)
        .await?;
    tell("-----> Launching...");
    let slug = build.slug.clone().context("the build made no slug")?;
    let short = push.commit.get(..8).unwrap_or(&push.commit);
    let description = format!("Deploy {short}");
    let release = platform
        .release(app, build, slug, &push.commit, description, &config)
        .await?;
    let (reference, commit) = (push.reference.clone(), push.commit.clone());
    platform.set_moving(app, Branch { reference, commit });
    if let Some(quantity) = about.web_quantity().filter(|_| first) {
        platform.scale(app, quantity.min(MAX_FORMATION))?;
    }
    tell(&format!("       Released {}", release.version));
    tell(&format!(
        "       {} deployed to Corundum",
        platform.url(app)
    ));
    Ok(())
}

/// Waits for git to move the branch of an earlier push, which it does a moment after the release. Between the two,
/// another push would get a release and then be refused by git.
async fn await_earlier(platform: &Platform, push: &Push) -> anyhow::Result<()> {
    let Some(earlier) = platform.take_moving(&push.app) else {
        return Ok(());
    };
    // A pusher that was killed in that moment moves nothing: then this push is as good as any.
    for _ in 0..100 {
        if branch(push, &earlier.reference).await? == earlier.commit {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// The commit of a branch; empty if there is none.
async fn branch(push: &Push, reference: &str) -> anyhow::Result<String> {
    say(push, &["for-each-ref", "--format=%(objectname)", reference]).await
}

/// Refuses what git would refuse after the hook, when the release would be live already.
async fn check_update(push: &Push) -> anyhow::Result<()> {
    let kind = say(push, &["cat-file", "-t", &push.commit]).await?;
    if kind != "commit" {
        let branch = push.reference.trim_start_matches("refs/heads/");
        bail!(
            "A branch is a commit, and this is a {kind}. To push the commit of a tag: git push corundum TAG^{{}}:{branch}"
        );
    }
    let now = branch(push, &push.reference).await?;
    let none = push.old.bytes().all(|byte| byte == b'0');
    if now != push.old && !(now.is_empty() && none) {
        bail!("Another push has changed the branch meanwhile: push again");
    }
    Ok(())
}

/// What one of git's commands says.
async fn say(push: &Push, arguments: &[&str]) -> anyhow::Result<String> {
    let output = in_quarantine(push)
        .args(arguments)
        .kill_on_drop(true)
        .output()
        .await?;
    let error = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "git: {}", error.trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Gives config vars that `app.json` declares, and the app does not have, their values.
fn add_defaults(config: &mut ConfigVars, about: &AppJson, app: &AppName) -> anyhow::Result<()> {
    let mut missing = Vec::new();
    for (name, variable) in &about.env {
        if config.contains_key(name) {
            continue;
        }
        match variable.default_value() {
            ConfigVarDefault::Value(value) => drop(config.insert(name.clone(), value)),
            ConfigVarDefault::Secret => drop(config.insert(name.clone(), secret::new())),
            ConfigVarDefault::Missing => missing.push(format!("{name}=...")),
            ConfigVarDefault::Unset => {}
        }
    }
    if !missing.is_empty() {
        bail!(
            "app.json says that the app needs config vars that are not set. Set them, then push again:\n corundum config:set --app {app} {}",
            missing.join(" ")
        );
    }
    Ok(config::check(config)?)
}

/// git in the pushed repository, where it sees the pushed objects.
fn in_quarantine(push: &Push) -> Command {
    let mut command = git::command();
    command
        .current_dir(&push.repository)
        .envs(
            push.environ
                .iter()
                .filter(|(name, _)| QUARANTINE.contains(&name.as_str())),
        )
        .stdin(Stdio::null());
    command
}

/// A small file of the pushed commit, or none.
async fn blob(push: &Push, path: &str) -> anyhow::Result<Option<String>> {
    let mut child = in_quarantine(push)
        .args(["cat-file", "blob", &format!("{}:{path}", push.commit)])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let mut text = Vec::new();
    if let Some(output) = child.stdout.take() {
        output.take(MAX_BLOB + 1).read_to_end(&mut text).await?;
    }
    if text.len() as u64 > MAX_BLOB {
        bail!("{path} is larger than {} MB", MAX_BLOB >> 20);
    }
    let found = child.wait().await?.success();
    Ok(found.then(|| String::from_utf8_lossy(&text).into_owned()))
}
