//! Releases: made of a finished build, named, loaded, made live, and replaced by newer ones.
//!
//! A release consists of a record in the store, a slug and an image on disk, and what the grid and the router serve.
//! [`Releases`] keeps these in step. [`changes`] makes new releases of existing slugs.

pub mod changes;
pub(crate) mod error;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use corundum_abi::names::{AppName, ReleaseVersion, SlugDigest};
use corundum_build::slots::BuildUrgency;
use corundum_build::{BuildSource, FinishedBuild};
use corundum_compiler::process::{environ, split_command};
use corundum_host::grid::{DynoGrid, GridRelease};
use corundum_host::image::{Image, ImageError};
use corundum_host::slug;
use corundum_pack::ruby;
use corundum_router::files::StaticFiles;
use corundum_store::{ConfigVars, ImageName, ReleaseRecord, Store, StoreError, now};

use self::error::ReleaseError;
use crate::apps::locks::AppLocks;
use crate::builds::Builder;
use crate::data_dir::{DataDir, FileKind};
use crate::logs::Logs;
use crate::packs::cache::PackCache;
use crate::routing::static_files;
use crate::routing::view::RouterView;
use crate::storage::live_files::LiveFiles;
use crate::storage::retention::Retention;

/// Makes releases and keeps store, disk, grid and router in step with them.
pub struct Releases {
    store: Arc<dyn Store>,
    data: Arc<DataDir>,
    packs: Arc<PackCache>,
    builder: Arc<Builder>,
    grid: DynoGrid,
    view: Arc<RouterView>,
    locks: Arc<AppLocks>,
    logs: Arc<Logs>,
    files: Arc<LiveFiles>,
    retention: Arc<Retention>,
}

/// The parts of a node that [`Releases`] works with.
pub struct ReleaseParts {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The data directory.
    pub data: Arc<DataDir>,
    /// The open packs.
    pub packs: Arc<PackCache>,
    /// The builder of images.
    pub builder: Arc<Builder>,
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
}

/// A finished build that is to become a release.
pub(crate) struct NewRelease<'a> {
    pub(crate) build: FinishedBuild,
    /// The slug of the release, which the build made or started from.
    pub(crate) slug: SlugDigest,
    pub(crate) commit: &'a str,
    pub(crate) description: String,
    pub(crate) config: &'a ConfigVars,
}

impl Releases {
    /// Creates the type from its parts.
    pub fn new(parts: ReleaseParts) -> Self {
        let ReleaseParts {
            store,
            data,
            packs,
            builder,
            grid,
            view,
            locks,
            logs,
            files,
            retention,
        } = parts;
        Self {
            store,
            data,
            packs,
            builder,
            grid,
            view,
            locks,
            logs,
            files,
            retention,
        }
    }

    /// Adds a release of a finished build and makes it live.
    ///
    /// The release is loaded before the store records it, so that nothing can fail between the two.
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
        let files = (new.build.image_path(), slug);
        let (mut loaded, static_files) = self
            .load_files(app, &record, new.config.clone(), files)
            .await?;
        // Its record may be damaged; the new release then replaces it, and the sweep finds its image.
        let old = self.store.current_release(app).unwrap_or_else(|error| {
            tracing::warn!(%app, %error, "could not read the replaced release");
            None
        });
        let record = self.name(app, &new.build, record, new.config)?;
        loaded.version = record.version;
        self.deploy(loaded, static_files);
        let line = format!("Release {} created: {}", record.version, record.description);
        self.logs.add(app, "corundum[api]", &line);
        tracing::Span::current().record("release", tracing::field::display(record.version));
        tracing::info!(%app, release = %record.version, "release created");
        // Running dynos keep their mapping of the old image after its files are gone.
        if let Some(old) = old {
            self.files.remove_image(&old.image);
        }
        if let Err(error) = self.retention.apply(app) {
            tracing::warn!(%app, %error, "could not remove old releases");
        }
        Ok(record)
    }

    /// Makes a release of the store live. Its image is made again if it is damaged or belongs to another pack.
    ///
    /// # Errors
    ///
    /// [`ReleaseError`].
    pub(crate) async fn load(
        &self,
        app: &AppName,
        release: ReleaseRecord,
    ) -> Result<(), ReleaseError> {
        match self.activate(app, &release).await {
            // Another boot would make an image for which there is no room either.
            Err(error @ ReleaseError::Image(ImageError::Full { .. })) => Err(error),
            Err(error) => {
                tracing::warn!(%app, %error, "making the image again");
                self.remake(app, release, BuildUrgency::Awaited).await
            }
            Ok(()) => Ok(()),
        }
    }

    /// Makes the images again that do not belong to their series' best pack, one after another.
    ///
    /// Each app serves from its old image until the new one is there, and keeps it if it does not boot on the new pack. An
    /// app that is being built is waited for.
    ///
    /// App by app: one whose record is damaged does not keep the others from moving.
    pub(crate) async fn upgrade_all(&self) {
        for app in self.store.apps().apps {
            let _building = loop {
                match self.locks.begin_build(&app.name) {
                    Some(building) => break building,
                    None => tokio::time::sleep(Duration::from_secs(1)).await,
                }
            };
            let current = self.store.current_release(&app.name);
            if let Ok(Some(release)) = current
                && self.is_outdated(&release)
            {
                self.upgrade(&app.name, release).await;
            }
        }
    }

    async fn upgrade(&self, app: &AppName, release: ReleaseRecord) {
        let old = release.image;
        match self.remake(app, release, BuildUrgency::Background).await {
            Ok(()) => self.files.remove_image(&old),
            Err(error) => {
                let line = format!("The app stays on the pack that it has: {error}");
                self.logs.add(app, "corundum[pack]", &line);
                tracing::warn!(%app, %error, "could not move an app to the new pack");
            }
        }
    }

    /// Serves an app's static files while its release is still being loaded. A dyno, for which other requests wait until
    /// then, would not know these files. The slug's digest is checked later, with the rest of the release.
    ///
    /// # Errors
    ///
    /// [`ReleaseError`].
    pub(crate) fn announce_static_files(
        &self,
        app: &AppName,
        release: &ReleaseRecord,
    ) -> Result<(), ReleaseError> {
        self.files.recover_slug(&release.slug);
        let slug = Arc::new(slug::open(&self.data.slug(&release.slug), None)?);
        let since = self.served_since(app, release)?;
        let files = static_files::of_slug(&slug, release.about.static_files, since);
        self.view.set_static_files(app, files);
        Ok(())
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
        for release in releases {
            self.files.remove_image(&release.image);
            self.files.discard_slug(&release.slug);
        }
        Ok(())
    }

    /// Boots a release of the store again and makes it live with the new image.
    async fn remake(
        &self,
        app: &AppName,
        release: ReleaseRecord,
        urgency: BuildUrgency,
    ) -> Result<(), ReleaseError> {
        let config = self.store.release_config(app, release.version)?;
        let source = BuildSource::Slug(self.data.slug(&release.slug));
        let series = release.about.ruby;
        let slot = self.builder.slot(app, urgency, |_| {}).await?;
        let build = self
            .builder
            .build(&slot, app, series, source, &config, |_| {})
            .await?;
        drop(slot);
        let image = ImageName::random();
        {
            let _naming = self.files.naming();
            place(&build.image_path(), &self.data.image(&image))?;
            self.store.set_image(app, release.version, &image)?;
        }
        self.activate(app, &ReleaseRecord { image, ..release })
            .await
    }

    /// Returns whether a release's image belongs to another pack than a new image would.
    fn is_outdated(&self, release: &ReleaseRecord) -> bool {
        let wanted = ruby::digest(self.packs.edition(release.about.ruby));
        let described = Image::read_description(&self.data.image(&release.image));
        described.is_none_or(|description| description.pack != wanted)
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
            self.files.discard_slug(&digest);
        })
    }

    /// Loads a release of the store and serves it.
    async fn activate(&self, app: &AppName, release: &ReleaseRecord) -> Result<(), ReleaseError> {
        let config = self.store.release_config(app, release.version)?;
        let files = (
            self.data.image(&release.image),
            self.data.slug(&release.slug),
        );
        let (loaded, static_files) = self.load_files(app, release, config, files).await?;
        self.deploy(loaded, static_files);
        Ok(())
    }

    /// Serves new requests with a loaded release.
    fn deploy(&self, release: GridRelease, files: Option<Arc<StaticFiles>>) {
        let app = release.app.clone();
        self.view.set_static_files(&app, files);
        self.grid.deploy(release);
        self.view.refresh(&app);
    }

    /// Returns the time since which an app has served the slug of a release. Releases that only changed config vars do not
    /// count.
    fn served_since(
        &self,
        app: &AppName,
        release: &ReleaseRecord,
    ) -> Result<SystemTime, ReleaseError> {
        let version = release.version;
        // An earlier record that is damaged does not keep this release from being served, with a later time.
        let earlier = self.store.releases(app).unwrap_or_else(|error| {
            tracing::warn!(%app, %error, "could not read earlier releases");
            Vec::new()
        });
        let earlier = earlier.into_iter();
        let earlier = earlier.skip_while(|other| version.0 != 0 && other.version >= version);
        let since = earlier
            .take_while(|other| other.slug == release.slug)
            .last();
        let since = since.map_or_else(|| release.created_at.clone(), |first| first.created_at);
        Ok(since.parse::<jiff::Timestamp>()?.into())
    }

    /// Loads a release from its image's directory and its slug's file.
    async fn load_files(
        &self,
        app: &AppName,
        release: &ReleaseRecord,
        config: ConfigVars,
        (image, slug): (PathBuf, PathBuf),
    ) -> Result<(GridRelease, Option<Arc<StaticFiles>>), ReleaseError> {
        // An image that was made before the best pack was there, or that does not boot on it, runs on its own pack.
        let quickest = release.about.ruby.quickest();
        let made = Image::read_description(&image).map(|description| description.pack);
        let edition = if made == Some(ruby::digest(quickest)) {
            quickest
        } else {
            self.packs.edition(release.about.ruby)
        };
        let pack = self.packs.get(edition).await?.pack.clone();
        let (engine, of, digest) = (
            self.packs.engine().clone(),
            pack.clone(),
            release.slug.clone(),
        );
        let (options, modified) = (release.about.static_files, self.served_since(app, release)?);
        // Both files are read to their last byte to be checked, so this runs on a thread that does not serve.
        let loaded = tokio::task::spawn_blocking(move || {
            let image = Image::load(&engine, &image, &of.manifest().digest)?;
            let slug = Arc::new(slug::open(&slug, Some(&digest))?);
            let files = static_files::of_slug(&slug, options, modified);
            Ok::<_, ReleaseError>((image, slug, files))
        });
        let (image, slug, files) = loaded.await.map_err(|_| ReleaseError::Interrupted)??;
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

/// Gives a file or directory its name, and waits until the name is on disk: a release's record must not outlive it.
fn place(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    match to.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
