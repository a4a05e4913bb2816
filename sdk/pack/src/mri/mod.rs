//! Building MRI for WebAssembly from its source, as `sdk/ruby/mri/README.md` describes it.
//!
//! The result is kept below the cache under the digest of everything that it is made from, so it is built once a machine.
//! A build that is interrupted goes on where it was; a step that fails names itself and its log.

mod command;
mod error;
mod recipe;
mod sources;
mod steps;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

pub use error::MriError;
pub use recipe::{LinkedGem, linked_gems};

use crate::archive::{ArchiveWriter, FileMode};

/// The linked module, in the directory of a build.
pub const MODULE: &str = "ruby.wasm";
/// The standard library, in the directory of a build.
pub const LIBRARY: &str = "library.tar";

/// How far a build is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildProgress {
    /// What is being done.
    pub doing: String,
    /// Parts that are done.
    pub done: usize,
    /// Parts in all.
    pub of: usize,
}

/// Digest of everything that a build is made from, the same on every machine.
pub fn digest() -> String {
    let mut hasher = blake3::Hasher::new();
    sources::hash(&mut hasher);
    recipe::hash(&mut hasher);
    hasher.finalize().to_hex().to_string()
}

/// Builds MRI below `cache`, unless that has been done, and returns the directory that holds [`MODULE`] and [`LIBRARY`].
/// The caller keeps others from building at the same time.
///
/// # Errors
///
/// [`MriError`]. What was done so far is kept for the next attempt.
pub fn build(
    cache: &Path,
    progress: &mut (dyn FnMut(BuildProgress) + Send),
) -> Result<PathBuf, MriError> {
    let builds = cache.join("mri");
    let place = builds.join(&digest()[..16]);
    if place.join(MODULE).exists() {
        return Ok(place);
    }
    steps::check_tools()?;
    let work = builds.join(format!("{}.work", &digest()[..16]));
    fs::create_dir_all(&work).map_err(|source| MriError::io(&work, source))?;
    let of = sources::COUNT + recipe::STEPS.len() + 1;
    let mut done = 0;
    let wheel = sources::fetch(&cache.join("downloads"), |name| {
        progress(BuildProgress {
            doing: format!("fetching {name}"),
            done,
            of,
        });
        done += 1;
    })?;
    steps::run(
        &work,
        &cache.join("downloads"),
        &wheel,
        &mut |doing, steps| {
            progress(BuildProgress {
                doing,
                done: sources::COUNT + steps,
                of,
            });
        },
    )?;
    progress(BuildProgress {
        doing: "packing".to_owned(),
        done: of - 1,
        of,
    });
    pack(&work, &place)?;
    let _ = fs::remove_dir_all(&work);
    Ok(place)
}

/// MRI's source archive, fetched unless it is there: its tests are in it.
///
/// # Errors
///
/// [`MriError`].
pub fn source(cache: &Path) -> Result<PathBuf, MriError> {
    sources::fetch_mri(&cache.join("downloads"))
}

/// Moves the module and the library of a finished build to their place.
fn pack(work: &Path, place: &Path) -> Result<(), MriError> {
    let result = work.join("result");
    let _ = fs::remove_dir_all(&result);
    let at = |source| MriError::io(&result, source);
    fs::create_dir(&result).map_err(at)?;
    let root = work.join("root");
    let mut files = Vec::new();
    collect(&root.join("usr/lib/ruby"), &mut files).map_err(at)?;
    let named = |path: PathBuf| {
        let name = path.strip_prefix(&root).ok()?.to_str()?.to_owned();
        Some((name, path))
    };
    let mut files: Vec<(String, PathBuf)> = files.into_iter().filter_map(named).collect();
    files.sort();
    let library = File::create(result.join(LIBRARY)).map_err(at)?;
    let mut writer = ArchiveWriter::new(io::BufWriter::new(library));
    for (name, path) in files {
        let bytes = fs::read(&path).map_err(|source| MriError::io(&path, source))?;
        writer.add_file(&name, bytes.as_slice(), bytes.len() as u64, FileMode::Plain)?;
    }
    let library = writer.finish()?.output.into_inner();
    library
        .map_err(io::IntoInnerError::into_error)
        .and_then(|file| file.sync_all())
        .map_err(at)?;
    fs::copy(work.join("build/ruby"), result.join(MODULE)).map_err(at)?;
    let _ = fs::remove_dir_all(place);
    fs::rename(&result, place).map_err(|source| MriError::io(place, source))
}

/// The files below a directory that a dyno can use.
fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        // Of gems, neither tests nor documents; of the library, nothing to link with.
        let name = entry.file_name();
        let left_out = ["test", "tests", "doc", "sig", "sample", "ext"]
            .iter()
            .any(|left| name == *left)
            && path.components().any(|part| part.as_os_str() == "gems");
        if kind.is_dir() && !left_out {
            collect(&path, files)?;
        } else if kind.is_file() && path.extension().is_none_or(|extension| extension != "a") {
            files.push(path);
        }
    }
    Ok(())
}
