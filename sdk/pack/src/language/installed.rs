//! The packs that a machine has beside those of Ruby.
//!
//! A pack is a directory below `packs/` in the cache, named by language, series and digest. It does not change any more. Two
//! small files per series name the pack that was built last and the one that nodes use; each is replaced as a whole, so that a
//! node sees the old pack or the new one. Packs that no such file names stay for images that were made with them, until
//! [`crate::pruning`] finds them unused.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::series::LanguageSeries;
use crate::manifest::{Manifest, PackDir, PackDirError};

/// Part of the names of these packs, which tells them from those of Ruby.
const KIND: &str = "-pack-";
/// Bytes of the longest record of a pack.
const MAX_RECORD: u64 = 64 << 10;

/// The stage of a pack on its way to nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackStage {
    /// It was built last, and can be tested and installed.
    Built,
    /// Nodes use it.
    Installed,
}

impl PackStage {
    fn suffix(self) -> &'static str {
        match self {
            Self::Built => ".built.json",
            Self::Installed => ".installed.json",
        }
    }
}

/// The pack of a series at a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackRecord {
    /// Digest of the pack.
    pub digest: String,
    /// True if the pack was installed without having passed the conformance kit.
    #[serde(default)]
    pub untested: bool,
    /// Time of the record in seconds since 1970.
    #[serde(default)]
    pub since: u64,
}

/// Returns the directory of a pack.
pub fn place(cache: &Path, series: &LanguageSeries, digest: &str) -> PathBuf {
    let short = &digest[..digest.len().min(16)];
    let (language, series) = (series.language(), series.series());
    cache
        .join("packs")
        .join(format!("{language}-{series}{KIND}{short}"))
}

/// Tells whether a name in the folder of packs is one of a pack of this kind.
pub(crate) fn is_pack(name: &str) -> bool {
    name.rsplit_once(KIND)
        .is_some_and(|(_, digest)| digest.len() == 16)
}

fn record_path(cache: &Path, series: &LanguageSeries, stage: PackStage) -> PathBuf {
    let name = format!(
        "{}-{}{}",
        series.language(),
        series.series(),
        stage.suffix()
    );
    cache.join("packs").join(name)
}

/// Reads the record of a series, if it has one.
///
/// # Errors
///
/// The file cannot be read, or is damaged.
pub fn record(
    cache: &Path,
    series: &LanguageSeries,
    stage: PackStage,
) -> io::Result<Option<PackRecord>> {
    read_record(&record_path(cache, series, stage))
}

fn read_record(path: &Path) -> io::Result<Option<PackRecord>> {
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() > MAX_RECORD => {
            return Err(named(io::Error::other("larger than a record of a pack")));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(named(error)),
    }
    let record: PackRecord = serde_json::from_slice(&fs::read(path).map_err(named)?)
        .map_err(|error| named(error.into()))?;
    let is_digest =
        record.digest.len() >= 16 && record.digest.bytes().all(|b| b.is_ascii_hexdigit());
    match is_digest {
        true => Ok(Some(record)),
        false => Err(named(io::Error::other("the digest is invalid"))),
    }
}

/// Makes a pack the one of its series at a stage.
///
/// # Errors
///
/// The disk fails; the record before stays.
pub fn set_record(
    cache: &Path,
    series: &LanguageSeries,
    stage: PackStage,
    digest: &str,
    untested: bool,
) -> io::Result<()> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let record = PackRecord {
        digest: digest.to_owned(),
        untested,
        since: since.map_or(0, |since| since.as_secs()),
    };
    let path = record_path(cache, series, stage);
    let folder = cache.join("packs");
    let mut file = tempfile::Builder::new()
        .prefix(".writing-")
        .tempfile_in(&folder)?;
    serde_json::to_writer(&mut file, &record)?;
    file.flush()?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    fs::File::open(folder)?.sync_all()
}

/// Removes the record of a series at a stage. The pack itself stays for images that were made with it.
///
/// # Errors
///
/// The disk fails.
pub fn remove_record(cache: &Path, series: &LanguageSeries, stage: PackStage) -> io::Result<bool> {
    match fs::remove_file(record_path(cache, series, stage)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns the series that have a pack at a stage, with the records.
///
/// # Errors
///
/// A record cannot be read, or is damaged.
pub fn records(cache: &Path, stage: PackStage) -> io::Result<Vec<(LanguageSeries, PackRecord)>> {
    let mut found = Vec::new();
    for name in names(cache)? {
        let Some(series) = name.strip_suffix(stage.suffix()).and_then(parse_series) else {
            continue;
        };
        if let Some(record) = record(cache, &series, stage)? {
            found.push((series, record));
        }
    }
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(found)
}

/// Reads language and series from the beginning of a name.
fn parse_series(name: &str) -> Option<LanguageSeries> {
    let (language, series) = name.split_once('-')?;
    LanguageSeries::new(language, series).ok()
}

fn names(cache: &Path) -> io::Result<Vec<String>> {
    match fs::read_dir(cache.join("packs")) {
        Ok(entries) => entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Returns the digests of all packs of a series that are on this machine.
pub(super) fn digests(cache: &Path, series: &LanguageSeries) -> Vec<String> {
    let start = format!("{}-{}{KIND}", series.language(), series.series());
    let names = names(cache).unwrap_or_default();
    let packs = names.into_iter().filter(|name| name.starts_with(&start));
    packs
        .filter_map(|name| PackDir::open(&cache.join("packs").join(name)).ok())
        .map(|pack| pack.manifest().digest.clone())
        .collect()
}

/// Returns the directories of the packs that a record names.
///
/// # Errors
///
/// A record cannot be read, or is damaged: any pack may be the one that it names.
pub(crate) fn recorded(cache: &Path) -> io::Result<HashSet<PathBuf>> {
    let mut places = HashSet::new();
    for stage in [PackStage::Built, PackStage::Installed] {
        for (series, record) in records(cache, stage)? {
            places.insert(place(cache, &series, &record.digest));
        }
    }
    Ok(places)
}

/// Returns the language and the series of a pack.
///
/// # Errors
///
/// The names in the manifest are invalid, or those of Ruby, whose packs this program makes itself.
pub fn series_of(manifest: &Manifest) -> Result<LanguageSeries, String> {
    let series = LanguageSeries::new(&manifest.language, &manifest.series)
        .map_err(|error| error.to_string())?;
    match series.language() == crate::ruby::LANGUAGE {
        true => Err("the language ruby has packs of its own".to_owned()),
        false => Ok(series),
    }
}

/// Failure to keep a pack.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The pack is invalid.
    #[error(transparent)]
    Dir(#[from] PackDirError),
    /// The names in the manifest are invalid.
    #[error("invalid pack: {0}")]
    Name(String),
    /// The disk fails.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Moves a written pack from `directory`, which is in the folder of packs, to its place, and makes it the one that was built
/// last.
///
/// # Errors
///
/// [`KeepError`].
pub fn keep(cache: &Path, directory: &Path) -> Result<PackDir, KeepError> {
    let manifest = PackDir::open(directory)?.manifest().clone();
    let series = series_of(&manifest).map_err(KeepError::Name)?;
    if manifest.digest.len() < 16 || !manifest.digest.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(KeepError::Name("the digest is not hexadecimal".to_owned()));
    }
    let place = place(cache, &series, &manifest.digest);
    let same = PackDir::open(&place).is_ok_and(|pack| *pack.manifest() == manifest);
    if !same {
        // A damaged pack may be in the way.
        let _ = fs::remove_dir_all(&place);
        for entry in fs::read_dir(directory)? {
            fs::File::open(entry?.path())?.sync_all()?;
        }
        fs::rename(directory, &place)?;
    }
    set_record(cache, &series, PackStage::Built, &manifest.digest, true)?;
    Ok(PackDir::open(&place)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_replaced_listed_and_removed() {
        let cache = tempfile::tempdir().unwrap();
        let cache = cache.path();
        assert!(records(cache, PackStage::Installed).unwrap().is_empty());
        fs::create_dir(cache.join("packs")).unwrap();
        let lua = LanguageSeries::new("lua", "5.4").unwrap();
        let (one, two) = ("0123456789abcdef0".repeat(2), "f".repeat(64));
        set_record(cache, &lua, PackStage::Installed, &one, true).unwrap();
        set_record(cache, &lua, PackStage::Installed, &two, false).unwrap();
        set_record(cache, &lua, PackStage::Built, &one, true).unwrap();
        fs::write(cache.join("packs/notes.installed.json"), "{").unwrap();
        let found = records(cache, PackStage::Installed).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((&found[0].0, &found[0].1.digest), (&lua, &two));
        assert_eq!(recorded(cache).unwrap().len(), 2);
        assert!(remove_record(cache, &lua, PackStage::Installed).unwrap());
        assert!(!remove_record(cache, &lua, PackStage::Installed).unwrap());
        assert_eq!(recorded(cache).unwrap().len(), 1);
    }

    #[test]
    fn damaged_record_is_an_error_and_not_an_absent_pack() {
        let cache = tempfile::tempdir().unwrap();
        let cache = cache.path();
        fs::create_dir(cache.join("packs")).unwrap();
        let lua = LanguageSeries::new("lua", "5.4").unwrap();
        for text in ["{", r#"{"digest":"../../x"}"#] {
            fs::write(record_path(cache, &lua, PackStage::Installed), text).unwrap();
            assert!(record(cache, &lua, PackStage::Installed).is_err(), "{text}");
            assert!(recorded(cache).is_err(), "{text}");
        }
    }
}
