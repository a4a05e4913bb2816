//! The name of a pack on the command line: `ruby`, `ruby-3.4`, `lua` or `lua-5.4`.

use std::path::Path;

use anyhow::{Context as _, bail};
use corundum_pack::PackDir;
use corundum_pack::language::installed::{self, PackRecord, PackStage};
use corundum_pack::language::{LanguageSeries, PackKey};
use corundum_pack::ruby::{self, Edition, PackOrigin, Series};

/// A pack that a command names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PackName {
    /// A pack of Ruby that is built from source.
    Ruby(Series),
    /// A pack that was built from a `pack.toml`, or imported.
    Other(LanguageSeries),
}

impl PackName {
    /// Finds the pack that a text names. A language without a series is the one that was built last, otherwise the newest
    /// installed one.
    pub(super) fn find(text: &str, cache: &Path) -> anyhow::Result<Self> {
        if let Some(series) = ruby_series(text) {
            return match series.best().origin {
                PackOrigin::Source => Ok(Self::Ruby(series)),
                PackOrigin::Npm => bail!(
                    "{text}: this pack comes from npm and is prepared by {}; packs built from source are those of Ruby {}",
                    series.best().command(),
                    Series::from_source()
                ),
            };
        }
        let mut found = Vec::new();
        for stage in [PackStage::Built, PackStage::Installed] {
            let records = installed::records(cache, stage)?.into_iter();
            found.extend(records.filter(|(series, _)| {
                text == series.language()
                    || text == format!("{}-{}", series.language(), series.series())
            }));
        }
        let newest = found.into_iter().max_by_key(|(_, record)| record.since);
        let (series, _) = newest.with_context(|| {
            format!("{text}: no such pack; `corundum packs` lists those of this machine, and `corundum pack build DIRECTORY` builds one")
        })?;
        Ok(Self::Other(series))
    }

    /// Returns the built pack, otherwise the installed one, and where it is on its way to nodes.
    pub(super) fn open(&self, cache: &Path) -> anyhow::Result<(PackKey, PackDir)> {
        match self {
            Self::Ruby(series) => {
                let edition = series.best();
                let pack = ruby::prepared(edition, cache).with_context(|| {
                    format!("Ruby {edition}: not built yet; run {}", edition.command())
                })?;
                Ok((PackKey::Ruby(edition), pack))
            }
            Self::Other(series) => {
                let record = latest(cache, series)?
                    .with_context(|| format!("{series}: neither built nor installed"))?;
                let path = installed::place(cache, series, &record.digest);
                let key = PackKey::Installed {
                    series: series.clone(),
                    digest: record.digest,
                };
                Ok((key, PackDir::open(&path)?))
            }
        }
    }
}

/// Returns the record of the pack of a series that was built or installed last.
pub(super) fn latest(cache: &Path, series: &LanguageSeries) -> std::io::Result<Option<PackRecord>> {
    let built = installed::record(cache, series, PackStage::Built)?;
    let installed = installed::record(cache, series, PackStage::Installed)?;
    Ok(built
        .into_iter()
        .chain(installed)
        .max_by_key(|record| record.since))
}

/// Returns the series of Ruby that a text names.
fn ruby_series(text: &str) -> Option<Series> {
    match text.strip_prefix(ruby::LANGUAGE)? {
        "" => Some(Series::DEFAULT),
        series => series.strip_prefix('-')?.parse().ok(),
    }
}

/// Returns the edition of Ruby that a text names, if it names one that is built from source.
pub(super) fn source_edition(text: &str) -> Option<Edition> {
    ruby_series(text)
        .map(Series::best)
        .filter(|edition| edition.origin == PackOrigin::Source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pack_built_from_source_has_a_name_which_its_command_contains() {
        let editions = Edition::ALL.into_iter();
        for edition in editions.filter(|edition| edition.origin == PackOrigin::Source) {
            let command = edition.command();
            let name = command.rsplit(' ').next().unwrap();
            assert_eq!(source_edition(name), Some(edition));
        }
        assert_eq!(source_edition("ruby"), Some(Series::DEFAULT.best()));
        assert_eq!(source_edition("ruby-4.0"), None);
        assert_eq!(source_edition("rubyx"), None);
    }

    #[test]
    fn language_without_a_series_is_the_pack_that_was_made_last() {
        let cache = tempfile::tempdir().unwrap();
        let cache = cache.path();
        std::fs::create_dir(cache.join("packs")).unwrap();
        let of = |series| LanguageSeries::new("lua", series).unwrap();
        let digest = "0".repeat(64);
        for (series, stage) in [("5.3", PackStage::Installed), ("5.4", PackStage::Built)] {
            installed::set_record(cache, &of(series), stage, &digest, true).unwrap();
        }
        let find = |text| PackName::find(text, cache).map_err(|error| error.to_string());
        assert_eq!(find("lua-5.3"), Ok(PackName::Other(of("5.3"))));
        assert_eq!(find("lua-5.4"), Ok(PackName::Other(of("5.4"))));
        assert!(find("lua").is_ok());
        assert!(find("lua-5.2").unwrap_err().contains("no such pack"));
        assert!(find("ruby-4.0").unwrap_err().contains("comes from npm"));
    }
}
