//! Directories in a backup: the volumes of apps, the files of add-ons' servers, and the backups of their databases.
//!
//! Each becomes one compressed tar file, since names, links and times of a volume are what a program made of them. A node that
//! runs copies volumes as of one moment for the backup's process ([`volume_copies`](super::volume_copies)). Redis appends to
//! its files: what its manifest names is copied until the manifest has stayed the same.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use corundum_abi::names::AppName;
use corundum_host::volume::snapshot::copy_unused;
use uuid::Uuid;

use super::snapshot::{SnapshotError, at, create};
use super::volume_copies;
use crate::data_dir::DataDir;

/// The end of the names of directories in an archive.
const END: &str = ".tar.zst";

/// The folders of a data directory whose directories a backup contains.
pub(super) const FOLDERS: [&str; 3] = ["volumes", "services", "addon-backups"];

/// Attempts to copy the files of a Redis that rewrites them.
const ATTEMPTS: usize = 10;

/// Adds the directories of apps and add-ons to a backup that is staged in `to`. Returns the problems of those that cannot be
/// copied, which do not keep the others out.
pub(super) fn take(
    data: &Path,
    to: &Path,
    apps: &[AppName],
    addons: &[Uuid],
) -> Result<Vec<String>, SnapshotError> {
    let mut problems = Vec::new();
    let is_running = DataDir::is_in_use(data);
    for folder in FOLDERS {
        create(&to.join(folder))?;
    }
    for app in apps {
        let name = app.to_string();
        let from = data.join("volumes").join(&name);
        if !at(&from, from.try_exists())? {
            continue;
        }
        let copy = to.join("volumes").join(&name);
        create(&copy)?;
        let copied = match is_running {
            true => volume_copies::request(data, app),
            false => copy_unused(&from, &copy),
        };
        let packed = copied.and_then(|()| pack(&copy));
        if let Err(error) = packed {
            problems.push(format!("the volume of {app} is not in the backup: {error}"));
            let _ = fs::remove_file(packed_name(&copy));
        }
        at(&copy, fs::remove_dir_all(&copy))?;
    }
    for addon in addons {
        let name = addon.simple().to_string();
        for (folder, copy) in [
            (
                "services",
                copy_server as fn(&Path, &Path) -> io::Result<()>,
            ),
            ("addon-backups", copy_backups),
        ] {
            let from = data.join(folder).join(&name);
            if !at(&from, from.try_exists())? {
                continue;
            }
            let staged = to.join(folder).join(&name);
            create(&staged)?;
            let packed = copy(&from, &staged).and_then(|()| pack(&staged));
            if let Err(error) = packed {
                problems.push(format!("{folder}/{name} is not in the backup: {error}"));
                let _ = fs::remove_file(packed_name(&staged));
            }
            at(&staged, fs::remove_dir_all(&staged))?;
        }
    }
    Ok(problems)
}

/// Extracts the directories of a restored backup in `stage`.
pub(super) fn extract(stage: &Path) -> io::Result<()> {
    for folder in FOLDERS {
        let folder = stage.join(folder);
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let packed = entry?.path();
            let name = packed.file_name().unwrap_or_default().to_string_lossy();
            let Some(name) = name.strip_suffix(END) else {
                return Err(io::Error::other(format!("{name} is unexpected")));
            };
            let to = folder.join(name);
            private_directory(&to)?;
            let mut tar = tar::Archive::new(zstd::Decoder::new(File::open(&packed)?)?);
            tar.set_preserve_permissions(true);
            tar.set_preserve_mtime(true);
            tar.set_overwrite(false);
            // It writes nothing outside of the directory, whatever links there are.
            tar.unpack(&to)?;
            fs::remove_file(&packed)?;
        }
    }
    Ok(())
}

/// Returns whether an archive may have an entry of the name: a directory of one of the folders.
pub(super) fn is_entry(name: &str) -> bool {
    let Some((folder, file)) = name.split_once('/') else {
        return false;
    };
    let stem = file.strip_suffix(END).unwrap_or_default();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    FOLDERS.contains(&folder) && !stem.is_empty() && stem.chars().all(plain)
}

/// Copies the files of Redis, which need not be copied at one moment, and those of other servers, which do not change.
fn copy_server(from: &Path, to: &Path) -> io::Result<()> {
    let log = from.join("appendonlydir");
    if !log.try_exists()? {
        return Ok(());
    }
    let to = to.join("appendonlydir");
    let manifest = || fs::read(log.join("appendonly.aof.manifest"));
    for _ in 0..ATTEMPTS {
        let _ = fs::remove_dir_all(&to);
        private_directory(&to)?;
        let before = manifest()?;
        let copied = copy_logs(&log, &to, &before);
        if copied.is_ok() && manifest()? == before {
            return fs::write(to.join("appendonly.aof.manifest"), before);
        }
    }
    Err(io::Error::other(
        "Redis rewrites its files all the time: try again",
    ))
}

/// Copies the files that a manifest of Redis names, as in `file appendonly.aof.1.base.rdb seq 1 type b`.
fn copy_logs(from: &Path, to: &Path, manifest: &[u8]) -> io::Result<()> {
    let text = String::from_utf8_lossy(manifest);
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let name = words
            .by_ref()
            .find(|word| *word == "file")
            .and(words.next());
        let Some(name) = name.filter(|name| !name.contains('/') && !name.starts_with('.')) else {
            continue;
        };
        fs::copy(from.join(name), to.join(name))?;
    }
    Ok(())
}

/// Links finished backups, which do not change.
fn copy_backups(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.path().extension().is_none_or(|end| end != "new") {
            fs::hard_link(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// Makes the compressed tar file of a directory beside it.
fn pack(directory: &Path) -> io::Result<()> {
    let file = File::create_new(packed_name(directory))?;
    let mut tar = tar::Builder::new(zstd::Encoder::new(file, 1)?);
    tar.follow_symlinks(false);
    tar.append_dir_all(".", directory)?;
    tar.into_inner()?.finish()?;
    Ok(())
}

fn packed_name(directory: &Path) -> PathBuf {
    let mut name = directory.as_os_str().to_owned();
    name.push(END);
    name.into()
}

fn private_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn directory_comes_back_with_its_links_and_names() {
        let directory = tempfile::tempdir().unwrap();
        let stage = directory.path();
        let volume = stage.join("volumes/one");
        fs::create_dir_all(volume.join("empty")).unwrap();
        let long = "x".repeat(200);
        fs::write(volume.join(&long), "long").unwrap();
        symlink("/etc/hostname", volume.join("link")).unwrap();
        pack(&volume).unwrap();
        fs::remove_dir_all(&volume).unwrap();
        extract(stage).unwrap();
        assert_eq!(fs::read_to_string(volume.join(&long)).unwrap(), "long");
        assert!(volume.join("empty").is_dir());
        assert_eq!(
            fs::read_link(volume.join("link")).unwrap(),
            Path::new("/etc/hostname")
        );
        assert_eq!(fs::read_dir(stage.join("volumes")).unwrap().count(), 1);
    }

    #[test]
    fn entries_of_an_archive_are_directories_of_the_folders() {
        assert!(is_entry("volumes/one-app.tar.zst"));
        for name in [
            "volumes/one-app",
            "volumes/.tar.zst",
            "volumes/a/b.tar.zst",
            "volumes/...tar.zst",
            "slugs/a.tar.zst",
            "volumes.tar.zst",
        ] {
            assert!(!is_entry(name), "{name}");
        }
    }

    #[test]
    fn files_that_the_manifest_of_redis_names_are_copied() {
        let directory = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| directory.path().join(name));
        let log = from.join("appendonlydir");
        fs::create_dir_all(&log).unwrap();
        let manifest = "file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n";
        fs::write(log.join("appendonly.aof.manifest"), manifest).unwrap();
        for name in [
            "appendonly.aof.1.base.rdb",
            "appendonly.aof.1.incr.aof",
            "old",
        ] {
            fs::write(log.join(name), name).unwrap();
        }
        fs::write(from.join("redis.conf"), "secret").unwrap();
        copy_server(&from, &to).unwrap();
        let names = fs::read_dir(to.join("appendonlydir")).unwrap().count();
        assert_eq!(names, 3);
        assert!(!to.join("redis.conf").exists());
    }
}
