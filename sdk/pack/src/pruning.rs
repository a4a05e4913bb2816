//! Life cycle of the cache: marks of use, and removal of what nothing has used for a time.
//!
//! The cache holds packs, builds of MRI, compilers, libraries, compiled extensions and downloads. All of them can be made again.
//! Their names contain digests of their inputs, so that each version of this program, and each version of a gem, leaves
//! its own. A use marks an entry ([`mark_used`]). [`prune`] removes entries without a recent mark, except those
//! that this version of the program would make, and packs that a process has open.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::cache_usage::{LOCK, mark_used};
use crate::language::installed;
use crate::ruby::{self, Edition};
use crate::{mri, sysroot, toolchain};

/// Time without use after which a node removes an entry.
pub const UNUSED: Duration = Duration::from_secs(30 * 86_400);
/// Beginning of the names of entries that are being removed.
const REMOVED: &str = ".removed-";
/// The directory of compiled extensions in a pack.
const EXTENSIONS: &str = "extensions";

/// Marks the code of extensions in the directory of a pack, by the digests of their modules.
pub fn mark_extensions(pack: &Path, digests: &HashSet<String>) {
    for entry in fs::read_dir(pack.join(EXTENSIONS))
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = entry.file_name();
        let digest = name.to_str().and_then(|name| name.split('-').next());
        if digest.is_some_and(|digest| digests.contains(digest)) {
            mark_used(&entry.path());
        }
    }
}

/// An entry that was removed, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrunedEntry {
    /// The path.
    pub path: PathBuf,
    /// Bytes of its files.
    pub bytes: u64,
}

/// Removes the entries of `cache` that nothing has used for `unused`, and returns them. With `dry_run`, nothing is removed.
///
/// Several processes may call it at the same time, and it may be interrupted at any moment.
///
/// # Errors
///
/// A folder of the cache cannot be read; what is in it stays.
pub fn prune(cache: &Path, unused: Duration, dry_run: bool) -> io::Result<Vec<PrunedEntry>> {
    let current = current(cache)?;
    let limit = SystemTime::now().checked_sub(unused);
    let mut pruned = Vec::new();
    for (folder, is_entry) in folders(cache)? {
        for path in entries(&folder)? {
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(name) = name else { continue };
            if name.starts_with(REMOVED) {
                // An earlier call was interrupted.
                if !dry_run {
                    remove(&path)?;
                }
                continue;
            }
            if !is_entry(name) || current.contains(&path) {
                continue;
            }
            // An entry whose last use is unknown stays.
            let Ok(used) = last_used(&path) else { continue };
            if limit.is_none_or(|limit| used > limit) {
                continue;
            }
            let bytes = size(&path);
            if dry_run || set_aside(&path, used)? {
                pruned.push(PrunedEntry { path, bytes });
            }
        }
    }
    Ok(pruned)
}

/// Tells by its name whether a file or directory is an entry.
type IsEntry = fn(&str) -> bool;

/// Returns the folders of the cache with entries.
fn folders(cache: &Path) -> io::Result<Vec<(PathBuf, IsEntry)>> {
    let mut folders: Vec<(PathBuf, IsEntry)> = vec![
        (cache.to_owned(), |name| {
            let kinds = ["toolchain-", "sysroot-"];
            let digest = kinds.iter().find_map(|kind| name.strip_prefix(kind));
            digest.is_some_and(|digest| {
                is_digest(
                    digest.trim_end_matches(".work").trim_end_matches(".cache"),
                    16,
                )
            })
        }),
        (cache.join("packs"), |name| {
            let temporary = [".preparing-", ".damaged-"];
            temporary.iter().any(|kind| name.starts_with(kind))
                || ((name.starts_with("ruby-") || installed::is_pack(name)) && ends_in_digest(name))
        }),
        (cache.join("mri"), |name| {
            let digest = name.strip_prefix("libraries-").unwrap_or(name);
            is_digest(digest.trim_end_matches(".work"), 16)
        }),
        (cache.join("sysroot"), |name| {
            let name = name.trim_end_matches(".work");
            ends_in_digest(name) || is_digest(name, 64)
        }),
        (cache.join(EXTENSIONS), |name| {
            is_digest(name, 64) || name.starts_with(".writing-")
        }),
        (cache.join("downloads"), |name| {
            !name.starts_with('.') || name.starts_with(".part-")
        }),
    ];
    for pack in entries(&cache.join("packs"))? {
        let name = pack.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("ruby-") {
            folders.push((pack.join(EXTENSIONS), |name| {
                let digest = name.split('-').next().unwrap_or(name);
                is_digest(digest, 64) || name.starts_with(".writing-")
            }));
        }
    }
    Ok(folders)
}

/// Returns the paths in a folder; none if it does not exist.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(found) => found.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn is_digest(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn ends_in_digest(name: &str) -> bool {
    name.rsplit_once('-')
        .is_some_and(|(_, digest)| is_digest(digest, 16))
}

/// Returns the paths of all that this version of the program makes, and of the packs that were installed.
fn current(cache: &Path) -> io::Result<HashSet<PathBuf>> {
    let packs = Edition::ALL.map(|edition| ruby::pack_path(edition, cache));
    let mut paths: HashSet<PathBuf> = packs.into_iter().collect();
    paths.insert(toolchain::place(cache));
    paths.insert(toolchain::compiled_library(cache));
    paths.extend(mri::places(cache));
    paths.extend(sysroot::places(cache));
    paths.extend(installed::recorded(cache)?);
    Ok(paths)
}

/// Returns when an entry was last used. Earlier versions of the program do not mark packs, but read their files.
fn last_used(path: &Path) -> io::Result<SystemTime> {
    let metadata = fs::metadata(path)?;
    let mut used = metadata.modified()?;
    if metadata.is_dir() && !path.join(LOCK).exists() {
        for inner in entries(path)? {
            let metadata = fs::metadata(inner)?;
            used = used.max(metadata.modified()?);
            used = used.max(metadata.accessed().unwrap_or(used));
        }
    }
    Ok(used)
}

/// Removes an entry. Returns `false` if a process uses it.
fn set_aside(path: &Path, used: SystemTime) -> io::Result<bool> {
    if !path.is_dir() {
        fs::remove_file(path)?;
        return Ok(true);
    }
    let lock = File::open(path.join(LOCK)).ok();
    if lock.as_ref().is_some_and(|lock| lock.try_lock().is_err()) {
        return Ok(false);
    }
    // A process may have marked it since.
    if last_used(path)? > used {
        return Ok(false);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = path.with_file_name(format!("{REMOVED}{}-{name}", std::process::id()));
    fs::rename(path, &aside)?;
    remove(&aside)?;
    Ok(true)
}

/// Removes a file or a directory that another process may remove at the same time.
fn remove(path: &Path) -> io::Result<()> {
    let removed = match path.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Returns the bytes of a file, or of the files in a directory. Symbolic links are not followed.
fn size(path: &Path) -> u64 {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return 0;
    };
    match metadata.is_dir() {
        true => entries(path)
            .unwrap_or_default()
            .iter()
            .map(|inner| size(inner))
            .sum(),
        false => metadata.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Duration = Duration::from_secs(40 * 86_400);

    struct OldCache(tempfile::TempDir);

    impl OldCache {
        /// Adds a file, and gives it and its folder the age.
        fn add(&self, path: &str, age: Duration) -> PathBuf {
            let path = self.0.path().join(path);
            let folder = path.parent().unwrap().to_owned();
            fs::create_dir_all(&folder).unwrap();
            fs::write(&path, "12345").unwrap();
            let time = SystemTime::now() - age;
            for path in [&path, &folder] {
                let times = fs::FileTimes::new().set_modified(time).set_accessed(time);
                File::open(path).unwrap().set_times(times).unwrap();
            }
            path
        }

        fn prune(&self, dry_run: bool) -> Vec<String> {
            let pruned = prune(self.0.path(), UNUSED, dry_run).unwrap();
            let name = |entry: &PrunedEntry| {
                let path = entry.path.strip_prefix(self.0.path()).unwrap();
                path.to_string_lossy().into_owned()
            };
            let mut names: Vec<String> = pruned.iter().map(name).collect();
            names.sort();
            names
        }
    }

    #[test]
    fn unused_entries_are_removed_and_all_others_stay() {
        let cache = OldCache(tempfile::tempdir().unwrap());
        let (short, long) = ("0123456789abcdef", "0123456789abcdef".repeat(4));
        let old = [
            "downloads/a.tar.gz".to_owned(),
            format!("extensions/{long}"),
            format!("mri/{short}"),
            format!("mri/libraries-{short}"),
            "packs/.preparing-x".to_owned(),
            format!("packs/ruby-3.2-npm-{short}"),
            format!("sysroot-{short}"),
            format!("sysroot/zlib-{short}"),
            format!("toolchain-{short}"),
        ];
        for entry in &old {
            let is_file = entry.starts_with("downloads") || entry.starts_with("extensions");
            cache.add(
                &if is_file {
                    entry.clone()
                } else {
                    format!("{entry}/file")
                },
                OLD,
            );
        }
        // Entries of the current version, entries that were used lately, and files that no part of the cache knows.
        let current = ruby::pack_path(Edition::ALL[0], cache.0.path());
        let current = current.strip_prefix(cache.0.path()).unwrap().to_owned();
        let code = format!("{}/extensions/{long}-k-1.cwasm", current.display());
        let kept = [
            format!("{}/pack.json", current.display()),
            format!("{}/x", toolchain::place(Path::new("")).display()),
            "packs/notes".to_owned(),
            "packs/.lock-npm".to_owned(),
            "other/file".to_owned(),
            format!("toolchain-{short}.lock"),
        ];
        for path in &kept {
            cache.add(path, OLD);
        }
        let young = cache.add(&format!("sysroot/yaml-{short}/file"), Duration::ZERO);
        cache.add(&code, OLD);
        let mut expected = old.to_vec();
        expected.push(code);
        expected.sort();
        assert_eq!(cache.prune(true), expected);
        assert!(cache.0.path().join(&old[0]).exists());
        assert_eq!(cache.prune(false), expected);
        assert!(old.iter().all(|path| !cache.0.path().join(path).exists()));
        assert!(kept.iter().all(|path| cache.0.path().join(path).exists()));
        assert!(young.exists());
        assert!(cache.prune(false).is_empty());
    }

    #[test]
    fn marked_and_open_packs_stay_and_leftovers_of_an_interruption_go() {
        let cache = OldCache(tempfile::tempdir().unwrap());
        let name = "packs/ruby-3.3-source-0123456789abcdef";
        cache.add(&format!("{name}/pack.json"), OLD);
        let lock = cache.add(&format!("{name}/{LOCK}"), OLD);
        let used = File::open(&lock).unwrap();
        used.lock_shared().unwrap();
        assert!(cache.prune(false).is_empty());
        drop(used);
        mark_used(&cache.0.path().join(name));
        assert!(cache.prune(false).is_empty());
        cache.add(&format!("{name}/pack.json"), OLD);
        assert_eq!(cache.prune(false), [name]);
        let leftover = cache.add("packs/.removed-1-ruby-3.3/x", Duration::ZERO);
        cache.prune(false);
        assert!(!leftover.exists());
    }

    #[test]
    fn code_of_extensions_is_marked_by_its_digest() {
        let cache = OldCache(tempfile::tempdir().unwrap());
        let pack = cache
            .0
            .path()
            .join("packs/ruby-3.3-source-0123456789abcdef");
        let digests = ["a".repeat(64), "b".repeat(64)];
        let code = |digest: &str| {
            format!("packs/ruby-3.3-source-0123456789abcdef/extensions/{digest}-k-1.cwasm")
        };
        for digest in &digests {
            cache.add(&code(digest), OLD);
        }
        fs::write(pack.join("young"), "").unwrap();
        mark_extensions(&pack, &HashSet::from([digests[0].clone()]));
        assert_eq!(cache.prune(false), [code(&digests[1])]);
        assert!(
            prune(&cache.0.path().join("absent"), UNUSED, false)
                .unwrap()
                .is_empty()
        );
    }
}
