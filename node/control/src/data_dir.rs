//! The data directory: where a node keeps everything, and the lock that lets one process at a time write to it.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use corundum_abi::names::{AppName, SlugDigest};
use corundum_host::slug::{OpenSlugError, OpenSlugs};
use corundum_pack::archive::Archive;
use corundum_store::ImageName;
use tokio::sync::watch;

/// The name of the store's file.
pub(crate) const STORE_FILE: &str = "corundum.sqlite";
/// The name of the trash.
pub(crate) const TRASH: &str = "trash";
/// The folder in which a backup links and copies the files that it reads. What a killed backup has left there, the next one removes.
pub(crate) const BACKUP_STAGE: &str = "backup";
/// The name of the folder of git's hooks.
const HOOKS: &str = "hooks";
/// The folder of the images' full files.
pub const FULL_IMAGES: &str = "full-images";

/// A kind of files, which is the name of their folder in the data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// Slugs, one file each.
    Slug,
    /// Images, one directory each.
    Image,
    /// Repositories, one directory each.
    Repository,
    /// Volumes, one directory each.
    Volume,
    /// Snapshots of volumes, one directory for each app.
    VolumeSnapshots,
}

impl FileKind {
    /// All kinds.
    pub(crate) const ALL: [Self; 5] = [
        Self::Slug,
        Self::Image,
        Self::Repository,
        Self::Volume,
        Self::VolumeSnapshots,
    ];

    /// Returns the name of the folder.
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Self::Slug => "slugs",
            Self::Image => "images",
            Self::Repository => "repos",
            Self::Volume => "volumes",
            Self::VolumeSnapshots => "volume-snapshots",
        }
    }
}

/// A data directory that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// A folder cannot be created.
    #[error("data directory {}: {cause}", path.display())]
    Create {
        /// The folder.
        path: PathBuf,
        /// The cause.
        cause: io::Error,
    },
    /// The lock file cannot be created.
    #[error("data directory: cannot create its lock: {0}")]
    Lock(io::Error),
    /// Another process has locked the directory.
    #[error(
        "another corundum server uses {}: stop it, or choose another --data-dir", .0.display()
    )]
    InUse(PathBuf),
}

/// The data directory of a node, which this process has locked.
///
/// A takeover unlocks the directory for the new process while this one still serves apps from memory; see
/// [`takeover`](crate::lifecycle::takeover).
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Locked while this process may write to the directory.
    lock: File,
    handed_over: watch::Sender<bool>,
    slugs: OpenSlugs,
}

impl DataDir {
    /// Locks the directory, creates what is missing, and removes what killed builds have left. Only the owner can read it.
    ///
    /// # Errors
    ///
    /// [`DataDirError`].
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        for folder in [
            "",
            "slugs",
            "images",
            FULL_IMAGES,
            "repos",
            "volumes",
            "volume-snapshots",
            "gems",
            TRASH,
        ] {
            create(&path.join(folder))?;
        }
        let lock = File::create(path.join("lock")).map_err(DataDirError::Lock)?;
        if lock.try_lock().is_err() {
            return Err(DataDirError::InUse(path.to_owned()));
        }
        let directory = Self {
            path: path.to_owned(),
            lock,
            handed_over: watch::Sender::new(false),
            slugs: OpenSlugs::default(),
        };
        let _ = fs::remove_dir_all(directory.work());
        create(&directory.work())?;
        Ok(directory)
    }

    /// Returns whether a node uses the directory.
    pub fn is_in_use(path: &Path) -> bool {
        File::open(path.join("lock")).is_ok_and(|lock| lock.try_lock().is_err())
    }

    /// Opens the directory of a node that runs, without its lock, for a process that is about to take over. That process
    /// may add images and use the folder of builds, and must change nothing else.
    ///
    /// # Errors
    ///
    /// [`DataDirError`].
    pub fn beside(path: &Path) -> Result<Self, DataDirError> {
        for folder in [FULL_IMAGES, "work"] {
            create(&path.join(folder))?;
        }
        Ok(Self {
            path: path.to_owned(),
            lock: File::create(path.join("lock")).map_err(DataDirError::Lock)?,
            handed_over: watch::Sender::new(true),
            slugs: OpenSlugs::default(),
        })
    }

    /// Returns the path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of the store's file.
    pub fn store_file(&self) -> PathBuf {
        self.path.join(STORE_FILE)
    }

    /// Returns the folder of a kind of files.
    pub(crate) fn folder(&self, kind: FileKind) -> PathBuf {
        self.path.join(kind.folder())
    }

    /// Returns the folder of the apps' repositories.
    pub(crate) fn repositories(&self) -> PathBuf {
        self.folder(FileKind::Repository)
    }

    /// Returns the path of an app's bare repository.
    pub(crate) fn repository(&self, app: &AppName) -> PathBuf {
        self.repositories().join(repository_name(app))
    }

    /// Returns the directory of an app's volume.
    pub(crate) fn volume(&self, app: &AppName) -> PathBuf {
        self.folder(FileKind::Volume).join(app.to_string())
    }

    /// Returns the folder of the snapshots of an app's volume.
    pub(crate) fn volume_snapshots(&self, app: &AppName) -> PathBuf {
        self.folder(FileKind::VolumeSnapshots).join(app.to_string())
    }

    /// Returns the folder of files that nothing names any more.
    pub(crate) fn trash(&self) -> PathBuf {
        self.path.join(TRASH)
    }

    /// Returns the folder of git's hooks, which all repositories share.
    pub(crate) fn hooks(&self) -> PathBuf {
        self.path.join(HOOKS)
    }

    /// Returns the directory of an image.
    pub(crate) fn image(&self, name: &ImageName) -> PathBuf {
        self.folder(FileKind::Image).join(name.to_string())
    }

    /// Returns the folder of the images' full files, which can be made again.
    pub fn full_images(&self) -> PathBuf {
        self.path.join(FULL_IMAGES)
    }

    /// Returns the path of a slug.
    pub(crate) fn slug(&self, digest: &SlugDigest) -> PathBuf {
        self.folder(FileKind::Slug).join(slug_file(digest))
    }

    /// Opens the slug `digest`, which is at `path`, or returns the one that is open. Its digest is compared if the slug is to
    /// be `checked`. Blocks.
    ///
    /// # Errors
    ///
    /// [`OpenSlugError`].
    pub(crate) fn open_slug(
        &self,
        path: &Path,
        digest: &SlugDigest,
        checked: bool,
    ) -> Result<Arc<Archive>, OpenSlugError> {
        self.slugs.open(path, digest, checked)
    }

    /// Returns the folder in which builds work. It is on the file system of the slugs and images, so that a finished build
    /// is renamed into place.
    pub fn work(&self) -> PathBuf {
        self.path.join("work")
    }

    /// Returns the cache of fetched gems.
    pub fn gems(&self) -> PathBuf {
        self.path.join("gems")
    }

    /// Returns whether another process has the directory, or is about to get it. This process must then change nothing.
    pub fn is_handed_over(&self) -> bool {
        *self.handed_over.borrow()
    }

    /// Waits until another process has the directory, or is about to get it.
    pub(crate) async fn handed_over(&self) {
        let mut handed_over = self.handed_over.subscribe();
        // The sender lives as long as this value.
        let _ = handed_over.wait_for(|is_handed_over| *is_handed_over).await;
    }

    /// Announces that another process will get the directory. Requests that change something are refused from now on.
    pub(crate) fn begin_hand_over(&self) {
        self.handed_over.send_replace(true);
    }

    /// Ends an announced hand-over: this process keeps the directory.
    pub(crate) fn cancel_hand_over(&self) {
        self.handed_over.send_replace(false);
    }

    /// Unlocks the directory for another process and returns whether that succeeded.
    pub(crate) fn unlock(&self) -> bool {
        self.lock.unlock().is_ok()
    }

    /// Locks the directory again and returns whether no other process has it.
    pub(crate) fn lock_again(&self) -> bool {
        let locked = self.lock.try_lock().is_ok();
        if locked {
            self.cancel_hand_over();
        }
        locked
    }
}

/// Returns the directory name of an app's repository.
pub(crate) fn repository_name(app: &AppName) -> String {
    format!("{app}.git")
}

/// Returns the file name of a slug.
pub(crate) fn slug_file(digest: &SlugDigest) -> String {
    format!("{digest}.tar")
}

fn create(path: &Path) -> Result<(), DataDirError> {
    let created = DirBuilder::new().recursive(true).mode(0o700).create(path);
    created.map_err(|cause| DataDirError::Create {
        path: path.to_owned(),
        cause,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_process_is_refused_until_the_first_unlocks() {
        let directory = tempfile::tempdir().unwrap();
        let first = DataDir::open(directory.path()).unwrap();
        let second = DataDir::open(directory.path());
        assert!(matches!(second, Err(DataDirError::InUse(_))));
        assert!(DataDir::is_in_use(directory.path()));
        assert!(DataDir::beside(directory.path()).unwrap().is_handed_over());
        first.begin_hand_over();
        assert!(first.is_handed_over() && first.unlock());
        let second = DataDir::open(directory.path()).unwrap();
        assert!(!first.lock_again() && first.is_handed_over());
        drop(second);
        assert!(first.lock_again() && !first.is_handed_over());
        drop(first);
        assert!(!DataDir::is_in_use(directory.path()));
    }
}
