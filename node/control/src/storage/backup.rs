//! `corundum backup`: one archive of everything on a node that cannot be made again.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use corundum_host::slug::{self, OpenSlugError};

use super::archive::BackupWriter;
use super::snapshot::{self, SnapshotError};
use super::trees;
use crate::data_dir::{BACKUP_STAGE, FileKind, STORE_FILE, slug_file};

/// The file that a running backup locks.
const LOCK: &str = "backup.lock";

/// A backup that cannot be made. Nothing is written then.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The directory is no data directory.
    #[error("backup: {} is not a data directory of corundum: name it with --data-dir", .0.display())]
    NotData(PathBuf),
    /// Another user runs the node, who could not read the files that this one makes.
    #[error("backup: {} belongs to user {owner}: run this command as that user", data.display())]
    Owner {
        /// The data directory.
        data: PathBuf,
        /// The number of its owner.
        owner: u32,
    },
    /// The archive exists.
    #[error("backup: {} exists: choose another name", .0.display())]
    Exists(PathBuf),
    /// Another backup is being made.
    #[error("backup: another backup of {} is being made: wait for it", .0.display())]
    Busy(PathBuf),
    /// The data directory cannot be copied consistently.
    #[error("backup: {0}")]
    Snapshot(#[from] SnapshotError),
    /// A file cannot be read or written.
    #[error("backup: {}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        cause: io::Error,
    },
}

/// A finished backup.
#[derive(Debug)]
pub struct FinishedBackup {
    /// The apps in it.
    pub apps: usize,
    /// The files in it.
    pub files: u64,
    /// The bytes of the files.
    pub content: u64,
    /// The bytes of the archive.
    pub archive: u64,
    /// Slugs that are damaged on this node, which are in the archive as they are, and directories that could not be copied, each
    /// with the problem.
    pub damaged: Vec<String>,
}

fn at<T>(path: &Path, result: io::Result<T>) -> Result<T, BackupError> {
    result.map_err(|cause| BackupError::Io {
        path: path.to_owned(),
        cause,
    })
}

/// Makes a backup of the data directory `data` in the new file `output`, whether a node runs on it or not.
///
/// # Errors
///
/// [`BackupError`].
pub fn run(data: &Path, output: &Path) -> Result<FinishedBackup, BackupError> {
    if !data.join(STORE_FILE).is_file() {
        return Err(BackupError::NotData(data.to_owned()));
    }
    let owner = at(data, fs::metadata(data))?.uid();
    if owner != rustix::process::geteuid().as_raw() {
        let data = data.to_owned();
        return Err(BackupError::Owner { data, owner });
    }
    if output.exists() {
        return Err(BackupError::Exists(output.to_owned()));
    }
    let lock_path = data.join(LOCK);
    let lock = at(&lock_path, File::create(&lock_path))?;
    if lock.try_lock().is_err() {
        return Err(BackupError::Busy(data.to_owned()));
    }
    let stage = StageFolder::create(data.join(BACKUP_STAGE))?;
    let live = snapshot::take(data, &stage.0)?;
    // After the store, so that each add-on of the store has its files.
    let addons = snapshot::addons(&stage.0)?;
    let mut damaged = trees::take(data, &stage.0, &live.apps, &addons)?;
    let folder = match output.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // Only its owner can read it: it holds config vars and private keys.
    let temporary = tempfile::Builder::new()
        .prefix(".corundum-backup-")
        .tempfile_in(folder);
    let temporary = at(folder, temporary)?;
    let mut archive = at(output, BackupWriter::new(temporary))?;
    add_tree(&mut archive, &stage.0, "")?;
    let (temporary, files, content) = at(output, archive.finish())?;
    at(output, temporary.as_file().sync_all())?;
    let size = at(output, temporary.as_file().metadata())?.len();
    at(
        output,
        temporary
            .persist_noclobber(output)
            .map_err(|error| error.error),
    )?;
    at(
        folder,
        File::open(folder).and_then(|folder| folder.sync_all()),
    )?;
    for slug in live.slugs.keys() {
        let path = stage.0.join(FileKind::Slug.folder()).join(slug_file(slug));
        if let Err(error) = slug::open(&path, Some(slug)) {
            damaged.push(match error {
                OpenSlugError::Damaged(_) => {
                    format!("the slug {slug} is damaged; push the app again")
                }
                error => format!("{error}; push the app again"),
            });
        }
    }
    Ok(FinishedBackup {
        apps: live.apps.len(),
        files,
        content,
        archive: size,
        damaged,
    })
}

/// Removes the links that a killed backup has left in a data directory, unless another one is being made.
pub(super) fn remove_leftovers(data: &Path) -> io::Result<()> {
    let stage = data.join(BACKUP_STAGE);
    if !stage.try_exists()? {
        return Ok(());
    }
    let lock = File::create(data.join(LOCK))?;
    match lock.try_lock() {
        Ok(()) => fs::remove_dir_all(stage),
        Err(_) => Ok(()),
    }
}

fn add_tree(
    archive: &mut BackupWriter<tempfile::NamedTempFile>,
    folder: &Path,
    prefix: &str,
) -> Result<(), BackupError> {
    for name in snapshot::names(folder)? {
        let path = folder.join(&name);
        let name = format!("{prefix}{}", name.to_string_lossy());
        if at(&path, fs::symlink_metadata(&path))?.is_dir() {
            add_tree(archive, &path, &format!("{name}/"))?;
        } else {
            let added = File::open(&path).and_then(|file| archive.add(&name, file));
            at(&path, added)?;
        }
    }
    Ok(())
}

/// The folder of linked files. It is removed with the value.
struct StageFolder(PathBuf);

impl StageFolder {
    fn create(path: PathBuf) -> Result<Self, BackupError> {
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return at(&path, Err(error)),
            _ => {}
        }
        snapshot::create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for StageFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
