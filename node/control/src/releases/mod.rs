//! Releases: made of a finished build, named, loaded, made live, and replaced by newer ones.
//!
//! A release consists of a record in the store, a slug and an image on disk, and what the grid and the router serve.
//! [`Releases`] keeps these in step. [`changes`] makes new releases of existing slugs.

pub mod changes;
pub mod compaction;
pub(crate) mod error;
pub mod images;
pub mod loading;

use std::path::PathBuf;
use std::sync::Arc;

use corundum_abi::names::{AppName, ProcessType, ReleaseVersion, SlugDigest};
use corundum_build::FinishedBuild;
use corundum_build::slots::BuildUrgency;
use corundum_compiler::process::{environ, split_command};
use corundum_host::grid::{DynoGrid, GridRelease};
use corundum_host::image::{Image, ImageError};
use corundum_host::pack::Pack;
use corundum_router::files::StaticFiles;
use corundum_store::{ConfigVars, ImageName, ReleaseRecord, Store, StoreError, now};

use self::error::ReleaseError;
use self::images::{ReleaseImages, place};
use crate::apps::locks::AppLocks;
use crate::data_dir::{DataDir, FileKind};
use crate::logs::Logs;
use crate::outbound::OutboundPolicies;
use crate::processes::Processes;
use crate::processes::phase::{self, Phase};
use crate::routing::static_files;
use crate::routing::view::RouterView;
use crate::storage::live_files::LiveFiles;
use crate::storage::retention::Retention;
use crate::volumes::Volumes;

/// Makes releases and keeps store, disk, grid and router in step with them.
pub struct Releases {
    store: Arc<dyn Store>,
    data: Arc<DataDir>,
    images: Arc<ReleaseImages>,
    grid: DynoGrid,
    view: Arc<RouterView>,
    locks: Arc<AppLocks>,
    logs: Arc<Logs>,
    files: Arc<LiveFiles>,
    retention: Arc<Retention>,
    outbound: Arc<OutboundPolicies>,
    processes: Arc<Processes>,
    volumes: Arc<Volumes>,
}

/// The parts of a node that [`Releases`] works with.
pub struct ReleaseParts {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The data directory.
    pub data: Arc<DataDir>,
    /// The images.
    pub images: Arc<ReleaseImages>,
    /// The grid that runs the releases.
    pub grid: DynoGrid,
    /// The router's view of apps.
    pub view: Arc<RouterView>,
    /// The locks by app.
    pub locks: Arc<AppLocks>,
    /// The apps' logs.
    pub logs: Arc<Logs>,
    /// The files in use.
    pub files: Arc<LiveFiles>,
    /// The retention of releases.
    pub retention: Arc<Retention>,
    /// The operator's policies for connections that apps open.
    pub outbound: Arc<OutboundPolicies>,
    /// The processes beside web.
    pub processes: Arc<Processes>,
    /// The apps' volumes.
    pub volumes: Arc<Volumes>,
}

/// A finished build that is to become a release.
pub(crate) struct NewRelease<'a> {
    pub(crate) build: FinishedBuild,
    /// The slug of the release, which the build made or started from.
    pub(crate) slug: SlugDigest,
    pub(crate) commit: &'a str,
    pub(crate) description: String,
    pub(crate) config: &'a ConfigVars,
    /// Takes lines for the user, such as the output of the release phase.
    pub(crate) report: &'a (dyn Fn(&str) + Send + Sync),
}

/// Returns the command of a release's release phase, if it has one.
fn release_command(release: &ReleaseRecord) -> Option<&String> {
    let process: ProcessType = Phase::Release.as_str().parse().ok()?;
    release.about.processes.get(&process)
}

impl Releases {
    /// Creates the type from its parts.
    pub fn new(parts: ReleaseParts) -> Self {
        let ReleaseParts {
            store,
            data,
            images,
            grid,
            view,
            locks,
            logs,
            files,
            retention,
            outbound,
            processes,
            volumes,
        } = parts;
        Self {
            store,
            data,
            images,
            grid,
            view,
            locks,
            logs,
            files,
            retention,
            outbound,
            processes,
            volumes,
        }
    }

    /// Adds a release of a finished build and makes it live.
    ///
    /// The release is loaded, and its release phase has run, before the store records it, so that nothing can fail between the
    /// two.
    ///
    /// # Errors
    ///
    /// [`ReleaseError`]; the running release then stays.
    pub(crate) async fn add(
        &self,
        app: &AppName,
        new: NewRelease<'_>,
    ) -> Result<ReleaseRecord, ReleaseError> {
        let record = ReleaseRecord {
            id: uuid::Uuid::nil(),
            version: ReleaseVersion(0),
            description: new.description,
            created_at: now(),
            commit: new.commit.to_owned(),
            slug: new.slug,
            image: ImageName::random(),
            about: new.build.description.clone(),
        };
        let slug = new.build.slug_path();
        let slug = slug.unwrap_or_else(|| self.data.slug(&record.slug));
        let (pack, image) = self.images.open_built(&new.build, &record).await?;
        let opened = (pack, image.clone());
        let (mut loaded, static_files) = self
            .assemble(app, &record, new.config.clone(), opened, slug)
            .await?;
        // Its record may be damaged; the new release then replaces it, and the sweep finds its image.
        let old = self.store.current_release(app).unwrap_or_else(|error| {
            tracing::warn!(%app, %error, "could not read the replaced release");
            None
        });
        let version = old.as_ref().map_or(0, |old| old.version.0) + 1;
        loaded.version = ReleaseVersion(version);
        if let Some(command) = release_command(&record) {
            let release = Arc::new(loaded.clone());
            phase::run(&self.grid, Phase::Release, release, command, new.report).await?;
        }
        let built = new.build.image_path();
        self.images.adopt_full_file(&built, &record.image, &image);
        let record = self.name(app, &new.build, record, new.config)?;
        loaded.version = record.version;
        self.deploy(loaded, static_files);
        self.processes.release_changed(app, &record);
        let line = format!("Release {} created: {}", record.version, record.description);
        self.logs.add(app, "corundum[api]", &line);
        tracing::Span::current().record("release", tracing::field::display(record.version));
        tracing::info!(%app, release = %record.version, "release created");
        // Running dynos keep their mapping of the old image after its files are gone.
        if let Some(old) = old {
            self.files.remove_image(&old.image);
            self.images.forget(&old.image);
        }
        if let Err(error) = self.retention.apply(app) {
            tracing::warn!(%app, %error, "could not remove old releases");
        }
        Ok(record)
    }

    /// Makes a release of the store live, unless the app has got another one meanwhile. Its image is made again if it is
    /// damaged or belongs to no pack of this version.
    ///
    /// # Errors
    ///
    /// [`ReleaseError`].
    pub(crate) async fn load(
        &self,
        app: &AppName,
        release: &ReleaseRecord,
    ) -> Result<(), ReleaseError> {
        self.files.recover_slug(&release.slug);
        let (loaded, static_files) = match self.open(app, release).await {
            Ok(opened) => opened,
            // Another boot would make an image for which there is no room either.
            Err(error @ ReleaseError::Image(ImageError::Full { .. })) => return Err(error),
            Err(error) => {
                tracing::warn!(%app, %error, "making the image again");
                let _building = self.locks.wait_for_build(app).await;
                if self.grid.release(app).is_some() {
                    return Ok(());
                }
                self.remake(app, release, BuildUrgency::Awaited).await?;
                self.open(app, release).await?
            }
        };
        self.view
            .set_static_files(app, loaded.version, static_files);
        if self.grid.deploy_loaded(loaded) {
            self.view.refresh(app);
        }
        Ok(())
    }

    /// Makes the images again that do not belong to their series' best pack, one after another: those of `apps`, in this
    /// order.
    ///
    /// Each app serves from its old image until the new one is there, and keeps it if it does not boot on the new pack. An
    /// app that is being built is waited for.
    ///
    /// App by app: one whose record is damaged does not keep the others from moving.
    pub(crate) async fn upgrade_all(&self, apps: Vec<AppName>) {
        for app in apps {
            self.upgrade(&app).await;
        }
    }

    /// Makes an app's image again if it does not belong to the best pack.
    pub(crate) async fn upgrade(&self, app: &AppName) {
        let _building = self.locks.wait_for_build(app).await;
        let release = match self.store.current_release(app) {
            Ok(Some(release)) if self.images.is_outdated(&release) => release,
            _ => return,
        };
        let remade = self.remake(app, &release, BuildUrgency::Background).await;
        let moved = match remade {
            Ok(()) if self.grid.release(app).is_some() => self.activate(app, &release).await,
            other => other,
        };
        if let Err(error) = moved {
            let line = format!("The app stays on the pack that it has: {error}");
            self.logs.add(app, "corundum[pack]", &line);
            tracing::warn!(%app, %error, "could not move an app to the new pack");
        }
    }

    /// Returns whether an app's image belongs to another pack than a new image would.
    pub(crate) fn is_outdated(&self, release: &ReleaseRecord) -> bool {
        self.images.is_outdated(release)
    }

    /// Deletes an app's records, then calls `stop`, then moves the app's repository, its images and those slugs that no other
    /// app uses to the trash.
    ///
    /// # Errors
    ///
    /// The store fails or does not have the app.
    pub(crate) fn delete_app(&self, app: &AppName, stop: impl FnOnce()) -> Result<(), StoreError> {
        let _naming = self.files.naming();
        // Deleting an app with a damaged record must be possible. The sweep finds the files that the record names.
        let releases = self.store.releases(app).unwrap_or_else(|error| {
            tracing::warn!(%app, %error, "the sweep will find the files of an app that is deleted");
            Vec::new()
        });
        self.store.delete_app(app)?;
        stop();
        self.files
            .discard(FileKind::Repository, &self.data.repository(app));
        self.volumes.forget(app);
        self.volumes.discard(app);
        for release in releases {
            self.files.remove_image(&release.image);
            self.images.forget(&release.image);
            self.files.discard_slug(&release.slug);
        }
        Ok(())
    }

    /// Boots a release of the store again and replaces its image.
    async fn remake(
        &self,
        app: &AppName,
        release: &ReleaseRecord,
        urgency: BuildUrgency,
    ) -> Result<(), ReleaseError> {
        let build = self.images.boot_again(app, release, urgency).await?;
        let _naming = self.files.naming();
        self.images.replace_patch(&build, release)
    }

    /// Gives a build's slug and image their names and adds the release that names them: all of it or nothing.
    fn name(
        &self,
        app: &AppName,
        build: &FinishedBuild,
        release: ReleaseRecord,
        config: &ConfigVars,
    ) -> Result<ReleaseRecord, ReleaseError> {
        let _naming = self.files.naming();
        let (slug, image) = (
            self.data.slug(&release.slug),
            self.data.image(&release.image),
        );
        let (digest, name) = (release.slug.clone(), release.image);
        let added = || {
            if let Some(path) = build.slug_path() {
                place(&path, &slug)?;
            }
            place(&build.image_path(), &image)?;
            Ok(self.store.add_release(app, release, config)?)
        };
        added().inspect_err(|_: &ReleaseError| {
            self.files.remove_image(&name);
            self.images.forget(&name);
            self.files.discard_slug(&digest);
        })
    }

    /// Opens a release of the store and serves it.
    async fn activate(&self, app: &AppName, release: &ReleaseRecord) -> Result<(), ReleaseError> {
        let (loaded, static_files) = self.open(app, release).await?;
        self.deploy(loaded, static_files);
        Ok(())
    }

    /// Serves new requests with a loaded release.
    fn deploy(&self, release: GridRelease, files: Option<Arc<StaticFiles>>) {
        let app = release.app.clone();
        self.view.set_static_files(&app, release.version, files);
        self.grid.deploy(release);
        self.view.refresh(&app);
    }

    /// Opens the image and the slug of a release of the store.
    async fn open(
        &self,
        app: &AppName,
        release: &ReleaseRecord,
    ) -> Result<(GridRelease, Option<Arc<StaticFiles>>), ReleaseError> {
        let config = self.store.release_config(app, release.version)?;
        let opened = self.images.open(release).await?;
        let slug = self.data.slug(&release.slug);
        self.assemble(app, release, config, opened, slug).await
    }

    /// Puts a release together from its opened image and its slug's file.
    async fn assemble(
        &self,
        app: &AppName,
        record: &ReleaseRecord,
        config: ConfigVars,
        (pack, image): (Arc<Pack>, Arc<Image>),
        slug: PathBuf,
    ) -> Result<(GridRelease, Option<Arc<StaticFiles>>), ReleaseError> {
        let digest = record.slug.clone();
        let options = record.about.static_files;
        let modified = static_files::served_since(&*self.store, app, record)?;
        // The slug is read to its last byte to be checked, so this runs on a thread that does not serve.
        let data = self.data.clone();
        let (volumes, name) = (self.volumes.clone(), app.clone());
        let opened = tokio::task::spawn_blocking(move || {
            let slug = data.open_slug(&slug, &digest, true)?;
            let files = static_files::of_slug(&slug, options, modified);
            let volume = volumes.open(&name)?;
            Ok::<_, ReleaseError>((slug, files, volume))
        });
        let (slug, files, volume) = opened.await.map_err(|_| ReleaseError::Interrupted)??;
        let environ = environ(pack.manifest().profile(), config);
        let release = GridRelease {
            app: app.clone(),
            version: record.version,
            pack,
            image,
            slug,
            arguments: split_command(record.about.web_command())?,
            environ,
            isolation: record.about.isolation,
            outbound: self.outbound.rules(app, record)?,
            volume,
        };
        Ok((release, files))
    }
}
