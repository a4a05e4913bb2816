//! Deploys a pushed commit: reads its settings, builds it, and makes it the app's release.

use std::sync::Arc;
use std::time::Duration;

use corundum_abi::names::AppName;
use corundum_build::slots::BuildUrgency;
use corundum_build::{BuildSource, FinishedBuild};
use corundum_compiler::app_json::{AppJson, AppJsonError, ConfigVarDefault};
use corundum_compiler::detect::{self, DetectError};
use corundum_compiler::language_version::{self, LanguageVersionError};
use corundum_compiler::ruby_version::{self, UnknownRuby};
use corundum_compiler::slug::SlugDescription;
use corundum_host::grid::DynoGrid;
use corundum_pack::language::{CompileStep, LanguageSeries};
use corundum_store::{ConfigVars, Store, StoreError};
use tokio::sync::mpsc;
use tracing::Instrument;

use super::command::GitError;
use super::first_formation;
use super::intent::{self, IntentError, PushIntent};
use super::postdeploy;
use super::pushed_commit::{CommitError, Push};
use super::receiving::ReceivingPushes;
use super::ref_transaction::RefTransaction;
use super::updates::RefUpdate;
use crate::apps::config_vars::{self, ConfigVarError};
use crate::apps::formation::Formations;
use crate::apps::locks::{AppLocks, BuildGuard};
use crate::build_record::RunningBuild;
use crate::builds::{AppBuildError, Builder};
use crate::data_dir::DataDir;
use crate::outbound::OutboundPolicies;
use crate::outbound::list_changes::list_changes;
use crate::processes::Processes;
use crate::releases::error::ReleaseError;
use crate::releases::{NewRelease, Releases};
use crate::routing::view::RouterView;
use crate::secret;
use crate::services::addons::{AddonError, Addons};
use crate::services::automatic;
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
    /// The language of the app is unknown.
    #[error("{0}\n\nPush rejected, failed to compile app.")]
    Language(#[from] DetectError),
    /// The app asks for a version of its language that no pack has.
    #[error(transparent)]
    Version(#[from] LanguageVersionError),
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
    /// An add-on of `app.json` cannot be created.
    #[error("app.json: cannot create an add-on: {0}")]
    Addon(#[from] AddonError),
    /// The build failed.
    #[error(transparent)]
    Build(#[from] AppBuildError),
    /// Git asks to release a push that this process has not built.
    #[error("the push was not built: push again")]
    NotBuilt,
    /// The node ended while it made the release.
    #[error("the node was stopped: push again")]
    Interrupted,
    /// The branch cannot be locked, or its object is missing.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The push cannot be noted.
    #[error(transparent)]
    Intent(#[from] IntentError),
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
    /// The data directory.
    pub data: Arc<DataDir>,
    /// The open pushes.
    pub receiving: Arc<ReceivingPushes>,
    /// The locks by app.
    pub locks: Arc<AppLocks>,
    /// The builder.
    pub builder: Arc<Builder>,
    /// The releases.
    pub releases: Arc<Releases>,
    /// The grid.
    pub grid: DynoGrid,
    /// The formations.
    pub formations: Arc<Formations>,
    /// The processes beside web.
    pub processes: Arc<Processes>,
    /// The router's view of apps.
    pub view: Arc<RouterView>,
    /// Web dynos that the `app.json` of a tree may ask for.
    pub formation_limit: u32,
    /// The disk of apps.
    pub usage: DiskUsage,
    /// The add-ons.
    pub addons: Arc<Addons>,
    /// The operator's policies for connections that apps open.
    pub outbound: Arc<OutboundPolicies>,
}

/// A built push, which becomes a release once git has kept its objects. Its app stays locked until then.
pub(crate) struct BuiltPush {
    update: RefUpdate,
    build: FinishedBuild,
    config: ConfigVars,
    app_json: AppJson,
    /// The version of the release that this one follows; 0 if there is none.
    after: u64,
    /// That release, if its record can be read.
    before: Option<SlugDescription>,
    record: RunningBuild,
    building: BuildGuard,
}

/// Deploys pushes.
pub struct Pushes(PushParts);

impl Pushes {
    /// Creates the type from its parts.
    pub fn new(parts: PushParts) -> Self {
        Self(parts)
    }

    /// Checks and builds the pushed commit. `lines` gets the lines for the pusher.
    ///
    /// # Errors
    ///
    /// [`PushError`]; the running release then stays.
    pub(crate) async fn build(
        &self,
        push: &Push,
        lines: &mpsc::UnboundedSender<String>,
    ) -> Result<(), PushError> {
        let span = tracing::info_span!("push", app = %push.app, commit = push.commit());
        let built = self.build_in_span(push, lines).instrument(span.clone());
        let result = built.await;
        let _entered = span.enter();
        if let Err(error) = &result {
            tracing::info!(%error, "push rejected");
        }
        result
    }

    async fn build_in_span(
        &self,
        push: &Push,
        lines: &mpsc::UnboundedSender<String>,
    ) -> Result<(), PushError> {
        let (app, parts) = (&push.app, &self.0);
        let receiving = parts.receiving.get(push.number);
        let receiving = receiving.ok_or(PushError::NotBuilt)?;
        receiving.set_received();
        let building = parts.locks.begin_build(app).ok_or(PushError::Busy)?;
        intent::reconcile(&parts.data, &*parts.store, app).await?;
        let repository = parts.data.repository(app);
        intent::clear_lock(&repository, &push.update.reference).await?;
        push.validate().await?;
        // With the objects of this push, which are in the repository already.
        parts.usage.check(app, 0).await?;
        let record = RunningBuild::begin(&parts.store, app, push.commit())?;
        let report = |line: &str| {
            record.add_line(line);
            drop(lines.send(line.to_owned()));
        };
        let languages = parts.builder.languages()?;
        let (tree, texts) = push.read(&languages).await?;
        let app_json = match &texts.app_json {
            Some(text) => AppJson::parse(text)?,
            None => AppJson::default(),
        };
        let asked = app_json.language.as_deref();
        let known = detect::detect(&languages, asked, |path| tree.has_file(path))?;
        let is_ruby = known.profile.compile == CompileStep::Bundler;
        let series: LanguageSeries = match is_ruby {
            true => ruby_version::choose_series(&texts.versions)?.into(),
            false => {
                language_version::choose_series(known, |path| texts.others.get(path).cloned())?
            }
        };
        // A damaged record of a release is one: this push replaces it.
        let (after, before) = match parts.store.current_release(app) {
            Ok(Some(release)) => (release.version.0, Some(release.about)),
            Ok(None) => (0, None),
            Err(StoreError::UnreadableRelease { version, .. }) => (version.0, None),
            Err(error) => return Err(error.into()),
        };
        if after == 0 {
            let lockfile = texts.versions.lockfile.as_deref();
            automatic::provide(&parts.addons, app, &app_json, lockfile, &report).await?;
        }
        let mut config = parts.store.config(app)?;
        add_defaults(&mut config, &app_json, app)?;
        let is_rails = texts
            .versions
            .lockfile
            .as_deref()
            .is_some_and(|lockfile| is_ruby && detect::is_rails(lockfile));
        // Rails does not start in production without one.
        if is_rails && !config.contains_key(SECRET_KEY) {
            config.insert(SECRET_KEY.to_owned(), secret::random_hex()?);
        }
        // Git begins to read the tree when the build may start.
        let slot = parts
            .builder
            .slot(app, BuildUrgency::Awaited, report)
            .await?;
        let input = parts.builder.input(&*parts.store, app, &config)?;
        let stream = tree.stream(push.git()).map_err(GitError::from)?;
        let source = BuildSource::Tree(stream);
        let built = parts
            .builder
            .build(&slot, app, &series, source, input, report);
        let build = built.await?;
        drop(slot);
        let built = tokio::fs::metadata(build.slug_path().ok_or(PushError::NoSlug)?).await;
        parts
            .usage
            .check(app, built.map_err(UsageError::from)?.len())
            .await?;
        receiving.set_built(BuiltPush {
            update: push.update.clone(),
            build,
            config,
            app_json,
            after,
            before,
            record,
            building,
        });
        Ok(())
    }

    /// Makes the build of a push the app's release and moves the branch: both, or neither.
    ///
    /// The two are finished even if the pusher disconnects meanwhile.
    ///
    /// # Errors
    ///
    /// [`PushError`]; the running release then stays, and so does the branch.
    pub(crate) async fn release(
        self: &Arc<Self>,
        app: &AppName,
        number: u64,
        update: &RefUpdate,
        lines: &mpsc::UnboundedSender<String>,
    ) -> Result<(), PushError> {
        let span = tracing::info_span!(
            "push",
            %app,
            commit = update.new,
            release = tracing::field::Empty,
        );
        let built = self.0.receiving.get(number);
        let built = built.and_then(|push| push.take_built());
        let built = built.filter(|built| built.update == *update);
        let built = built.ok_or(PushError::NotBuilt)?;
        let (pushes, app, lines) = (self.clone(), app.clone(), lines.clone());
        let finished = tokio::spawn(
            async move {
                let result = pushes.release_build(&app, built, &lines).await;
                match &result {
                    Ok(()) => tracing::info!("push deployed"),
                    Err(error) => tracing::info!(%error, "push rejected"),
                }
                result
            }
            .instrument(span),
        );
        finished.await.unwrap_or(Err(PushError::Interrupted))
    }

    async fn release_build(
        &self,
        app: &AppName,
        built: BuiltPush,
        lines: &mpsc::UnboundedSender<String>,
    ) -> Result<(), PushError> {
        let parts = &self.0;
        let BuiltPush {
            update,
            build,
            config,
            app_json,
            after,
            before,
            record,
            building,
        } = built;
        let report = |line: &str| {
            record.add_line(line);
            drop(lines.send(line.to_owned()));
        };
        report("-----> Launching...");
        let slug = build.slug.clone().ok_or(PushError::NoSlug)?;
        let short = update.new.get(..8).unwrap_or(&update.new);
        let new = NewRelease {
            build,
            slug,
            commit: &update.new,
            description: format!("Deploy {short}"),
            config: &config,
            report: &report,
        };
        if after == 0 && app_json.postdeploy().is_some() {
            postdeploy::plan(&*parts.store, app)?;
        }
        // From the note to its removal, the branch follows the store after a crash.
        let note = PushIntent {
            update: update.clone(),
            after,
        };
        note.write(&parts.data, app)?;
        let added = async {
            let branch = RefTransaction::prepare(&parts.data.repository(app), &update).await?;
            let release = parts.releases.add(app, new).await?;
            Ok::<_, PushError>((branch, release))
        };
        let (branch, release) = match added.await {
            Ok(added) => added,
            Err(error) => {
                self.settle(app).await;
                return Err(error);
            }
        };
        record.succeed(release.slug.clone(), release.version);
        match branch.commit().await {
            Ok(()) => PushIntent::remove(&parts.data, app),
            Err(error) => {
                tracing::error!(%error, "could not move the branch of a released push");
                self.settle(app).await;
            }
        }
        // The push has succeeded: no failure of a later step may tell the pusher otherwise.
        if after == 0 {
            let (formations, processes) = (&parts.formations, &parts.processes);
            let declared = &release.about.processes;
            let limit = parts.formation_limit;
            for line in
                first_formation::apply(formations, processes, app, &app_json, declared, limit)
            {
                report(&format!("       {line}"));
            }
        }
        if let Some(size) = app_json.unavailable_size() {
            report(&format!(
                "       app.json asks for dynos of the size {size:?}; web dynos of this node have 512 MB"
            ));
        }
        let old = before.as_ref().map(|about| &about.outbound);
        let default = parts.outbound.base().default;
        for line in list_changes(old, &app_json.outbound, default) {
            report(&format!("       {line}"));
        }
        if let Some(command) = app_json.postdeploy() {
            postdeploy::run(&*parts.store, &parts.grid, app, command, &report).await;
        }
        report(&format!("       Released {}", release.version));
        let url = parts.view.web_url(app, &parts.store.settings(app)?);
        report(&format!("       {url} deployed to Corundum"));
        drop(building);
        Ok(())
    }

    /// Makes the branches follow their releases for which an earlier process left a note.
    pub async fn settle_interrupted(&self) {
        for app in intent::noted_apps(&self.0.data) {
            // A push that is being built settles the app itself.
            while PushIntent::exists(&self.0.data, &app) {
                if let Some(_building) = self.0.locks.begin_build(&app) {
                    self.settle(&app).await;
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// Makes a branch follow its release. A note that stays has that done again at the app's next git request.
    async fn settle(&self, app: &AppName) {
        let parts = &self.0;
        if let Err(error) = intent::reconcile(&parts.data, &*parts.store, app).await {
            tracing::error!(%app, %error, "could not settle an interrupted push");
        }
    }
}

/// The config var with the key by which Rails signs cookies.
const SECRET_KEY: &str = "SECRET_KEY_BASE";

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
