//! Building MRI for WebAssembly from its source, as `sdk/ruby/mri/README.md` describes it.
//!
//! The result is kept below the cache under the digest of everything that it is made from, so it is built once a machine.
//! A build that is interrupted goes on where it was; a step that fails names itself and its log.

mod command;
mod recipe;
mod sources;
mod steps;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

pub use recipe::{LinkedGem, linked_gems};

use crate::archive::{ArchiveError, Mode, Writer};

/// The linked module, in the directory of a build.
pub const MODULE: &str = "ruby.wasm";
/// The standard library, in the directory of a build.
pub const LIBRARY: &str = "library.tar";

/// A build that did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum MriError {
    /// Programs are missing.
    #[error("building Ruby takes programs that are not installed: {}\nOn Debian: apt-get install {}", .0.join(", "), .1.join(" "))]
    Tools(Vec<String>, Vec<String>),
    /// No compiler for this machine.
    #[error(
        "the compiler is not to be had for {0} processors: build on another machine, and bring the pack here with `corundum pack export` and `pack import`"
    )]
    Machine(&'static str),
    /// Where Debian's archive is.
    #[error(
        "apt knows no mirror of Debian: run `apt-get update`, or set CORUNDUM_DEBIAN_MIRROR to the URL of one"
    )]
    NoMirror,
    /// A program could not be run.
    #[error("{name}: {source}")]
    Start {
        /// Which.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// A source could not be fetched.
    #[error(
        "{name} could not be fetched:\n{reason}\nWhat was fetched before is kept: try again when the registry answers"
    )]
    Fetch {
        /// What.
        name: String,
        /// What the client said.
        reason: String,
    },
    /// A source is not what the recipe was made for.
    #[error(
        "{0} has another digest than the recipe expects: it was not used. Its registry, or something on the way there, gave other bytes"
    )]
    Digest(String),
    /// A step failed.
    #[error("step {step} failed ({reason}). It said last:\n{said}\nAll that it said is in {}; the next attempt goes on with this step", log.display())]
    Step {
        /// Which.
        step: String,
        /// How it ended.
        reason: String,
        /// Its last lines.
        said: String,
        /// Its log.
        log: PathBuf,
    },
    /// The disk.
    #[error("{}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// The library.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

impl MriError {
    fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}

/// How far a build is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
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
    progress: &mut (dyn FnMut(Progress) + Send),
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
        progress(Progress {
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
            progress(Progress {
                doing,
                done: sources::COUNT + steps,
                of,
            });
        },
    )?;
    progress(Progress {
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
    let mut writer = Writer::new(io::BufWriter::new(library));
    for (name, path) in files {
        let bytes = fs::read(&path).map_err(|source| MriError::io(&path, source))?;
        writer.add_file(&name, bytes.as_slice(), bytes.len() as u64, Mode::Plain)?;
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
