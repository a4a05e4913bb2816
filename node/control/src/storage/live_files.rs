//! The files that are in use, and the sweep of all others.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use corundum_abi::names::SlugDigest;
use corundum_store::{ImageName, LiveRecords, Store, StoreError};

use super::backup;
use super::trash::{Freed, Trash, disk_bytes};
use crate::apps::locks::AppLocks;
use crate::data_dir::{DataDir, FileKind, repository_name, slug_file};

/// The reason why nothing may be swept.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The records cannot all be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record names a file that does not exist. Either the file is lost, or the record is damaged and the file that it
    /// named is among those that seem unused.
    #[error(
        "{owner} names {}, which does not exist: restore it from trash/ or from a backup, or destroy the app and push it again", path.display()
    )]
    Missing {
        /// The app or the release.
        owner: String,
        /// The file.
        path: PathBuf,
    },
    /// The data directory cannot be read or changed.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        cause: io::Error,
    },
    /// Another process has the data directory.
    #[error("another process takes the data directory over")]
    HandedOver,
}

/// The names of all files in use, with their owners, by kind. It is complete, or there is none of it.
#[derive(Debug, Default)]
pub(crate) struct LiveNames(HashMap<FileKind, HashMap<String, String>>);

impl LiveNames {
    fn of(records: LiveRecords) -> Self {
        let repositories = records.apps.iter();
        let repositories = repositories.map(|app| (repository_name(app), format!("app {app}")));
        let volumes = records.apps.iter();
        let volumes = volumes.map(|app| (app.to_string(), format!("app {app}")));
        let volumes: HashMap<String, String> = volumes.collect();
        let slugs = records.slugs.into_iter().map(|(slug, (app, version))| {
            (slug_file(&slug), format!("release {version} of app {app}"))
        });
        let images = records.images.into_iter().map(|(image, app)| {
            (
                image.to_string(),
                format!("the current release of app {app}"),
            )
        });
        Self(HashMap::from([
            (FileKind::Repository, repositories.collect()),
            (FileKind::VolumeSnapshots, volumes.clone()),
            (FileKind::Volume, volumes),
            (FileKind::Slug, slugs.collect()),
            (FileKind::Image, images.collect()),
        ]))
    }

    /// Returns whether a file of a kind is in use.
    pub(crate) fn contains(&self, kind: FileKind, name: &str) -> bool {
        self.0
            .get(&kind)
            .is_some_and(|names| names.contains_key(name))
    }

    /// Iterates over the names of a kind and their owners.
    pub(crate) fn of_kind(&self, kind: FileKind) -> impl Iterator<Item = (&str, &str)> {
        let names = self.0.get(&kind).into_iter().flatten();
        names.map(|(name, owner)| (name.as_str(), owner.as_str()))
    }
}

/// A repository is made before its app's record. One that was changed so recently may be about to get its app.
const YOUNG: Duration = Duration::from_secs(60 * 60);

/// Decides which slugs, images and repositories are in use, and moves the others to the trash.
pub struct LiveFiles {
    store: Arc<dyn Store>,
    data: Arc<DataDir>,
    locks: Arc<AppLocks>,
    trash: Trash,
    /// Held while files get or lose their names, so that none is removed that a release is about to name.
    naming: Mutex<()>,
}

impl LiveFiles {
    /// Creates the type. Files stay in the trash for `grace`.
    pub fn new(
        store: Arc<dyn Store>,
        data: Arc<DataDir>,
        locks: Arc<AppLocks>,
        grace: Duration,
    ) -> Self {
        let trash = Trash::new(data.trash(), grace);
        Self {
            store,
            data,
            locks,
            trash,
            naming: Mutex::new(()),
        }
    }

    /// Returns the trash.
    pub fn trash(&self) -> &Trash {
        &self.trash
    }

    /// Keeps files from being swept while the guard lives. Take it before a file gets its name, and keep it until a record
    /// names the file.
    pub(crate) fn naming(&self) -> MutexGuard<'_, ()> {
        self.naming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the names of all files in use. The caller holds [`naming`](Self::naming), if it deletes by them.
    ///
    /// # Errors
    ///
    /// [`SweepError`] if any record cannot be read or any file that one names does not exist.
    pub(crate) fn live_names(&self) -> Result<LiveNames, SweepError> {
        let live = LiveNames::of(self.store.live_records()?);
        for kind in FileKind::ALL {
            let folder = self.data.folder(kind);
            for (name, owner) in live.of_kind(kind) {
                let path = folder.join(name);
                // Not every app has a volume, so that a missing one tells nothing.
                if matches!(kind, FileKind::Volume | FileKind::VolumeSnapshots) {
                    continue;
                }
                // A file in the trash that a record names was put there by mistake.
                let exists = match path.try_exists() {
                    Ok(false) => self.trash.take_back(kind, &path),
                    known => known,
                };
                match exists {
                    Ok(true) => {}
                    Ok(false) => {
                        let owner = owner.to_owned();
                        return Err(SweepError::Missing { owner, path });
                    }
                    Err(cause) => return Err(SweepError::Io { path, cause }),
                }
            }
        }
        Ok(live)
    }

    /// Checks that a sweep could know all files in use. Blocks.
    ///
    /// # Errors
    ///
    /// [`SweepError`], for which a sweep would do nothing.
    pub(crate) fn check(&self) -> Result<(), SweepError> {
        self.store.check_integrity()?;
        let _naming = self.naming();
        self.live_names().map(drop)
    }

    /// Moves the slugs, images and repositories that nothing names to the trash, and deletes what has been there for the
    /// grace period. Does nothing without complete knowledge. Blocks.
    ///
    /// # Errors
    ///
    /// [`SweepError`].
    pub(crate) fn sweep(&self) -> Result<Freed, SweepError> {
        let _working = self.locks.begin_maintenance();
        if self.data.is_handed_over() {
            return Err(SweepError::HandedOver);
        }
        // Before the lock is taken: it reads all records, and a push must not wait for it.
        self.store.check_integrity()?;
        let _naming = self.naming();
        let live = self.live_names()?;
        let mut unused = Vec::new();
        for kind in FileKind::ALL {
            let folder = self.data.folder(kind);
            let failed = |cause| SweepError::Io {
                path: folder.clone(),
                cause,
            };
            for entry in fs::read_dir(&folder).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let name = entry.file_name();
                let used = name.to_str().is_some_and(|name| live.contains(kind, name));
                let young =
                    kind == FileKind::Repository && is_young(&entry.metadata().map_err(failed)?);
                if !used && !young {
                    unused.push((kind, entry.path()));
                }
            }
        }
        let mut freed = Freed::default();
        for (kind, path) in unused {
            let failed = |cause| SweepError::Io {
                path: path.clone(),
                cause,
            };
            let bytes = disk_bytes(&path).map_err(failed)?;
            self.trash.put(kind, &path).map_err(failed)?;
            tracing::warn!(path = %path.display(), "moved a file that nothing names to the trash");
            freed.add(Freed { files: 1, bytes });
        }
        let failed = |cause| SweepError::Io {
            path: self.data.trash(),
            cause,
        };
        self.trash.delete_expired().map_err(failed)?;
        backup::remove_leftovers(self.data.path()).map_err(failed)?;
        Ok(freed)
    }

    /// Moves a file to the trash that the caller knows to be unused. A failure leaves it to the next sweep.
    pub(crate) fn discard(&self, kind: FileKind, path: &Path) {
        if let Err(error) = self.trash.put(kind, path) {
            tracing::warn!(path = %path.display(), %error, "could not move a file to the trash");
        }
    }

    /// Removes an image that its release no longer names. It does not go to the trash, since it holds config vars and can be
    /// made again from its slug.
    pub(crate) fn remove_image(&self, image: &ImageName) {
        let path = self.data.image(image);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "could not remove an image");
            }
            _ => {}
        }
    }

    /// Moves a slug to the trash unless a release of any app uses it. The caller holds [`naming`](Self::naming).
    pub(crate) fn discard_slug(&self, slug: &SlugDigest) {
        match self.store.names_slug(slug) {
            Ok(false) => self.discard(FileKind::Slug, &self.data.slug(slug)),
            Ok(true) => {}
            // The slug stays until a sweep knows all records.
            Err(error) => tracing::warn!(%slug, %error, "could not tell whether a slug is in use"),
        }
    }

    /// Takes a missing slug back from the trash, if it is there.
    pub(crate) fn recover_slug(&self, slug: &SlugDigest) {
        let path = self.data.slug(slug);
        if path.exists() {
            return;
        }
        match self.trash.take_back(FileKind::Slug, &path) {
            Ok(true) => tracing::warn!(%slug, "took a slug back from the trash"),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(%slug, %error, "could not take a slug back from the trash")
            }
        }
    }
}

fn is_young(metadata: &fs::Metadata) -> bool {
    // A time in the future is young, too.
    let age = metadata
        .modified()
        .map(|modified| modified.elapsed().unwrap_or_default());
    age.is_ok_and(|age| age < YOUNG)
}
