//! The packs of Ruby: what they are called, and how each is prepared.
//!
//! Every series comes from npm ([`npm`]), ready in a minute. One is also built from MRI's source ([`source`]), which takes
//! some minutes and runs several times faster.

mod library;
mod npm;
mod prelude;
mod registry;
mod series;
mod source;
mod wasi_vfs;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

pub use registry::NpmError;
pub use series::{Edition, PackOrigin, Series, UnknownSeries};

use crate::archive::ArchiveError;
use crate::manifest::{Manifest, Member, PackDir, PackDirError};
use crate::mri::MriError;
use crate::preemption::PreemptionError;
use crate::spill::SpillError;
use crate::split::SplitError;
use library::LibraryFile;

/// Changed whenever the same inputs would make another pack.
const RECIPE: u32 = 4;

/// A pack that cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The npm package.
    #[error(transparent)]
    Npm(#[from] NpmError),
    /// The build of MRI.
    #[error(transparent)]
    Mri(#[from] MriError),
    /// The module is not as expected.
    #[error("the Ruby module: {0}")]
    Split(#[from] SplitError),
    /// The collector's roots cannot be made visible.
    #[error("the Ruby module: {0}")]
    Spill(#[from] SpillError),
    /// The standard library is not where it should be.
    #[error("no standard library was found in the package")]
    NoStdlib,
    /// The disk.
    #[error("{}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// The root filesystem cannot be written.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A function that is to be left alone is not there: a mistake of this program.
    #[error(transparent)]
    Preemption(#[from] PreemptionError),
    /// The shim does not assemble: a mistake of this program.
    #[error("the entry shim: {0}")]
    Wat(#[from] wat::Error),
    /// What was written cannot be opened.
    #[error(transparent)]
    Dir(#[from] PackDirError),
}

/// A step of preparing a pack, for whoever shows progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PrepareStep {
    /// The package is being fetched.
    Fetch,
    /// A part of MRI's build has begun.
    Build(crate::mri::BuildProgress),
    /// Code and memory are being parted, the standard library is being unpacked.
    Split,
    /// The result is being written.
    Write,
}

/// What an edition's own way of making it yields.
struct PackParts {
    version: String,
    /// Modules in linking order, by name.
    modules: Vec<(String, Vec<u8>)>,
    /// Functions of the first module that ask for the end of their time slice by themselves.
    polling: Vec<u32>,
    image: Vec<u8>,
    library: Vec<LibraryFile>,
    gems: BTreeMap<String, String>,
    extensions: Vec<String>,
}

/// Where the pack of `edition` is or will be, below `cache`.
pub fn pack_path(edition: Edition, cache: &Path) -> PathBuf {
    let Edition { series, origin } = edition;
    let digest = digest(edition);
    cache
        .join("packs")
        .join(format!("ruby-{series}-{origin}-{}", &digest[..16]))
}

/// The pack of `edition` if it has been prepared.
pub fn prepared(edition: Edition, cache: &Path) -> Option<PackDir> {
    PackDir::open(&pack_path(edition, cache)).ok()
}

/// The edition of `series` that can be used soon: the best one once it is there, since it takes minutes to make.
pub fn usable(series: Series, cache: &Path) -> Edition {
    match prepared(series.best(), cache) {
        Some(_) => series.best(),
        None => series.quickest(),
    }
}

/// Prepares the pack of `edition` below `cache`, unless it is there. Other processes may do the same meanwhile;
/// interrupted, it leaves nothing that opens.
///
/// # Errors
///
/// [`PrepareError`].
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
    fs::create_dir_all(&packs).map_err(io)?;
    // One at a time: the others find it done. A build must not keep a fetch waiting.
    let lock = packs.join(format!(".lock-{}", edition.origin));
    let lock = File::create(lock).map_err(io)?;
    lock.lock().map_err(io)?;
    if let Ok(pack) = PackDir::open(&path) {
        return Ok(pack);
    }
    let work = tempfile::Builder::new()
        .prefix(".preparing-")
        .tempdir_in(&packs)
        .map_err(io)?;
    let parts = match edition.origin {
        PackOrigin::Npm => npm::make(edition, work.path(), &mut progress)?,
        PackOrigin::Source => source::make(cache, &mut progress)?,
    };
    let directory = work.path().join("pack");
    fs::create_dir(&directory).map_err(io)?;
    progress(PrepareStep::Write);
    let manifest = write(edition, parts, &directory)?;
    PackDir::write(&directory, &manifest).map_err(io)?;
    // A damaged one may lie there.
    let _ = fs::remove_dir_all(&path);
    fs::rename(&directory, &path).map_err(io)?;
    Ok(PackDir::open(&path)?)
}

/// Digest of all that the pack is made from: the same on every machine.
pub fn digest(edition: Edition) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hasher
            .update(&(bytes.len() as u64).to_le_bytes())
            .update(bytes);
    };
    part(&RECIPE.to_le_bytes());
    match edition.origin {
        PackOrigin::Npm => npm::ingredients(edition.series)
            .into_iter()
            .for_each(|text| part(text.as_bytes())),
        PackOrigin::Source => {
            part(crate::mri::digest().as_bytes());
            part(source::POLLING.as_bytes());
        }
    }
    for (name, text) in prelude::FILES {
        part(name.as_bytes());
        part(text.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

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
    let root = library::root(parts.library)?;
    Ok(Manifest {
        abi: corundum_abi::VERSION,
        language: "ruby".to_owned(),
        version: parts.version,
        series: edition.series.as_str().to_owned(),
        origin: edition.origin.to_string(),
        digest: digest(edition),
        modules,
        image: write("image", "base.wasm", &parts.image)?,
        root: write("root", "root.tar", &root)?,
        extensions: parts.extensions,
        gems: parts.gems,
    })
}
