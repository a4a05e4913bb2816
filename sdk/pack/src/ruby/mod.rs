//! Packs of Ruby: their editions, paths and preparation.
//!
//! For every series there is a pack made from an npm package ([`npm`]), which is ready in a minute. For some series
//! there is also a pack built from MRI's source ([`source`]); the build takes some minutes, and the pack runs several
//! times faster.

mod library;
mod npm;
mod prelude;
mod profile;
mod registry;
mod series;
mod source;
mod system;
mod wasi_vfs;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

pub use profile::{LANGUAGE, profile};
pub use registry::NpmError;
pub use series::{Edition, PackOrigin, Series, UnknownSeries};

use crate::archive::ArchiveError;
use crate::extension::{ExtensionError, PackSymbols};
use crate::manifest::{Manifest, Member, PackDir, PackDirError};
use crate::mri::{MriError, ProfileUse};
use crate::preemption::PreemptionError;
use crate::spill::SpillError;
use crate::split::SplitError;
use crate::stack_limit::StackLimitError;
use library::LibraryFile;

/// Revision of the preparation; increment it whenever the same inputs would yield a different pack.
const RECIPE: u32 = 8;

/// Failure to prepare a pack.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The npm package cannot be downloaded or is not the expected one.
    #[error(transparent)]
    Npm(#[from] NpmError),
    /// The build of MRI fails.
    #[error(transparent)]
    Mri(#[from] MriError),
    /// The recipe does not build this series.
    #[error("Ruby {0} cannot be built from source: its pack comes from npm")]
    NoSource(Series),
    /// The module cannot be split into code and image.
    #[error("Ruby module: {0}")]
    Split(#[from] SplitError),
    /// Pointers cannot be spilled to the stack in linear memory.
    #[error("Ruby module: {0}")]
    Spill(#[from] SpillError),
    /// Stack checks cannot be inserted.
    #[error("Ruby module: {0}")]
    StackLimit(#[from] StackLimitError),
    /// The module does not export what extensions need.
    #[error("Ruby module: {0}")]
    Symbols(#[from] ExtensionError),
    /// The standard library is missing.
    #[error("Ruby package: standard library not found")]
    NoStdlib,
    /// The disk fails.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Cause of the failure.
        source: io::Error,
    },
    /// This machine has no time zones.
    #[error("cannot read the time zones in /usr/share/zoneinfo: {0}; install the package tzdata")]
    Zones(#[source] io::Error),
    /// The archive of the root filesystem cannot be written.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The module lacks a function in the list of self-polling functions. The list is at fault.
    #[error(transparent)]
    Preemption(#[from] PreemptionError),
    /// The entry shim is not valid WebAssembly text. This program is at fault.
    #[error("entry shim: {0}")]
    Wat(#[from] wat::Error),
    /// The prepared pack cannot be opened.
    #[error(transparent)]
    Dir(#[from] PackDirError),
}

/// A step of preparing a pack, for the display of progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PrepareStep {
    /// Download of the package.
    Fetch,
    /// A part of MRI's build.
    Build(crate::mri::BuildProgress),
    /// Separation of code and memory, and unpacking of the standard library.
    Split,
    /// Writing of the pack.
    Write,
}

/// Parts of a pack before they are written.
struct PackParts {
    version: String,
    /// Modules in linking order, by name.
    modules: Vec<(String, Vec<u8>)>,
    /// Indices of the first module's functions that poll for the end of their time slice themselves.
    polling: Vec<u32>,
    /// Symbols for extensions, if the pack can load some.
    symbols: Option<PackSymbols>,
    image: Vec<u8>,
    library: Vec<LibraryFile>,
    gems: BTreeMap<String, String>,
    extensions: Vec<String>,
}

/// Returns the path of the pack of `edition` below `cache`, whether the pack exists or not.
pub fn pack_path(edition: Edition, cache: &Path) -> PathBuf {
    let Edition { series, origin } = edition;
    let digest = digest(edition);
    cache
        .join("packs")
        .join(format!("ruby-{series}-{origin}-{}", &digest[..16]))
}

/// Opens the pack of `edition`; returns `None` if it is not prepared or is invalid.
pub fn prepared(edition: Edition, cache: &Path) -> Option<PackDir> {
    PackDir::open(&pack_path(edition, cache)).ok()
}

/// Returns the edition of `series` that can be used soon: the best one if it is prepared, otherwise the quickest one.
///
/// Preparing the best edition may take minutes.
pub fn usable(series: Series, cache: &Path) -> Edition {
    match prepared(series.best(), cache) {
        Some(_) => series.best(),
        None => series.quickest(),
    }
}

/// Prepares the pack of `edition` below `cache` unless it is there.
///
/// Several processes may call it at the same time. If it is interrupted, it leaves no pack that can be opened.
///
/// # Errors
///
/// Returns [`PrepareError`] if a download, the build, a pass or the disk fails.
pub fn prepare(
    edition: Edition,
    cache: &Path,
    mut progress: impl FnMut(PrepareStep) + Send,
) -> Result<PackDir, PrepareError> {
    let path = pack_path(edition, cache);
    let packs = cache.join("packs");
    let io = |source| PrepareError::Io {
        path: packs.clone(),
        source,
    };
    if let Ok(pack) = PackDir::open(&path) {
        return Ok(pack);
    }
    let _lock = lock(&packs, edition.origin)?;
    if let Ok(pack) = PackDir::open(&path) {
        return Ok(pack);
    }
    let work = tempfile::Builder::new()
        .prefix(".preparing-")
        .tempdir_in(&packs)
        .map_err(io)?;
    let parts = match edition.origin {
        PackOrigin::Npm => npm::make(edition, work.path(), &mut progress)?,
        PackOrigin::Source => {
            source::make(edition.series, cache, ProfileUse::Apply, &mut progress)?
        }
    };
    let directory = work.path().join("pack");
    fs::create_dir(&directory).map_err(io)?;
    progress(PrepareStep::Write);
    let manifest = write(edition, parts, &directory)?;
    PackDir::write(&directory, &manifest).map_err(io)?;
    // A damaged pack may exist at this path.
    let _ = fs::remove_dir_all(&path);
    fs::rename(&directory, &path).map_err(io)?;
    Ok(PackDir::open(&path)?)
}

/// Prepares a pack of `series` in `directory` that records a profile.
///
/// # Errors
///
/// Returns [`PrepareError`] if a download, the build, a pass or the disk fails.
pub fn prepare_recording(
    series: Series,
    cache: &Path,
    directory: &Path,
    mut progress: impl FnMut(PrepareStep) + Send,
) -> Result<PackDir, PrepareError> {
    let edition = series.best();
    let _lock = lock(&cache.join("packs"), edition.origin)?;
    let parts = source::make(series, cache, ProfileUse::Record, &mut progress)?;
    progress(PrepareStep::Write);
    let manifest = write(edition, parts, directory)?;
    PackDir::write(directory, &manifest).map_err(|source| PrepareError::Io {
        path: directory.to_owned(),
        source,
    })?;
    Ok(PackDir::open(directory)?)
}

/// Waits until no other process prepares a pack of this origin, and returns the lock.
///
/// Each origin has a lock of its own, because a build must not delay a download.
fn lock(packs: &Path, origin: PackOrigin) -> Result<File, PrepareError> {
    let path = packs.join(format!(".lock-{origin}"));
    let locked = fs::create_dir_all(packs).and_then(|()| {
        let lock = File::create(&path)?;
        lock.lock()?;
        Ok(lock)
    });
    locked.map_err(|source| PrepareError::Io { path, source })
}

/// Returns the digest of all inputs of the pack, which is the same on every machine. Time zones do not count: a pack has
/// those of the machine that prepared it.
pub fn digest(edition: Edition) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hasher
            .update(&(bytes.len() as u64).to_le_bytes())
            .update(bytes);
    };
    part(&RECIPE.to_le_bytes());
    match edition.origin {
        PackOrigin::Npm => npm::inputs(edition.series)
            .into_iter()
            .for_each(|text| part(text.as_bytes())),
        PackOrigin::Source => {
            let release = crate::mri::release(edition.series.as_str());
            let digest = release.map(|release| crate::mri::digest(release, ProfileUse::Apply));
            part(digest.unwrap_or_default().as_bytes());
            part(source::SELF_POLLING.as_bytes());
        }
    }
    for (name, text) in prelude::FILES.iter().chain(system::FILES) {
        part(name.as_bytes());
        part(text.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// Writes the parts into `directory`, and returns the manifest that describes them.
fn write(edition: Edition, parts: PackParts, directory: &Path) -> Result<Manifest, PrepareError> {
    let write = |name: &str, file: &str, bytes: &[u8]| {
        let path = directory.join(file);
        fs::write(&path, bytes).map_err(|source| PrepareError::Io { path, source })?;
        Ok::<_, PrepareError>(Member::of(name, file, bytes))
    };
    let mut modules = Vec::new();
    for (name, wasm) in &parts.modules {
        modules.push(write(name, &format!("{name}.wasm"), wasm)?);
    }
    if let Some(first) = modules.first_mut() {
        first.polling = parts.polling;
    }
    let symbols = parts.symbols.as_ref();
    let symbols = symbols.map(|symbols| write("symbols", "symbols.json", &symbols.to_json()));
    let zones = system::zones().map_err(PrepareError::Zones)?;
    let root = library::root(parts.library, zones, parts.gems.keys())?;
    Ok(Manifest {
        abi: corundum_abi::VERSION,
        language: LANGUAGE.to_owned(),
        version: parts.version,
        series: edition.series.as_str().to_owned(),
        origin: edition.origin.to_string(),
        digest: digest(edition),
        modules,
        symbols: symbols.transpose()?,
        image: write("image", "base.wasm", &parts.image)?,
        root: write("root", "root.tar", &root)?,
        extensions: parts.extensions,
        gems: parts.gems,
        profile: None,
        probe: None,
    })
}
