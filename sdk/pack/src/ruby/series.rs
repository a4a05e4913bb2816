//! Series of Ruby that apps choose, and the editions of packs for each series.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A series of Ruby, which apps choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Series {
    /// Ruby 3.2.
    Ruby32,
    /// Ruby 3.3.
    Ruby33,
    /// Ruby 3.4.
    Ruby34,
    /// Ruby 4.0.
    Ruby40,
}

impl Series {
    /// All series, oldest first.
    pub const ALL: [Self; 4] = [Self::Ruby32, Self::Ruby33, Self::Ruby34, Self::Ruby40];
    /// The series of apps that choose none, which has a pack built from source.
    pub const DEFAULT: Self = Self::Ruby33;

    /// Returns the series as a version, e.g. `3.4`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ruby32 => "3.2",
            Self::Ruby33 => "3.3",
            Self::Ruby34 => "3.4",
            Self::Ruby40 => "4.0",
        }
    }

    /// Returns the fastest edition.
    pub fn best(self) -> Edition {
        let has_source = crate::mri::release(self.as_str()).is_some();
        Edition {
            series: self,
            origin: if has_source {
                PackOrigin::Source
            } else {
                PackOrigin::Npm
            },
        }
    }

    /// Returns the series that are built from source, for display: `3.3 and 3.4`.
    pub fn from_source() -> String {
        let built = Self::ALL.into_iter();
        let built = built.filter(|series| series.best().origin == PackOrigin::Source);
        let names: Vec<&str> = built.map(Self::as_str).collect();
        names.join(" and ")
    }

    /// Returns the edition that takes the least time to prepare, which serves apps until the best one is prepared.
    pub fn quickest(self) -> Edition {
        Edition {
            series: self,
            origin: PackOrigin::Npm,
        }
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Unsupported version of Ruby.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unsupported Ruby version {0}: choose 3.2, 3.3, 3.4 or 4.0")]
pub struct UnknownSeries(pub String);

impl FromStr for Series {
    type Err = UnknownSeries;

    fn from_str(text: &str) -> Result<Self, UnknownSeries> {
        let found = Self::ALL.into_iter().find(|series| series.as_str() == text);
        found.ok_or_else(|| UnknownSeries(text.chars().take(40).collect()))
    }
}

impl TryFrom<String> for Series {
    type Error = UnknownSeries;

    fn try_from(text: String) -> Result<Self, UnknownSeries> {
        text.parse()
    }
}

impl From<Series> for String {
    fn from(series: Series) -> String {
        series.as_str().to_owned()
    }
}

/// Origin of a pack's MRI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PackOrigin {
    /// Built on this machine from MRI's source; close to the speed of native code.
    Source,
    /// Published in the npm registry; ready in a minute, but several times slower.
    Npm,
}

impl fmt::Display for PackOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::Npm => "npm",
        })
    }
}

/// Features that the builds of MRI in the npm registry lack: they have no sockets, no thread scheduler, no gems with C parts but
/// those of MRI's source, and none of this project's changes to MRI.
const NPM_LACKS: [&str; 5] = [
    "sockets and TLS",
    "threads that run beside each other",
    "the C parts of bcrypt, bigdecimal, commonmarker and racc",
    "a seed of hashes for each app",
    "SystemStackError for deep recursion in C, which ends the dyno",
];

/// A kind of pack: a series of Ruby from one origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Edition {
    /// The series.
    pub series: Series,
    /// The origin of MRI.
    pub origin: PackOrigin,
}

impl Edition {
    /// All editions: one for each series from npm, and those built from source.
    pub const ALL: [Self; 6] = [
        Self::npm(Series::Ruby32),
        Self::npm(Series::Ruby33),
        Self::source(Series::Ruby33),
        Self::npm(Series::Ruby34),
        Self::source(Series::Ruby34),
        Self::npm(Series::Ruby40),
    ];

    /// Returns what the edition lacks beside one that is built from source, each as a noun phrase.
    pub fn lacks(self) -> &'static [&'static str] {
        match self.origin {
            PackOrigin::Source => &[],
            PackOrigin::Npm => &NPM_LACKS,
        }
    }

    /// Returns the command that makes the pack.
    pub fn command(self) -> String {
        match self.origin {
            PackOrigin::Source => format!("corundum pack build ruby-{}", self.series),
            PackOrigin::Npm => format!("corundum packs:prepare {}", self.series),
        }
    }

    const fn npm(series: Series) -> Self {
        Self {
            series,
            origin: PackOrigin::Npm,
        }
    }

    const fn source(series: Series) -> Self {
        Self {
            series,
            origin: PackOrigin::Source,
        }
    }
}

impl fmt::Display for Edition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {}", self.series, self.origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_parses_from_a_version_of_two_numbers() {
        assert_eq!("3.4".parse(), Ok(Series::Ruby34));
        assert_eq!(
            "2.7".parse::<Series>(),
            Err(UnknownSeries("2.7".to_owned()))
        );
    }

    #[test]
    fn editions_from_npm_lack_what_the_one_from_source_has() {
        for edition in Edition::ALL {
            let is_complete = edition.origin == PackOrigin::Source;
            assert_eq!(edition.lacks().is_empty(), is_complete, "{edition}");
        }
        assert!(Series::DEFAULT.best().lacks().is_empty());
    }

    #[test]
    fn best_and_quickest_editions_of_every_series_exist() {
        for series in Series::ALL {
            assert!(Edition::ALL.contains(&series.best()), "{series}");
            assert!(Edition::ALL.contains(&series.quickest()), "{series}");
        }
        assert_eq!(Series::DEFAULT.best().origin, PackOrigin::Source);
        assert_eq!(Series::from_source(), "3.3 and 3.4");
    }
}
