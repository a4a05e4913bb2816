//! Build of MRI for WebAssembly from its source, as described in `sdk/ruby/mri/README.md`.
//!
//! The cache keeps the result under the digest of all inputs, so that each machine builds it once. An interrupted build
//! resumes with the interrupted step. The error of a failed step names the step and its log. The cache also keeps the
//! libraries, which all series share.

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
pub(crate) use recipe::{hash_headers, unpack_headers};
pub use sources::{MriRelease, release};

use crate::archive::{ArchiveWriter, FileMode};
use steps::BuildPlaces;

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
    /// The profile of the series guides the compilation, if there is one.
    Apply,
    /// The build contains counters, which make it several times slower, and returns them from `Dyno::Native.profile`.
    Record,
}

/// Returns the digest of all inputs of the libraries.
fn libraries_digest() -> String {
    let mut hasher = blake3::Hasher::new();
    sources::hash_libraries(&mut hasher);
    recipe::hash_libraries(&mut hasher);
    hasher.finalize().to_hex().to_string()
}

/// Returns the digest of all inputs of a build, which is the same on every machine.
pub fn digest(release: &MriRelease, profile: ProfileUse) -> String {
    let mut hasher = blake3::Hasher::new();
    match profile {
        ProfileUse::Apply => hasher.update(recipe::profile(release.series).unwrap_or_default()),
        ProfileUse::Record => hasher.update(b"record"),
    };
    hasher.update(&COLLECTION.to_le_bytes());
    hasher.update(libraries_digest().as_bytes());
    sources::hash_release(release, &mut hasher);
    recipe::hash_release(release.series, &mut hasher);
    hasher.finalize().to_hex().to_string()
}

/// Returns the source and the compiler that a profile's counts belong to.
pub fn profile_origin(release: &MriRelease) -> String {
    sources::profile_origin(release)
}

/// Returns the directories of all builds below `cache`, whether they are there or not.
pub(crate) fn places(cache: &Path) -> Vec<PathBuf> {
    let builds = cache.join("mri");
    let releases = sources::RELEASES.iter();
    let builds_of = releases.map(|release| digest(release, ProfileUse::Apply)[..16].to_owned());
    let names = builds_of.flat_map(|name| [format!("{name}.work"), name]);
    let libraries = format!("libraries-{}", &libraries_digest()[..16]);
    names
        .chain([libraries])
        .map(|name| builds.join(name))
        .collect()
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
    release: &MriRelease,
    profile: ProfileUse,
    progress: &mut (dyn FnMut(BuildProgress) + Send),
) -> Result<PathBuf, MriError> {
    let builds = cache.join("mri");
    let digest = digest(release, profile);
    let place = builds.join(&digest[..16]);
    if place.join(MODULE).exists() {
        return Ok(place);
    }
    steps::check_tools()?;
    let libraries = builds.join(format!("libraries-{}", &libraries_digest()[..16]));
    let work = builds.join(format!("{}.work", &digest[..16]));
    for directory in [&libraries, &work] {
        fs::create_dir_all(directory).map_err(|source| MriError::io(directory, source))?;
    }
    let total = sources::COUNT + recipe::STEPS + 1;
    let mut done = 0;
    let downloads = cache.join("downloads");
    let wheel = sources::fetch(&downloads, release, |name| {
        progress(BuildProgress {
            activity: format!("downloading {name}"),
            done,
            total,
        });
        done += 1;
    })?;
    let places = BuildPlaces {
        libraries: &libraries,
        work: &work,
        sources: &downloads,
        wheel: &wheel,
    };
    steps::run(&places, release, profile, &mut |activity, steps| {
        progress(BuildProgress {
            activity,
            done: sources::COUNT + steps,
            total,
        });
    })?;
    progress(BuildProgress {
        activity: "packing".to_owned(),
        done: total - 1,
        total,
    });
    pack(&work, &place)?;
    let _ = fs::remove_dir_all(&work);
    steps::trim(&libraries);
    Ok(place)
}

/// Returns the path of MRI's source archive, which includes MRI's tests; downloads it unless it is there.
///
/// # Errors
///
/// Returns [`MriError`] if the download fails.
pub fn fetch_source(cache: &Path, release: &MriRelease) -> Result<PathBuf, MriError> {
    sources::fetch_mri(&cache.join("downloads"), release)
}

/// Moves the module and the library of a finished build to `place`.
fn pack(work: &Path, place: &Path) -> Result<(), MriError> {
    let result = work.join("result");
    let _ = fs::remove_dir_all(&result);
    let at = |source| MriError::io(&result, source);
    fs::create_dir(&result).map_err(at)?;
    let root = work.join("root");
    let mut files = Vec::new();
    for part in ["usr/include", "usr/lib/ruby", "usr/lib/ssl", "etc/ssl"] {
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
    fn profiles_belong_to_the_compiler_and_the_source() {
        let mut found = 0;
        for series in ["3.3", "3.4"] {
            let Some(profile) = recipe::profile(series) else {
                continue;
            };
            let profile = MriProfile::read(profile).unwrap();
            assert_eq!(
                profile.origin(),
                profile_origin(release(series).unwrap()),
                "run script/ruby-profile, and commit the profile that it writes"
            );
            assert!(profile.functions() > 3000);
            found += 1;
        }
        assert!(found > 0);
    }
}
