//! Deploys a pushed commit: reads its settings, builds it, and makes it the app's release.

use std::sync::Arc;
use std::time::Duration;

use corundum_abi::names::AppName;
use corundum_build::BuildSource;
use corundum_build::slots::BuildUrgency;
use corundum_compiler::app_json::{AppJson, AppJsonError, ConfigVarDefault};
use corundum_compiler::detect::{UnknownRuby, VersionFiles, choose_series};
use corundum_store::{ConfigVars, Store, StoreError};
use tokio::sync::mpsc;
use tracing::Instrument;

use super::pushed_commit::{CommitError, Push};
use crate::apps::config_vars::{self, ConfigVarError};
use crate::apps::formation::Formations;
use crate::apps::locks::{AppLocks, MovingBranch};
use crate::build_record::RunningBuild;
use crate::builds::{AppBuildError, Builder};
use crate::releases::error::ReleaseError;
use crate::releases::{NewRelease, Releases};
use crate::routing::view::RouterView;
use crate::secret;
use crate::storage::usage::{DiskUsage, UsageError};

/// A push that did not become a release.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PushError {
    /// Another push to the app is being built.
    #[error("another push to this app is being built: wait for it, then push again")]
    Busy,
    /// The commit cannot be read or may not be deployed.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The app asks for an unsupported Ruby version.
    #[error(transparent)]
    Ruby(#[from] UnknownRuby),
    /// `app.json` is invalid.
    #[error(transparent)]
    AppJson(#[from] AppJsonError),
    /// `app.json` requires config vars that are not set.
    #[error(
        "app.json says that the app needs config vars that are not set. Set them, then push again:\n corundum config:set --app {app} {missing}"
    )]
    MissingConfig {
        /// The app.
        app: AppName,
        /// The config vars in the form of `config:set`.
        missing: String,
    },
    /// The config vars of `app.json` are invalid.
    #[error(transparent)]
    Config(#[from] ConfigVarError),
    /// No secret can be generated.
    #[error("no random numbers: {0}")]
    Random(#[from] getrandom::Error),
    /// The build failed.
    #[error(transparent)]
    Build(#[from] AppBuildError),
    /// The build succeeded but made no slug.
    #[error("the build made no slug")]
    NoSlug,
    /// The app takes more disk than it may, or its disk cannot be measured.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// The release cannot be made.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PushError {
    /// Returns whether the build has told the pusher itself why it failed.
    pub(crate) fn is_rejection(&self) -> bool {
        match self {
            Self::Build(error) => error.is_rejection(),
            Self::Release(error) => error.is_rejection(),
            _ => false,
        }
    }
}

/// The parts of a node that a push needs.
pub struct PushParts {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The locks by app.
    pub locks: Arc<AppLocks>,
    /// The builder.
    pub builder: Arc<Builder>,
    /// The releases.
    pub releases: Arc<Releases>,
    /// The formations.
    pub formations: Arc<Formations>,
    /// The router's view of apps.
    pub view: Arc<RouterView>,
    /// Web dynos that the `app.json` of a tree may ask for.
    pub formation_limit: u32,
    /// The disk of apps.
    pub usage: DiskUsage,
}

/// Deploys pushes.
pub struct Pushes(PushParts);

impl Pushes {
    /// Creates the type from its parts.
    pub fn new(parts: PushParts) -> Self {
        Self(parts)
    }

    /// Builds the pushed commit and makes it the app's release. `lines` gets the lines for the pusher.
    ///
    /// # Errors
    ///
    /// [`PushError`]; the running release then stays.
    pub(crate) async fn deploy(
        &self,
        push: &Push,
        lines: &mpsc::UnboundedSender<String>,
    ) -> Result<(), PushError> {
        let span = tracing::info_span!(
            "push",
            app = %push.app,
            commit = push.commit,
            release = tracing::field::Empty,
        );
        let deployed = self.deploy_in_span(push, lines).instrument(span.clone());
        let result = deployed.await;
        let _entered = span.enter();
        match &result {
            Ok(()) => tracing::info!("push deployed"),
            Err(error) => tracing::info!(%error, "push rejected"),
        }
        result
    }

    async fn deploy_in_span(
        &self,
        push: &Push,
        lines: &mpsc::UnboundedSender<String>,
    ) -> Result<(), PushError> {
        let (app, parts) = (&push.app, &self.0);
        let _building = parts.locks.begin_build(app).ok_or(PushError::Busy)?;
        self.await_earlier(push).await?;
        push.validate().await?;
        // With the objects of this push, which are in the repository already.
        parts.usage.check(app, 0).await?;
        let record = RunningBuild::begin(&parts.store, app, &push.commit)?;
        let report = |line: &str| {
            record.add_line(line);
            drop(lines.send(line.to_owned()));
        };
        let files = VersionFiles {
            lockfile: push.file("Gemfile.lock").await?,
            gemfile: push.file("Gemfile").await?,
            ruby_version: push.file(".ruby-version").await?,
        };
        let series = choose_series(&files)?;
        let app_json = match push.file("app.json").await? {
            Some(text) => AppJson::parse(&text)?,
            None => AppJson::default(),
        };
        // A damaged record of a release is one: this push replaces it.
        let first = matches!(parts.store.current_release(app), Ok(None));
        let mut config = parts.store.config(app)?;
        add_defaults(&mut config, &app_json, app)?;
        // Git begins to read the tree when the build may start.
        let slot = parts
            .builder
            .slot(app, BuildUrgency::Awaited, report)
            .await?;
        let source = BuildSource::Tree(push.tree().map_err(CommitError::from)?);
        let built = parts
            .builder
            .build(&slot, app, series, source, &config, report);
        let build = built.await?;
        drop(slot);
        let built = tokio::fs::metadata(build.slug_path().ok_or(PushError::NoSlug)?).await;
        parts
            .usage
            .check(app, built.map_err(UsageError::from)?.len())
            .await?;
        report("-----> Launching...");
        let slug = build.slug.clone().ok_or(PushError::NoSlug)?;
        let short = push.commit.get(..8).unwrap_or(&push.commit);
        let new = NewRelease {
            build,
            slug,
            commit: &push.commit,
            description: format!("Deploy {short}"),
            config: &config,
        };
        let release = parts.releases.add(app, new).await?;
        record.succeed(release.slug.clone(), release.version);
        let branch = MovingBranch {
            reference: push.reference.clone(),
            commit: push.commit.clone(),
        };
        parts.locks.set_moving(app, branch);
        if let Some(asked) = app_json.web_quantity().filter(|_| first) {
            let quantity = asked.min(parts.formation_limit);
            parts.formations.scale(app, quantity)?;
            if quantity < asked {
                report(&format!(
                    "       app.json asks for {asked} web dynos, and gets {quantity}, this node's limit for app.json"
                ));
            }
        }
        if let Some(size) = app_json.unavailable_size() {
            report(&format!(
                "       app.json asks for dynos of the size {size:?}; every dyno of this node has 512 MB"
            ));
        }
        report(&format!("       Released {}", release.version));
        let url = parts.view.web_url(app);
        report(&format!("       {url} deployed to Corundum"));
        Ok(())
    }

    /// Waits for git to move the branch of an earlier push, which it does a moment after the release. Another push in
    /// between would get a release and then be rejected by git.
    async fn await_earlier(&self, push: &Push) -> Result<(), PushError> {
        let Some(earlier) = self.0.locks.take_moving(&push.app) else {
            return Ok(());
        };
        // A pusher that was killed in that moment moves no branch; after a second this push goes on.
        for _ in 0..100 {
            if push.branch(&earlier.reference).await? == earlier.commit {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

/// Sets the config vars that `app.json` declares and the app does not have.
fn add_defaults(
    config: &mut ConfigVars,
    app_json: &AppJson,
    app: &AppName,
) -> Result<(), PushError> {
    let mut missing = Vec::new();
    for (name, variable) in &app_json.env {
        if config.contains_key(name) {
            continue;
        }
        match variable.default_value() {
            ConfigVarDefault::Value(value) => drop(config.insert(name.clone(), value)),
            ConfigVarDefault::Secret => drop(config.insert(name.clone(), secret::random_hex()?)),
            ConfigVarDefault::Missing => missing.push(format!("{name}=...")),
            ConfigVarDefault::Unset => {}
        }
    }
    if !missing.is_empty() {
        return Err(PushError::MissingConfig {
            app: app.clone(),
            missing: missing.join(" "),
        });
    }
    Ok(config_vars::check(config)?)
}
