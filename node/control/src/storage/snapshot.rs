//! A consistent copy of a data directory, made of hard links while a node works on it.
//!
//! The order makes it consistent, without a lock that a push would wait for: branches, then the store, then slugs and objects.
//! A release is recorded before git moves its branch, so no branch is ahead of its release. Slugs and objects never
//! change in place. They disappear only when nothing names them any more, slugs by way of the trash; what has disappeared
//! between two steps makes the copy begin again.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use corundum_store::{AddonStore, LiveRecords, LiveStore, SqliteStore, StoreError};

use super::trash::Trash;
use crate::data_dir::{FileKind, STORE_FILE, TRASH, repository_name, slug_file};
use crate::git::command;

/// Attempts at a copy while apps are created, deleted and pruned.
const ATTEMPTS: usize = 10;

/// A copy that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The store is damaged or cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file cannot be copied.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        cause: io::Error,
    },
    /// A record names a file that does not exist.
    #[error("{} does not exist, but a record names it: see corundum storage", .0.display())]
    Missing(PathBuf),
    /// A repository lacks objects that its branches need.
    #[error("the repository {} lacks objects: push the app again", .0.display())]
    Incomplete(PathBuf),
}

impl SnapshotError {
    /// Returns whether a file has disappeared, as when an app is deleted meanwhile.
    fn is_gone(&self) -> bool {
        match self {
            Self::Missing(_) | Self::Incomplete(_) => true,
            Self::Io { cause, .. } => cause.kind() == io::ErrorKind::NotFound,
            Self::Store(_) => false,
        }
    }
}

pub(super) fn at<T>(path: &Path, result: io::Result<T>) -> Result<T, SnapshotError> {
    result.map_err(|cause| SnapshotError::Io {
        path: path.to_owned(),
        cause,
    })
}

/// Copies the store, the slugs and the repositories of the data directory `data` into the empty directory `to`, on the same
/// file system. Returns the records of the copy.
///
/// # Errors
///
/// [`SnapshotError`].
pub(super) fn take(data: &Path, to: &Path) -> Result<LiveRecords, SnapshotError> {
    let mut attempt = 1;
    loop {
        match try_take(data, to) {
            Err(error) if error.is_gone() && attempt < ATTEMPTS => {
                attempt += 1;
                for folder in [FileKind::Slug, FileKind::Repository] {
                    let folder = to.join(folder.folder());
                    if folder.exists() {
                        at(&folder, fs::remove_dir_all(&folder))?;
                    }
                }
                let store = to.join(STORE_FILE);
                if store.exists() {
                    at(&store, fs::remove_file(&store))?;
                }
            }
            result => return result,
        }
    }
}

fn try_take(data: &Path, to: &Path) -> Result<LiveRecords, SnapshotError> {
    let [repositories, slugs] = [FileKind::Repository, FileKind::Slug].map(FileKind::folder);
    for folder in [repositories, slugs] {
        create(&to.join(folder))?;
    }
    let from = data.join(repositories);
    let mut with_branches = BTreeSet::new();
    for name in names(&from)? {
        let (from, to) = (from.join(&name), to.join(repositories).join(&name));
        match copy_branches(&from, &to) {
            Ok(()) => drop(with_branches.insert(name)),
            // An app that is deleted right now is not in the store below.
            Err(error) if error.is_gone() => {}
            Err(error) => return Err(error),
        }
    }
    let store = to.join(STORE_FILE);
    SqliteStore::copy(&data.join(STORE_FILE), &store)?;
    let copy = SqliteStore::open(&store)?;
    copy.check_integrity()?;
    let live = copy.live_records()?;
    drop(copy);
    for slug in live.slugs.keys() {
        link_slug(data, to, &slug_file(slug))?;
    }
    let live_repositories: BTreeSet<OsString> = live
        .apps
        .iter()
        .map(|app| repository_name(app).into())
        .collect();
    for name in &live_repositories {
        let path = from.join(name);
        if !with_branches.contains(name) {
            return Err(SnapshotError::Missing(path));
        }
        link_objects(&path, &to.join(repositories).join(name))?;
    }
    for name in with_branches.difference(&live_repositories) {
        let path = to.join(repositories).join(name);
        at(&path, fs::remove_dir_all(&path))?;
    }
    Ok(live)
}

/// Returns the keys of the add-ons in the copied store.
pub(super) fn addons(to: &Path) -> Result<Vec<uuid::Uuid>, SnapshotError> {
    let store = SqliteStore::open(&to.join(STORE_FILE))?;
    let (addons, _) = store.readable_addons()?;
    Ok(addons.into_iter().map(|addon| addon.id).collect())
}

/// Copies a repository's settings and branches, which git replaces as a whole.
fn copy_branches(from: &Path, to: &Path) -> Result<(), SnapshotError> {
    create(to)?;
    for file in ["HEAD", "config"] {
        copy(&from.join(file), &to.join(file))?;
    }
    copy_tree(&from.join("refs"), &to.join("refs"))?;
    let packed = from.join("packed-refs");
    if at(&packed, packed.try_exists())? {
        copy(&packed, &to.join("packed-refs"))?;
    }
    Ok(())
}

fn copy_tree(from: &Path, to: &Path) -> Result<(), SnapshotError> {
    create(to)?;
    for name in names(from)? {
        let (from, to) = (from.join(&name), to.join(&name));
        if at(&from, fs::symlink_metadata(&from))?.is_dir() {
            copy_tree(&from, &to)?;
        } else if !name.as_encoded_bytes().ends_with(b".lock") {
            copy(&from, &to)?;
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<(), SnapshotError> {
    at(from, fs::copy(from, to)).map(drop)
}

/// Links a slug from its folder, or from the trash if its release was removed meanwhile.
fn link_slug(data: &Path, to: &Path, name: &str) -> Result<(), SnapshotError> {
    let folder = FileKind::Slug.folder();
    let (from, to) = (data.join(folder).join(name), to.join(folder).join(name));
    match fs::hard_link(&from, &to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        result => return at(&from, result),
    }
    let trash = data.join(TRASH);
    match at(&trash, Trash::find(&trash, FileKind::Slug, name))? {
        Some(path) => at(&path, fs::hard_link(&path, &to)),
        None => Err(SnapshotError::Missing(from)),
    }
}

/// Links a repository's objects: first the loose ones, then the packs, since a collection moves them in this direction. Packs
/// are read until two readings agree, for a collection replaces them by others.
fn link_objects(from: &Path, to: &Path) -> Result<(), SnapshotError> {
    let (objects, linked) = (from.join("objects"), to.join("objects"));
    create(&linked)?;
    for name in names(&objects)? {
        // Other folders are quarantines, and `info` can be made again.
        if name.len() == 2 {
            link_files(&objects.join(&name), &linked.join(&name))?;
        }
    }
    let (packs, linked) = (objects.join("pack"), linked.join("pack"));
    let mut before = None;
    for _ in 0..ATTEMPTS {
        match link_files(&packs, &linked) {
            Err(error) if error.is_gone() => {}
            result => result?,
        }
        let now = names(&packs)?;
        if before.as_ref() == Some(&now) {
            break;
        }
        before = Some(now);
    }
    let mut git = command::command().into_std();
    let status = git
        .arg("-C")
        .arg(to)
        .args(["rev-list", "--objects", "--quiet", "--all"])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status();
    match at(to, status)?.success() {
        true => Ok(()),
        false => Err(SnapshotError::Incomplete(from.to_owned())),
    }
}

fn link_files(from: &Path, to: &Path) -> Result<(), SnapshotError> {
    create(to)?;
    for name in names(from)? {
        let bytes = name.as_encoded_bytes();
        if bytes.starts_with(b"tmp_") || bytes.starts_with(b".tmp-") || bytes.ends_with(b".lock") {
            continue;
        }
        let from = from.join(&name);
        match fs::hard_link(&from, to.join(&name)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            result => at(&from, result)?,
        }
    }
    Ok(())
}

/// Returns the sorted names in a folder.
pub(super) fn names(folder: &Path) -> Result<Vec<OsString>, SnapshotError> {
    let mut names = Vec::new();
    for entry in at(folder, fs::read_dir(folder))? {
        names.push(at(folder, entry)?.file_name());
    }
    names.sort();
    Ok(names)
}

/// Creates a folder that only its owner can read.
pub(super) fn create(path: &Path) -> Result<(), SnapshotError> {
    at(
        path,
        DirBuilder::new().recursive(true).mode(0o700).create(path),
    )
}
