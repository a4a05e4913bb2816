//! The images of releases: their patches on disk, and their full files.
//!
//! The directory of an image holds a patch for each pack that the release was booted on, as a rule one. During an upgrade
//! the next process adds its patch beside the one that the running process uses.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use corundum_abi::names::AppName;
use corundum_build::slots::BuildUrgency;
use corundum_build::{BuildSource, FinishedBuild};
use corundum_host::image::cache::ImageCache;
use corundum_host::image::{Image, ImageError, built_full_file, patch_file};
use corundum_host::pack::Pack;
use corundum_pack::language::{LanguageSeries, PackKey};
use corundum_store::{ImageName, ReleaseRecord, Store};

use super::error::ReleaseError;
use crate::builds::Builder;
use crate::data_dir::DataDir;
use crate::packs::cache::PackCache;

/// Makes, opens and replaces the images of releases.
pub struct ReleaseImages {
    store: Arc<dyn Store>,
    data: Arc<DataDir>,
    packs: Arc<PackCache>,
    full: Arc<ImageCache>,
    builder: Arc<Builder>,
}

impl ReleaseImages {
    /// Creates the type that keeps patches in `data` and full files in `full`.
    pub fn new(
        store: Arc<dyn Store>,
        data: Arc<DataDir>,
        packs: Arc<PackCache>,
        full: Arc<ImageCache>,
        builder: Arc<Builder>,
    ) -> Self {
        Self {
            store,
            data,
            packs,
            full,
            builder,
        }
    }

    /// Returns whether a release's image belongs to another pack than a new image would. An image whose language has no
    /// pack any more is the best that there is.
    pub(crate) fn is_outdated(&self, release: &ReleaseRecord) -> bool {
        let Ok(wanted) = self.packs.key(&release.about.runtime) else {
            return false;
        };
        let image = self.data.image(&release.image);
        !image.join(patch_file(&wanted.digest())).exists()
    }

    /// Returns how many of `releases` have an image for the pack that a new image would have.
    pub(crate) fn count_current(&self, releases: &[ReleaseRecord]) -> usize {
        let mut files: HashMap<LanguageSeries, Option<String>> = HashMap::new();
        let mut is_current = |release: &ReleaseRecord| {
            let series = &release.about.runtime;
            let file = files.entry(series.clone()).or_insert_with(|| {
                let key = self.packs.key(series).ok()?;
                Some(patch_file(&key.digest()))
            });
            let image = self.data.image(&release.image);
            file.as_ref().is_some_and(|file| image.join(file).exists())
        };
        releases
            .iter()
            .filter(|release| is_current(release))
            .count()
    }

    /// Opens the image of a release of the store, whose full file is made if it is missing.
    ///
    /// # Errors
    ///
    /// [`ReleaseError`]; the release must be booted again then.
    pub(crate) async fn open(
        &self,
        release: &ReleaseRecord,
    ) -> Result<(Arc<Pack>, Arc<Image>), ReleaseError> {
        let (key, patch) = self.patch_in(&self.data.image(&release.image), release)?;
        let pack = self.packs.get(&key).await?.pack.clone();
        let name = release.image.to_string();
        let image = self.full.open(&name, &patch, &pack).await?;
        Ok((pack, image))
    }

    /// Opens the image that a build has left, before it gets its name.
    ///
    /// # Errors
    ///
    /// [`ReleaseError`].
    pub(crate) async fn open_built(
        &self,
        build: &FinishedBuild,
        release: &ReleaseRecord,
    ) -> Result<(Arc<Pack>, Arc<Image>), ReleaseError> {
        let built = build.image_path();
        let (key, _) = self.patch_in(&built, release)?;
        let pack = self.packs.get(&key).await?.pack.clone();
        let (engine, of) = (self.packs.engine().clone(), pack.clone());
        let image = tokio::task::spawn_blocking(move || Image::load_built(&engine, &of, &built));
        let image = image.await.map_err(|_| ReleaseError::Interrupted)??;
        Ok((pack, Arc::new(image)))
    }

    /// Takes the full file of a new image out of the image's directory. `image` is its mapping.
    pub(crate) fn adopt_full_file(&self, directory: &Path, name: &ImageName, image: &Arc<Image>) {
        let pack = &image.description().pack;
        let full = built_full_file(directory);
        self.full.adopt(&name.to_string(), pack, &full, Some(image));
    }

    /// Removes the full files of an image that no release names any more.
    pub(crate) fn forget(&self, name: &ImageName) {
        self.full.forget(&name.to_string());
    }

    /// Boots a release of the store again.
    ///
    /// # Errors
    ///
    /// [`ReleaseError`].
    pub(crate) async fn boot_again(
        &self,
        app: &AppName,
        release: &ReleaseRecord,
        urgency: BuildUrgency,
    ) -> Result<FinishedBuild, ReleaseError> {
        let config = self.store.release_config(app, release.version)?;
        let source = BuildSource::Slug(self.data.slug(&release.slug));
        let series = &release.about.runtime;
        let slot = self.builder.slot(app, urgency, |_| {}).await?;
        let input = self.builder.input(&*self.store, app, &config)?;
        let built = self
            .builder
            .build(&slot, app, series, source, input, |_| {});
        Ok(built.await?)
    }

    /// Adds the patch of a build to the image of a release, beside the patches for other packs, and returns its name.
    ///
    /// # Errors
    ///
    /// [`ReleaseError`]; the image is unchanged then.
    pub(crate) fn add_patch(
        &self,
        build: &FinishedBuild,
        release: &ReleaseRecord,
    ) -> Result<String, ReleaseError> {
        let (built, image) = (build.image_path(), self.data.image(&release.image));
        let (key, patch) = self.patch_in(&built, release)?;
        let pack = key.digest();
        let name = release.image.to_string();
        self.full
            .adopt(&name, &pack, &built_full_file(&built), None);
        let patch_name = patch_file(&pack);
        place(&patch, &image.join(&patch_name))?;
        Ok(patch_name)
    }

    /// Adds the patch of a build to the image of a release, and removes everything else from it: the release runs on the
    /// build's pack from now on.
    ///
    /// # Errors
    ///
    /// [`ReleaseError`]; the image is unchanged then.
    pub(crate) fn replace_patch(
        &self,
        build: &FinishedBuild,
        release: &ReleaseRecord,
    ) -> Result<(), ReleaseError> {
        let image = self.data.image(&release.image);
        fs::create_dir_all(&image)?;
        let added = self.add_patch(build, release)?;
        for entry in fs::read_dir(&image)?.flatten() {
            if entry.file_name() != *added {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(())
    }

    /// Finds the patch in the directory of an image, and the pack that it belongs to: the best one, or the one that was
    /// there before the best one.
    fn patch_in(
        &self,
        image: &Path,
        release: &ReleaseRecord,
    ) -> Result<(PackKey, PathBuf), ReleaseError> {
        let mut keys = self.packs.candidates(&release.about.runtime).into_iter();
        let found = keys.find_map(|key| {
            let patch = image.join(patch_file(&key.digest()));
            patch.exists().then_some((key, patch))
        });
        let missing = || ImageError::Stale {
            path: image.to_owned(),
            reason: "it has no patch for a pack of this version".to_owned(),
        };
        Ok(found.ok_or_else(missing)?)
    }
}

/// Gives a file or directory its name, and waits until the name is on disk: a release's record must not outlive it.
pub(super) fn place(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    match to.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
