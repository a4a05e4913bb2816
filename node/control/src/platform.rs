//! The platform: store, packs, slugs, images and the grid as one.

use std::collections::{HashMap, HashSet};
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use corundum_abi::names::{AppName, ReleaseVersion, SlugDigest};
use corundum_build::{BuildJob, BuildSettings, BuildSource, FinishedBuild};
use corundum_compiler::process::{environ, split_command};
use corundum_host::engine::{Engine, EngineConfig};
use corundum_host::grid::{DynoGrid, GridLimits, GridRelease};
use corundum_host::image::Image;
use corundum_host::pack::Pack;
use corundum_host::slug;
use corundum_pack::PackDir;
use corundum_pack::ruby::{self, Edition, Series};
use corundum_router::cache::Cache;
use corundum_router::files::StaticFiles;
use corundum_router::metrics::MetricsRegistry;
use tokio::sync::OnceCell;

use crate::acme::Wake;
use crate::apps::autoscale;
use crate::apps::autoscale::Autoscale;
use crate::certs::resolver::Shown;
use crate::config::NodeConfig as Settings;
use crate::drains::{Drains, Policy};
use crate::logs::Logs;
use crate::packs;
use crate::routing::static_files as files;
use crate::routing::static_files::Files;
use crate::routing::virtual_hosts::Sites;
use corundum_store::{AppRecord, ConfigVars, ReleaseRecord, SqliteStore, Store, now};

/// Web dynos of an app that nobody has scaled: each serves one request at a time, and an idle app has none.
const FORMATION: u32 = 16;

/// Web dynos that an app can be scaled to, which is about what a whole node has.
pub(crate) const MAX_FORMATION: u32 = 10_000;

/// A node's parts.
pub(crate) struct Platform {
    settings: Settings,
    store: Box<dyn Store>,
    logs: Arc<Logs>,
    engine: Engine,
    grid: DynoGrid,
    metrics: MetricsRegistry,
    /// Responses of all apps.
    cache: Arc<Cache>,
    autoscale: Autoscale,
    sites: Sites,
    files: Files,
    drains: Drains,
    shown: Shown,
    acme: Wake,
    /// Each is prepared once, and none waits for another's preparation.
    packs: Mutex<HashMap<Edition, Arc<OnceCell<Arc<Ready>>>>>,
    building: Mutex<HashSet<AppName>>,
    /// Branches that accepted pushes are about to move, and where to; by app.
    moving: Mutex<HashMap<AppName, Branch>>,
    /// Exchanges of git's protocol that go on, by app.
    receiving: Mutex<HashMap<AppName, usize>>,
    /// Held while slugs get or lose their names, so that none is removed that a release is about to name.
    naming: Mutex<()>,
    /// Locked as long as this process may write to the data directory.
    lock: File,
    handed_over: AtomicBool,
}

/// A branch of an app's repository and the commit that it is to be.
pub(crate) struct Branch {
    pub(crate) reference: String,
    pub(crate) commit: String,
}

/// A pack that is ready: its directory for compile processes, and its code for the grid.
pub(crate) struct Ready {
    directory: PackDir,
    pack: Arc<Pack>,
}

impl Platform {
    /// Opens a node's data directory, making it if it is not there.
    pub(crate) fn open(
        settings: Settings,
        compute: tokio::runtime::Handle,
    ) -> anyhow::Result<Self> {
        let data = &settings.data;
        for directory in [
            data.clone(),
            data.join("slugs"),
            data.join("images"),
            data.join("repos"),
            data.join("gems"),
        ] {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&directory)
                .with_context(|| format!("the data directory {}", directory.display()))?;
        }
        let lock = File::create(data.join("lock"))?;
        if lock.try_lock().is_err() {
            bail!(
                "another corundum server uses {}: stop it, or choose another --data-dir",
                data.display()
            );
        }
        // What a killed compile left behind.
        let _ = fs::remove_dir_all(data.join("work"));
        DirBuilder::new().mode(0o700).create(data.join("work"))?;
        let store = Box::new(SqliteStore::open(&data.join("corundum.sqlite"))?);
        let logs = Arc::new(Logs::default());
        let engine = Engine::new(EngineConfig::default())?;
        let grid = DynoGrid::new(engine.clone(), GridLimits::default(), logs.clone(), compute);
        let sites = Sites::default();
        let policy = Policy::new(settings.drain_private, settings.drain_ca.as_deref())?;
        let drains = Drains::new(policy);
        let (packs, building) = (Mutex::default(), Mutex::default());
        let cache = Arc::new(Cache::new(settings.cache_size));
        let (moving, receiving, naming) = Default::default();
        Ok(Self {
            settings,
            store,
            logs,
            engine,
            grid,
            metrics: MetricsRegistry::default(),
            cache,
            autoscale: Autoscale::default(),
            sites,
            files: Files::default(),
            drains,
            shown: Shown::new()?,
            acme: Wake::default(),
            packs,
            building,
            moving,
            receiving,
            naming,
            lock,
            handed_over: AtomicBool::new(false),
        })
    }

    /// The responses that are stored.
    pub(crate) fn cache(&self) -> &Arc<Cache> {
        &self.cache
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &*self.store
    }

    pub(crate) fn logs(&self) -> &Logs {
        &self.logs
    }

    pub(crate) fn grid(&self) -> &DynoGrid {
        &self.grid
    }

    /// How apps are scaled by themselves.
    pub(crate) fn autoscale(&self) -> &Autoscale {
        &self.autoscale
    }

    /// What is counted of each app.
    pub(crate) fn metrics(&self) -> &MetricsRegistry {
        &self.metrics
    }

    /// The log drains.
    pub(crate) fn drains(&self) -> &Drains {
        &self.drains
    }

    /// Begins to send on the logs of all apps that have drains.
    pub(crate) fn start_drains(&self) {
        for app in self.store.apps().unwrap_or_default() {
            for drain in self.store.drains(&app.name).unwrap_or_default() {
                self.drains.start(&self.logs, &app.name, &drain);
            }
        }
    }

    /// What apps have in `public/`.
    pub(crate) fn files(&self) -> &Files {
        &self.files
    }

    pub(crate) fn sites(&self) -> &Sites {
        &self.sites
    }

    /// To be woken when an app has other hosts, or asks for certificates.
    pub(crate) fn acme(&self) -> &Wake {
        &self.acme
    }

    /// The certificates that handshakes choose from.
    pub(crate) fn shown(&self) -> &Shown {
        &self.shown
    }

    /// Has the router serve an app as the store and the grid have it now. To be called after every change of either that
    /// a [`corundum_router::virtual_host::VirtualHost`] shows.
    pub(crate) fn refresh(&self, app: &AppName) {
        self.sites.refresh(self, app);
        self.shown.refresh(self, app);
    }

    /// The host name that an app has of the node.
    pub(crate) fn own_host(&self, app: &AppName) -> String {
        format!("{app}.{}", self.settings.domain)
    }

    /// The URL of an app: over TLS, if plain requests are sent there.
    pub(crate) fn url(&self, app: &AppName) -> String {
        let host = self.own_host(app);
        let redirect = self.sites.route(&host).and_then(|site| site.https.redirect);
        match redirect {
            Some(443) => format!("https://{host}/"),
            Some(port) => format!("https://{host}:{port}/"),
            None => format!("http://{}/", self.host(app)),
        }
    }

    /// Where an app is served, with a port.
    fn host(&self, app: &AppName) -> String {
        format!("{}:{}", self.own_host(app), self.settings.http.port())
    }

    /// The bare repository of an app.
    pub(crate) fn repository(&self, app: &AppName) -> PathBuf {
        self.settings.data.join("repos").join(format!("{app}.git"))
    }

    /// Makes a release of the store live; its image is made anew if it is damaged or of another pack.
    pub(crate) async fn load(&self, app: &AppName, release: ReleaseRecord) -> anyhow::Result<()> {
        if let Err(error) = self.activate(app, &release).await {
            tracing::warn!(%app, error = format!("{error:#}"), "the image is made anew");
            self.remake(app, release).await?;
        }
        Ok(())
    }

    /// Removes slugs and images that no release names.
    pub(crate) fn sweep(&self) {
        // Nothing is named meanwhile.
        let _naming = self.naming();
        let mut images = HashSet::new();
        let mut slugs = HashSet::new();
        for app in self.store.apps().unwrap_or_default() {
            // What is not known must not be removed.
            let Ok(releases) = self.store.releases(&app.name) else {
                return;
            };
            let files = releases.iter().map(|one| format!("{}.tar", one.slug));
            slugs.extend(files);
            images.extend(releases.into_iter().next().map(|current| current.image));
        }
        sweep(&self.settings.data.join("images"), &images);
        sweep(&self.settings.data.join("slugs"), &slugs);
    }

    async fn remake(&self, app: &AppName, release: ReleaseRecord) -> anyhow::Result<String> {
        let config = self.store.release_config(app, release.version)?;
        let source = BuildSource::Slug(self.slug_path(&release.slug));
        let build = self
            .build(app, release.about.ruby, source, &config, |_| {})
            .await?;
        let image = new_image();
        {
            let _naming = self.naming();
            fs::rename(build.image_path(), self.image_path(&image))?;
            self.store.set_image(app, release.version, &image)?;
        }
        let release = ReleaseRecord { image, ..release };
        self.activate(app, &release).await?;
        Ok(release.image)
    }

    /// The edition of `series` that new images are made with.
    fn edition(&self, series: Series) -> Edition {
        ruby::usable(series, &self.settings.cache)
    }

    /// A pack, prepared if it was not yet.
    pub(crate) async fn pack(&self, edition: Edition) -> anyhow::Result<Arc<Ready>> {
        let cell = {
            let mut packs = self.packs.lock().unwrap_or_else(PoisonError::into_inner);
            packs.entry(edition).or_default().clone()
        };
        let ready = cell.get_or_try_init(|| self.prepare(edition)).await?;
        Ok(ready.clone())
    }

    async fn prepare(&self, edition: Edition) -> anyhow::Result<Arc<Ready>> {
        let (engine, cache) = (self.engine.clone(), self.settings.cache.clone());
        // Compiling the pack takes the processor for a while: not on the threads that serve.
        let opened = tokio::task::spawn_blocking(move || {
            packs::open::open(&engine, edition, &cache, |_| {})
        });
        let (directory, pack) = opened.await??;
        let ready = Arc::new(Ready {
            directory,
            pack: Arc::new(pack),
        });
        Ok(ready)
    }

    /// Makes the images anew that are not of their series' best pack, one after another. Each app serves from its old image
    /// until the new one is there, and keeps it if it does not boot on the new pack. Waits for an app that is being built.
    pub(crate) async fn upgrade(self: &Arc<Self>) -> anyhow::Result<()> {
        for app in self.store.apps()? {
            let building = loop {
                match self.begin_build(&app.name) {
                    Some(building) => break building,
                    None => tokio::time::sleep(std::time::Duration::from_secs(1)).await,
                }
            };
            let current = self.store.current_release(&app.name);
            if let Ok(Some(release)) = current
                && self.outdated(&release)
            {
                let old = self.image_path(&release.image);
                match self.remake(&app.name, release).await {
                    Ok(_) => {
                        let _ = fs::remove_dir_all(old);
                    }
                    Err(error) => {
                        let line = format!("The app stays on the pack that it has: {error:#}");
                        self.logs.add(&app.name, "corundum[pack]", &line);
                        tracing::warn!(app = %app.name, error = format!("{error:#}"), "not moved to the new pack");
                    }
                }
            }
            drop(building);
        }
        Ok(())
    }

    /// Whether a release's image is of another pack than a new one would be.
    fn outdated(&self, release: &ReleaseRecord) -> bool {
        let wanted = ruby::digest(self.edition(release.about.ruby));
        let described = Image::read_description(&self.image_path(&release.image));
        described.is_none_or(|description| description.pack != wanted)
    }

    /// Creates an app and its repository.
    pub(crate) async fn create(&self, name: &AppName) -> anyhow::Result<AppRecord> {
        let app = self.store.create_app(name, FORMATION)?;
        if let Err(error) =
            crate::git::http_backend::init(&self.repository(name), &self.settings.data).await
        {
            self.store.delete_app(name)?;
            return Err(error);
        }
        self.logs.open(name);
        self.grid.set_formation(name, FORMATION);
        self.refresh(name);
        Ok(app)
    }

    /// Sets how many web dynos an app may have.
    pub(crate) fn scale(&self, app: &AppName, web: u32) -> anyhow::Result<()> {
        self.store.set_formation(app, web)?;
        self.grid.set_formation(app, web);
        self.refresh(app);
        Ok(())
    }

    /// Deletes an app with all that is its.
    pub(crate) fn destroy(&self, name: &AppName) -> anyhow::Result<()> {
        let _naming = self.naming();
        let releases = self.store.releases(name)?;
        let drains = self.store.drains(name)?;
        self.store.delete_app(name)?;
        drains.iter().for_each(|drain| self.drains.stop(drain.id));
        self.refresh(name);
        self.grid.remove(name);
        self.files.set(name, None);
        self.logs.remove(name);
        self.metrics.remove(name);
        self.cache.remove_app(name);
        autoscale::forget(self, name);
        let _ = fs::remove_dir_all(self.repository(name));
        for release in releases {
            let _ = fs::remove_dir_all(self.image_path(&release.image));
            // Apps of the same content share a slug.
            if !self.store.names_slug(&release.slug)? {
                let _ = fs::remove_file(self.slug_path(&release.slug));
            }
        }
        Ok(())
    }

    /// Gives the data directory up for another process, once no build and no push goes on; whether that was within
    /// `most`. From then on this process changes nothing, and serves what it has.
    pub(crate) async fn give_up_data(&self, most: Duration) -> bool {
        self.handed_over.store(true, Ordering::SeqCst);
        let quiet = async {
            while !self.is_quiet() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let quiet = tokio::time::timeout(most, quiet).await.is_ok();
        let given = quiet && self.lock.unlock().is_ok();
        if !given {
            self.handed_over.store(false, Ordering::SeqCst);
        }
        given
    }

    /// Takes the data directory back; whether nobody else has it.
    pub(crate) fn take_data_back(&self) -> bool {
        let taken = self.lock.try_lock().is_ok();
        if taken {
            self.handed_over.store(false, Ordering::SeqCst);
        }
        taken
    }

    /// Whether another process has the data directory, or is about to.
    pub(crate) fn is_handed_over(&self) -> bool {
        self.handed_over.load(Ordering::SeqCst)
    }

    fn is_quiet(&self) -> bool {
        let building = self.building.lock();
        building.unwrap_or_else(PoisonError::into_inner).is_empty() && self.receiving().is_empty()
    }

    /// Marks an app as being built, unless it is already.
    pub(crate) fn begin_build(self: &Arc<Self>, app: &AppName) -> Option<Building> {
        let new = self
            .building
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(app.clone());
        new.then(|| Building {
            platform: self.clone(),
            app: app.clone(),
        })
    }

    /// Notes that git is about to move a branch for a push that has its release.
    pub(crate) fn set_moving(&self, app: &AppName, branch: Branch) {
        let mut moving = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
        moving.insert(app.clone(), branch);
    }

    /// The branch that the last accepted push of an app moves, once.
    pub(crate) fn take_moving(&self, app: &AppName) -> Option<Branch> {
        let mut moving = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
        moving.remove(app)
    }

    /// Notes that git's protocol is spoken about an app, until the result is dropped.
    pub(crate) fn begin_receiving(self: &Arc<Self>, app: &AppName) -> Receiving {
        *self.receiving().entry(app.clone()).or_default() += 1;
        Receiving {
            platform: self.clone(),
            app: app.clone(),
        }
    }

    fn receiving(&self) -> MutexGuard<'_, HashMap<AppName, usize>> {
        self.receiving
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Compiles and boots in a child process; `say` gets what the pusher is to read.
    pub(crate) async fn build(
        &self,
        app: &AppName,
        series: Series,
        source: BuildSource,
        config: &ConfigVars,
        say: impl FnMut(&str) + Send,
    ) -> anyhow::Result<FinishedBuild> {
        let ready = self.pack(self.edition(series)).await?;
        let data = &self.settings.data;
        let settings = BuildSettings {
            work: data.join("work"),
            gem_cache: data.join("gems"),
            gem_directories: self.settings.gems.clone(),
            gem_servers: self.settings.gem_sources.clone(),
            limits: self.settings.build,
        };
        let job = BuildJob {
            app,
            pack: ready.directory.path(),
            source,
            host: self.host(app),
            config: config.clone().into_iter().collect(),
        };
        Ok(corundum_build::parent::run(&settings, job, say).await?)
    }

    /// Adds a release of a finished build and makes it live. What the release needs is loaded before the store says
    /// that there is one, so that nothing can fail between the two.
    pub(crate) async fn release(
        &self,
        app: &AppName,
        build: FinishedBuild,
        slug: SlugDigest,
        commit: &str,
        description: String,
        config: &ConfigVars,
    ) -> anyhow::Result<ReleaseRecord> {
        let release = ReleaseRecord {
            id: uuid::Uuid::nil(),
            version: ReleaseVersion(0),
            description,
            created_at: now(),
            commit: commit.to_owned(),
            slug,
            image: new_image(),
            about: build.description.clone(),
        };
        let slug = build.slug_path();
        let slug = slug.unwrap_or_else(|| self.slug_path(&release.slug));
        let files = (build.image_path(), slug);
        let (mut ready, static_files) = self
            .make_ready(app, &release, config.clone(), files)
            .await?;
        let old = self.store.current_release(app)?;
        let release = self.name(app, &build, release, config)?;
        ready.version = release.version;
        self.deploy(ready, static_files);
        let line = format!(
            "Release {} created: {}",
            release.version, release.description
        );
        self.logs.add(app, "corundum[api]", &line);
        // The mapping that running dynos have of it lives on without its name.
        if let Some(old) = old {
            let _ = fs::remove_dir_all(self.image_path(&old.image));
        }
        Ok(release)
    }

    /// A new release of the current slug with other config vars, or of an older release.
    pub(crate) async fn release_again(
        &self,
        app: &AppName,
        of: &ReleaseRecord,
        config: &ConfigVars,
        description: String,
    ) -> anyhow::Result<ReleaseRecord> {
        let mut said = Vec::new();
        let source = BuildSource::Slug(self.slug_path(&of.slug));
        let build = self.build(app, of.about.ruby, source, config, |line| {
            said.push(line.to_owned())
        });
        let build = build.await.with_context(|| said.join("\n"))?;
        self.release(app, build, of.slug.clone(), &of.commit, description, config)
            .await
    }

    /// Gives a build's slug and image their names, and adds the release that names them; all of it or nothing.
    fn name(
        &self,
        app: &AppName,
        build: &FinishedBuild,
        release: ReleaseRecord,
        config: &ConfigVars,
    ) -> anyhow::Result<ReleaseRecord> {
        let _naming = self.naming();
        let (slug, image) = (
            self.slug_path(&release.slug),
            self.image_path(&release.image),
        );
        let digest = release.slug.clone();
        let added = || {
            if let Some(path) = build.slug_path() {
                fs::rename(path, &slug)?;
            }
            fs::rename(build.image_path(), &image)?;
            Ok(self.store.add_release(app, release, config)?)
        };
        added().inspect_err(|_: &anyhow::Error| {
            let _ = fs::remove_dir_all(&image);
            if !self.store.names_slug(&digest).unwrap_or(true) {
                let _ = fs::remove_file(&slug);
            }
        })
    }

    fn naming(&self) -> MutexGuard<'_, ()> {
        self.naming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn image_path(&self, image: &str) -> PathBuf {
        self.settings.data.join("images").join(image)
    }

    fn slug_path(&self, slug: &SlugDigest) -> PathBuf {
        self.settings.data.join("slugs").join(format!("{slug}.tar"))
    }

    /// Gives the grid a release that the store has.
    async fn activate(&self, app: &AppName, release: &ReleaseRecord) -> anyhow::Result<()> {
        let config = self.store.release_config(app, release.version)?;
        let files = (
            self.image_path(&release.image),
            self.slug_path(&release.slug),
        );
        let (ready, files) = self.make_ready(app, release, config, files).await?;
        self.deploy(ready, files);
        Ok(())
    }

    /// Has new requests served by a release.
    fn deploy(&self, release: GridRelease, files: Option<Arc<StaticFiles>>) {
        let app = release.app.clone();
        self.files.set(&app, files);
        self.grid.deploy(release);
        self.refresh(&app);
    }

    /// Has an app's files served while its release is being loaded: a dyno, for which other requests wait until then, would
    /// not know them. The slug is checked with the rest of the release.
    pub(crate) fn announce_files(
        &self,
        app: &AppName,
        release: &ReleaseRecord,
    ) -> anyhow::Result<()> {
        let slug = Arc::new(slug::open(&self.slug_path(&release.slug), None)?);
        let since = self.served_since(app, release)?;
        self.files.set(
            app,
            files::of_slug(&slug, release.about.static_files, since),
        );
        Ok(())
    }

    /// Since when an app has served what is in a release's slug: releases that only changed config vars do not count.
    fn served_since(&self, app: &AppName, of: &ReleaseRecord) -> anyhow::Result<SystemTime> {
        let earlier = self.store.releases(app)?.into_iter();
        let earlier =
            earlier.skip_while(|release| of.version.0 != 0 && release.version >= of.version);
        let since = earlier.take_while(|release| release.slug == of.slug).last();
        let since = since.map_or_else(|| of.created_at.clone(), |release| release.created_at);
        Ok(since.parse::<jiff::Timestamp>()?.into())
    }

    /// Loads what a release needs to run, from its image's directory and its slug's file.
    async fn make_ready(
        &self,
        app: &AppName,
        release: &ReleaseRecord,
        config: ConfigVars,
        (image, slug): (PathBuf, PathBuf),
    ) -> anyhow::Result<(GridRelease, Option<Arc<StaticFiles>>)> {
        // An image that was made while the best pack was not there, or that does not boot on it, runs on its own.
        let quickest = release.about.ruby.quickest();
        let made = Image::read_description(&image).map(|description| description.pack);
        let edition = if made == Some(ruby::digest(quickest)) {
            quickest
        } else {
            self.edition(release.about.ruby)
        };
        let pack = self.pack(edition).await?.pack.clone();
        let (engine, of, digest) = (self.engine.clone(), pack.clone(), release.slug.clone());
        let (serving, modified) = (release.about.static_files, self.served_since(app, release)?);
        // Both are read to their last byte to be checked: not on the threads that serve.
        let loaded = tokio::task::spawn_blocking(move || {
            let image = Image::load(&engine, &image, &of.manifest().digest)?;
            let slug = Arc::new(slug::open(&slug, Some(&digest))?);
            let files = files::of_slug(&slug, serving, modified);
            Ok::<_, anyhow::Error>((image, slug, files))
        });
        let (image, slug, files) = loaded.await??;
        let release = GridRelease {
            app: app.clone(),
            version: release.version,
            pack,
            image: Arc::new(image),
            slug,
            arguments: split_command(release.about.web_command())?,
            environ: environ(config),
            isolation: release.about.isolation,
        };
        Ok((release, files))
    }
}

/// An app is being built as long as this lives.
pub(crate) struct Building {
    platform: Arc<Platform>,
    app: AppName,
}

impl Drop for Building {
    fn drop(&mut self) {
        let mut building = self
            .platform
            .building
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        building.remove(&self.app);
    }
}

/// One of an app's clients of git is served as long as this lives. With the last one goes what killed ones left.
pub(crate) struct Receiving {
    platform: Arc<Platform>,
    app: AppName,
}

impl Drop for Receiving {
    fn drop(&mut self) {
        let mut receiving = self.platform.receiving();
        let left = receiving.get(&self.app).map_or(0, |count| count - 1);
        if left > 0 {
            receiving.insert(self.app.clone(), left);
            return;
        }
        receiving.remove(&self.app);
        // Under the lock: a push that begins now must keep its objects.
        crate::git::http_backend::sweep(&self.platform.repository(&self.app));
    }
}

/// A name for an image's directory.
fn new_image() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Removes the entries of a directory that are not named.
fn sweep(directory: &Path, keep: &HashSet<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if !keep.contains(entry.file_name().to_string_lossy().as_ref()) {
            let _ = fs::remove_dir_all(entry.path()).or_else(|_| fs::remove_file(entry.path()));
        }
    }
}
