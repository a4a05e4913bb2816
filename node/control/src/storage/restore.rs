//! `corundum restore`: makes a data directory of a backup, whole or not at all.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use corundum_host::slug;
use corundum_store::{LiveRecords, LiveStore, SqliteStore, StoreError};

use super::archive::{
    BackedUpFile, BackupManifest, FORMAT, Hashing, MANIFEST, MAX_MANIFEST, OLDEST_FORMAT,
    plain_path,
};
use super::trees;
use crate::data_dir::{FileKind, STORE_FILE, repository_name, slug_file};

/// A backup that cannot be restored. The directory stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The directory has content, which a restore would mix with the backup's.
    #[error("restore: {} is not empty: name a directory that is empty or does not exist", .0.display())]
    NotEmpty(PathBuf),
    /// The archive is incomplete or damaged.
    #[error("restore: {} is damaged: {reason}; restore another backup", archive.display())]
    Damaged {
        /// The archive.
        archive: PathBuf,
        /// The problem.
        reason: String,
    },
    /// A later version made the archive.
    #[error(
        "restore: corundum {0} made the backup in a format that this version cannot read: restore it with that version"
    )]
    Format(String),
    /// The store in the archive cannot be used.
    #[error("restore: {0}")]
    Store(#[from] StoreError),
    /// A file cannot be read or written.
    #[error("restore: {}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        cause: io::Error,
    },
}

/// A restored data directory.
#[derive(Debug)]
pub struct RestoredData {
    /// The apps in it.
    pub apps: usize,
    /// The time of the backup, in RFC 3339.
    pub created_at: String,
    /// Slugs that were damaged when the backup was made.
    pub damaged: Vec<String>,
}

fn at<T>(path: &Path, result: io::Result<T>) -> Result<T, RestoreError> {
    result.map_err(|cause| RestoreError::Io {
        path: path.to_owned(),
        cause,
    })
}

/// Restores the backup `archive` into the directory `data`, which is empty or does not exist.
///
/// The files are extracted beside it, checked, and renamed as a whole. A kill at any moment leaves `data` as it was.
///
/// # Errors
///
/// [`RestoreError`].
pub fn run(archive: &Path, data: &Path) -> Result<RestoredData, RestoreError> {
    match fs::read_dir(data) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                return Err(RestoreError::NotEmpty(data.to_owned()));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return at(data, Err(error)),
    }
    let data = at(data, std::path::absolute(data))?;
    let parent = data.parent().unwrap_or(Path::new("/"));
    at(parent, fs::create_dir_all(parent))?;
    let name = data.file_name().unwrap_or_default().to_string_lossy();
    let stage = tempfile::Builder::new()
        .prefix(&format!(".{name}.restoring-"))
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(parent);
    let stage = at(parent, stage)?;
    let manifest = extract(archive, stage.path())?;
    let live = check_content(archive, stage.path())?;
    trees::extract(stage.path()).map_err(|error| RestoreError::Damaged {
        archive: archive.to_owned(),
        reason: error.to_string(),
    })?;
    for app in &live.apps {
        complete_repository(stage.path(), &repository_name(app))?;
    }
    let damaged = live.slugs.keys().filter_map(|slug| {
        let path = stage
            .path()
            .join(FileKind::Slug.folder())
            .join(slug_file(slug));
        let error = slug::open(&path, Some(slug)).err()?;
        Some(format!("slug {slug}: {error}; push the app again"))
    });
    let damaged = damaged.collect();
    // All files at once, since there may be a million objects.
    let whole = File::open(stage.path()).and_then(|folder| Ok(rustix::fs::syncfs(folder)?));
    at(stage.path(), whole)?;
    at(&data, fs::rename(stage.path(), &data))?;
    // The directory has another name now.
    drop(stage.keep());
    at(
        parent,
        File::open(parent).and_then(|folder| folder.sync_all()),
    )?;
    Ok(RestoredData {
        apps: live.apps.len(),
        created_at: manifest.created_at,
        damaged,
    })
}

/// Extracts the archive and compares all files with its manifest.
fn extract(archive: &Path, to: &Path) -> Result<BackupManifest, RestoreError> {
    let damaged = |reason: String| RestoreError::Damaged {
        archive: archive.to_owned(),
        reason,
    };
    let read = |error: io::Error| damaged(error.to_string());
    let file = at(archive, File::open(archive))?;
    let decoder = zstd::Decoder::new(file).map_err(read)?;
    let mut tar = tar::Archive::new(decoder);
    let mut files: BTreeMap<String, BackedUpFile> = BTreeMap::new();
    let mut manifest: Option<BackupManifest> = None;
    for entry in tar.entries().map_err(read)? {
        let mut entry = entry.map_err(read)?;
        let path = entry.path().map_err(read)?.into_owned();
        let name = plain_path(&path).map(str::to_owned);
        let name = name.ok_or_else(|| damaged(format!("it has an entry {}", path.display())))?;
        if manifest.is_some() || entry.header().entry_type() != tar::EntryType::Regular {
            return Err(damaged(format!("it has an unexpected entry {name}")));
        }
        if name == MANIFEST {
            let mut text = Vec::new();
            (&mut entry)
                .take(MAX_MANIFEST)
                .read_to_end(&mut text)
                .map_err(read)?;
            let parsed =
                serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
            manifest = Some(parsed);
            continue;
        }
        let known =
            [FileKind::Slug, FileKind::Repository].map(|kind| format!("{}/", kind.folder()));
        let is_known = name == STORE_FILE || known.iter().any(|folder| name.starts_with(folder));
        if !is_known && !trees::is_entry(&name) {
            return Err(damaged(format!("it has an unexpected entry {name}")));
        }
        let path = to.join(&name);
        if let Some(folder) = path.parent() {
            create(folder)?;
        }
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        let mut file = at(&path, file)?;
        let mut content = Hashing::new(&mut entry);
        io::copy(&mut content, &mut file).map_err(|cause| match cause.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => RestoreError::Io {
                path: path.clone(),
                cause,
            },
            _ => read(cause),
        })?;
        files.insert(name, content.finish().1);
    }
    let manifest = manifest.ok_or_else(|| damaged("it is incomplete".to_owned()))?;
    if !(OLDEST_FORMAT..=FORMAT).contains(&manifest.format) {
        return Err(RestoreError::Format(manifest.corundum));
    }
    let differs = manifest
        .files
        .iter()
        .find(|(name, file)| files.get(*name) != Some(*file));
    if let Some((name, _)) = differs {
        return Err(damaged(format!("{name} has changed")));
    }
    if let Some(name) = files
        .keys()
        .find(|name| !manifest.files.contains_key(*name))
    {
        return Err(damaged(format!("it has an unexpected entry {name}")));
    }
    Ok(manifest)
}

/// Checks that the store can be read and that everything that it names is there.
fn check_content(archive: &Path, stage: &Path) -> Result<LiveRecords, RestoreError> {
    let damaged = |reason: String| RestoreError::Damaged {
        archive: archive.to_owned(),
        reason,
    };
    let path = stage.join(STORE_FILE);
    if !path.exists() {
        return Err(damaged(format!("it has no {STORE_FILE}")));
    }
    let store = SqliteStore::open(&path)?;
    store.check_integrity()?;
    let live = store.live_records()?;
    let slugs = live
        .slugs
        .keys()
        .map(|slug| Path::new(FileKind::Slug.folder()).join(slug_file(slug)));
    let heads = live.apps.iter().map(|app| {
        let folder = Path::new(FileKind::Repository.folder());
        folder.join(repository_name(app)).join("HEAD")
    });
    for file in slugs.chain(heads) {
        if !stage.join(&file).exists() {
            return Err(damaged(format!("{} is missing", file.display())));
        }
    }
    Ok(live)
}

/// Makes the empty folders that git expects.
fn complete_repository(stage: &Path, name: &str) -> Result<(), RestoreError> {
    let path = stage.join(FileKind::Repository.folder()).join(name);
    for folder in ["objects/info", "objects/pack", "refs/heads", "refs/tags"] {
        create(&path.join(folder))?;
    }
    Ok(())
}

fn create(path: &Path) -> Result<(), RestoreError> {
    at(
        path,
        DirBuilder::new().recursive(true).mode(0o700).create(path),
    )
}
