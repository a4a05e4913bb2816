//! Names of packs, and the languages that a machine has packs for.

use std::io;
use std::path::{Path, PathBuf};

use super::installed::{self, PackStage};
use super::profile::LanguageProfile;
use super::series::{LanguageSeries, compare};
use crate::manifest::PackDir;
use crate::ruby::{self, Edition, Series};

/// A pack, prepared or not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PackKey {
    /// A pack of Ruby, which this program prepares when it is needed.
    Ruby(Edition),
    /// A pack that was built or imported.
    Installed {
        /// The language and the series.
        series: LanguageSeries,
        /// Digest of the pack.
        digest: String,
    },
}

impl PackKey {
    /// Returns the digest of the pack.
    pub fn digest(&self) -> String {
        match self {
            Self::Ruby(edition) => ruby::digest(*edition),
            Self::Installed { digest, .. } => digest.clone(),
        }
    }

    /// Returns the directory of the pack below `cache`, whether it is there or not.
    pub fn path(&self, cache: &Path) -> PathBuf {
        match self {
            Self::Ruby(edition) => ruby::pack_path(*edition, cache),
            Self::Installed { series, digest } => installed::place(cache, series, digest),
        }
    }

    /// Returns the language and the series.
    pub fn series(&self) -> LanguageSeries {
        match self {
            Self::Ruby(edition) => edition.series.into(),
            Self::Installed { series, .. } => series.clone(),
        }
    }
}

/// Returns the pack with which new images of a series are made; `None` if the machine has none.
///
/// # Errors
///
/// The record of the series cannot be read, or is damaged.
pub fn current(series: &LanguageSeries, cache: &Path) -> io::Result<Option<PackKey>> {
    if let Some(series) = series.ruby() {
        return Ok(Some(PackKey::Ruby(ruby::usable(series, cache))));
    }
    let record = installed::record(cache, series, PackStage::Installed)?;
    Ok(record.map(|record| PackKey::Installed {
        series: series.clone(),
        digest: record.digest,
    }))
}

/// Returns the packs that images of a series may have been made with, the current one first.
pub fn candidates(series: &LanguageSeries, cache: &Path) -> Vec<PackKey> {
    let mut keys: Vec<PackKey> = current(series, cache).ok().flatten().into_iter().collect();
    match series.ruby() {
        Some(series) => keys.push(PackKey::Ruby(series.quickest())),
        None => keys.extend(installed::digests(cache, series).into_iter().map(|digest| {
            PackKey::Installed {
                series: series.clone(),
                digest,
            }
        })),
    }
    keys
}

/// A language that the machine has packs for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownLanguage {
    /// The name, such as `lua`.
    pub language: String,
    /// The profile in the pack of the newest series.
    pub profile: LanguageProfile,
    /// The series, newest first.
    pub series: Vec<String>,
}

/// Returns the languages that the machine has packs for: Ruby, and those that were installed.
///
/// # Errors
///
/// The record of a pack cannot be read, or is damaged.
pub fn known(cache: &Path) -> io::Result<Vec<KnownLanguage>> {
    let mut all = vec![KnownLanguage {
        language: ruby::LANGUAGE.to_owned(),
        profile: ruby::profile().clone(),
        series: Series::ALL
            .iter()
            .rev()
            .map(|series| series.as_str().to_owned())
            .collect(),
    }];
    let mut records = installed::records(cache, PackStage::Installed)?;
    records.sort_by(|(one, _), (other, _)| {
        let by_name = one.language().cmp(other.language());
        by_name.then_with(|| compare(other.series(), one.series()))
    });
    for (series, record) in records {
        let pack = match PackDir::open(&installed::place(cache, &series, &record.digest)) {
            Ok(pack) => pack,
            Err(error) => {
                tracing::warn!(%series, %error, "an installed pack cannot be opened");
                continue;
            }
        };
        match all.last_mut() {
            Some(known) if known.language == series.language() => {
                known.series.push(series.series().to_owned());
            }
            _ => all.push(KnownLanguage {
                language: series.language().to_owned(),
                profile: pack.manifest().profile().clone(),
                series: vec![series.series().to_owned()],
            }),
        }
    }
    Ok(all)
}
