//! Static libraries for native extensions, built from source with the toolchain.
//!
//! [`prepare`] builds the libraries that are asked for and those that they need. Each library is kept in the cache by itself,
//! under the digest of all of its inputs, so that a new library or a changed recipe builds no other one again. A sysroot is a
//! directory of hard links to the files of its libraries.

mod build;
mod error;
mod libraries;
mod tree;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

pub use error::SysrootError;
pub(crate) use libraries::needed_archives;
pub use libraries::{LIBRARIES, SysrootLibrary, library_of};

use crate::cache_usage;
use crate::download;
use crate::mri::BuildProgress;
use crate::script::{self, MissingTools};
use crate::toolchain;
use build::SysrootBuild;

/// Programs that all recipes need, with their Debian packages.
const TOOLS: [(&str, &str); 8] = [
    ("apt-get", "apt"),
    ("python3", "python3"),
    ("make", "make"),
    ("perl", "perl"),
    ("patch", "patch"),
    ("tar", "tar"),
    ("xz", "xz-utils"),
    ("bash", "bash"),
];

/// A directory of headers, static libraries and descriptions for `pkg-config`. It does not change any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sysroot {
    directory: PathBuf,
}

impl Sysroot {
    /// Returns the directory that contains `usr`.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

/// Returns the digest of all inputs of the libraries with these names, and of those that they need. Unknown names do not count.
pub fn digest(wanted: &[&str]) -> String {
    let wanted: Vec<_> = wanted
        .iter()
        .filter_map(|name| libraries::find(name))
        .collect();
    digest_of(&libraries::closure(&wanted))
}

/// Returns the directories of all libraries below `cache`, whether they are there or not.
pub(crate) fn places(cache: &Path) -> Vec<PathBuf> {
    let parts = cache.join("sysroot");
    let all = LIBRARIES.iter();
    all.map(|library| build::place(&parts, library)).collect()
}

fn digest_of(libraries: &[&'static SysrootLibrary]) -> String {
    let mut hasher = blake3::Hasher::new();
    for library in libraries {
        hasher.update(build::digest(library).as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// Builds libraries below `cache` unless they are there, and returns a sysroot that has them and all that they need.
///
/// The names are those of [`LIBRARIES`]; [`library_of`] finds them by package or archive. Processes that build the same
/// library at the same time wait for the first one. Libraries that do not need each other are built in parallel, by programs that
/// inherit the caller's priority.
///
/// # Errors
///
/// Returns [`SysrootError`] if a name is unknown, a tool is missing, or if a download or a recipe fails.
pub fn prepare(
    cache: &Path,
    wanted: &[&str],
    progress: &mut (dyn FnMut(BuildProgress) + Send),
) -> Result<Sysroot, SysrootError> {
    let find = |name: &&str| {
        libraries::find(name).ok_or_else(|| SysrootError::Unknown((*name).to_owned()))
    };
    let wanted = wanted.iter().map(find).collect::<Result<Vec<_>, _>>()?;
    let all = libraries::closure(&wanted);
    let digest = digest_of(&all);
    let directory = cache.join(format!("sysroot-{}", &digest[..16]));
    let sysroot = Sysroot {
        directory: directory.clone(),
    };
    if directory.exists() {
        cache_usage::mark_used(&directory);
        return Ok(sysroot);
    }
    let parts = cache.join("sysroot");
    fs::create_dir_all(&parts).map_err(|source| SysrootError::io(&parts, source))?;
    build_missing(cache, &parts, &all, progress)?;
    let lock = parts.join(format!("{digest}.lock"));
    let _lock = lock_file(&lock)?;
    if !directory.exists() {
        let work = parts.join(format!("{digest}.work"));
        let at = |source| SysrootError::io(&work, source);
        let _ = fs::remove_dir_all(&work);
        fs::create_dir_all(work.join("usr")).map_err(at)?;
        for library in &all {
            tree::link(&build::place(&parts, library), &work).map_err(at)?;
        }
        fs::rename(&work, &directory).map_err(|source| SysrootError::io(&directory, source))?;
    }
    let _ = fs::remove_file(&lock);
    Ok(sysroot)
}

/// Builds the libraries that are not kept.
fn build_missing(
    cache: &Path,
    parts: &Path,
    all: &[&'static SysrootLibrary],
    progress: &mut (dyn FnMut(BuildProgress) + Send),
) -> Result<(), SysrootError> {
    let missing: Vec<&'static SysrootLibrary> = all
        .iter()
        .copied()
        .filter(|library| !build::place(parts, library).exists())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut tools = TOOLS.to_vec();
    tools.extend(missing.iter().flat_map(|library| library.tools));
    if let Some(MissingTools { programs, packages }) = script::check_tools(&tools)? {
        return Err(SysrootError::Tools(programs, packages));
    }
    let archives: Vec<_> = missing
        .iter()
        .flat_map(|library| library.sources.archives())
        .collect();
    let total = 1 + archives.len() + missing.len();
    let mut done = 0;
    let mut report = |activity: &str, done: usize| {
        progress(BuildProgress {
            activity: activity.to_owned(),
            done,
            total,
        });
    };
    let toolchain = toolchain::install(cache, &mut |activity| report(activity, 0))?;
    done += 1;
    let downloads = cache.join("downloads");
    let mut mirror = None;
    for archive in archives {
        report(&format!("downloading {}", archive.name()), done);
        download::archive(&downloads, archive, &mut mirror)?;
        done += 1;
    }
    SysrootBuild {
        toolchain: &toolchain,
        downloads: &downloads,
        parts,
    }
    .build(&missing, &mut |activity, built| {
        report(activity, done + built);
    })
}

/// Waits until no other process holds the lock.
fn lock_file(path: &Path) -> Result<File, SysrootError> {
    File::create(path)
        .and_then(|file| file.lock().map(|()| file))
        .map_err(|source| SysrootError::io(path, source))
}
