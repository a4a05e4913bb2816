//! Build of MRI for WebAssembly from its source, as described in `sdk/ruby/mri/README.md`.
//!
//! The cache keeps the result under the digest of all inputs, so that each machine builds it once. An interrupted build
//! resumes with the interrupted step. The error of a failed step names the step and its log.

mod command;
mod error;
mod profile;
mod recipe;
mod sources;
mod steps;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

pub use error::MriError;
pub use profile::{MriProfile, ProfileError};
pub use recipe::{LinkedGem, linked_gems};

use crate::archive::{ArchiveWriter, FileMode};

/// Name of the linked module in a build's directory.
pub const MODULE: &str = "ruby.wasm";
/// Name of the standard library's archive in a build's directory.
pub const LIBRARY: &str = "library.tar";

/// Revision of the choice of files in [`LIBRARY`].
const COLLECTION: u32 = 2;

/// Progress of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildProgress {
    /// Running steps, for display.
    pub activity: String,
    /// Number of finished parts.
    pub done: usize,
    /// Number of all parts.
    pub total: usize,
}

/// Relation of a build to the profile of training programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProfileUse {
    /// The profile guides the compilation.
    Apply,
    /// The build contains counters, which make it several times slower, and returns them from `Dyno::Native.profile`.
    Record,
}

/// Returns the digest of all inputs of a build, which is the same on every machine.
pub fn digest(profile: ProfileUse) -> String {
    let mut hasher = blake3::Hasher::new();
    match profile {
        ProfileUse::Apply => hasher.update(recipe::PROFILE),
        ProfileUse::Record => hasher.update(b"record"),
    };
    hasher.update(&COLLECTION.to_le_bytes());
    sources::hash(&mut hasher);
    recipe::hash(&mut hasher);
    hasher.finalize().to_hex().to_string()
}

/// Returns the source and the compiler that a profile's counts belong to.
pub fn profile_origin() -> String {
    sources::profile_origin()
}

/// Builds MRI below `cache` unless it is there, and returns the directory that holds [`MODULE`] and [`LIBRARY`].
///
/// The caller must prevent simultaneous builds.
///
/// # Errors
///
/// Returns [`MriError`] if a tool is missing, or if a download or a step fails. Finished steps are kept for the next
/// attempt.
pub fn build(
    cache: &Path,
    profile: ProfileUse,
    progress: &mut (dyn FnMut(BuildProgress) + Send),
) -> Result<PathBuf, MriError> {
    let builds = cache.join("mri");
    let digest = digest(profile);
    let place = builds.join(&digest[..16]);
    if place.join(MODULE).exists() {
        return Ok(place);
    }
    steps::check_tools()?;
    let work = builds.join(format!("{}.work", &digest[..16]));
    fs::create_dir_all(&work).map_err(|source| MriError::io(&work, source))?;
    let total = sources::COUNT + recipe::STEPS.len() + 1;
    let mut done = 0;
    let wheel = sources::fetch(&cache.join("downloads"), |name| {
        progress(BuildProgress {
            activity: format!("downloading {name}"),
            done,
            total,
        });
        done += 1;
    })?;
    steps::run(
        &work,
        &cache.join("downloads"),
        &wheel,
        profile,
        &mut |activity, steps| {
            progress(BuildProgress {
                activity,
                done: sources::COUNT + steps,
                total,
            });
        },
    )?;
    progress(BuildProgress {
        activity: "packing".to_owned(),
        done: total - 1,
        total,
    });
    pack(&work, &place)?;
    let _ = fs::remove_dir_all(&work);
    Ok(place)
}

/// Returns the path of MRI's source archive, which includes MRI's tests; downloads it unless it is there.
///
/// # Errors
///
/// Returns [`MriError`] if the download fails.
pub fn fetch_source(cache: &Path) -> Result<PathBuf, MriError> {
    sources::fetch_mri(&cache.join("downloads"))
}

/// Moves the module and the library of a finished build to `place`.
fn pack(work: &Path, place: &Path) -> Result<(), MriError> {
    let result = work.join("result");
    let _ = fs::remove_dir_all(&result);
    let at = |source| MriError::io(&result, source);
    fs::create_dir(&result).map_err(at)?;
    let root = work.join("root");
    let mut files = Vec::new();
    for part in ["usr/lib/ruby", "usr/lib/ssl", "etc/ssl"] {
        collect(&root.join(part), &mut files).map_err(at)?;
    }
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

/// Collects the files below a directory that a dyno can use.
fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        // Skips tests and documentation in the directories of gems, and static libraries. In a gem's library, directories have
        // these names too.
        let name = entry.file_name();
        let in_gem = directory.parent().and_then(Path::file_name) == Some("gems".as_ref());
        let left_out = ["test", "tests", "doc", "sig", "sample", "ext"]
            .iter()
            .any(|left| name == *left);
        let left_out = in_gem && left_out;
        if kind.is_dir() && !left_out {
            collect(&path, files)?;
        } else if kind.is_file() && path.extension().is_none_or(|extension| extension != "a") {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profile_belongs_to_the_compiler_and_the_source() {
        let profile = MriProfile::read(recipe::PROFILE).unwrap();
        assert_eq!(
            profile.origin(),
            profile_origin(),
            "run script/ruby-profile, and commit the profile that it writes"
        );
        assert!(profile.functions() > 3000);
    }
}
