//! Which Ruby: the series that apps choose, and the editions that packs of them come in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A series of Ruby that apps may choose.
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
    /// All of them, oldest first.
    pub const ALL: [Self; 4] = [Self::Ruby32, Self::Ruby33, Self::Ruby34, Self::Ruby40];
    /// What an app gets that asks for none: the one that there is a build of our own of.
    pub const DEFAULT: Self = Self::Ruby33;

    /// As a version, `3.4`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ruby32 => "3.2",
            Self::Ruby33 => "3.3",
            Self::Ruby34 => "3.4",
            Self::Ruby40 => "4.0",
        }
    }

    /// The edition that serves its apps best.
    pub fn best(self) -> Edition {
        Edition {
            series: self,
            origin: match self {
                Self::Ruby33 => PackOrigin::Source,
                _ => PackOrigin::Npm,
            },
        }
    }

    /// The edition that is quickly made ready, and serves its apps until the best one is.
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

/// A version of Ruby that no pack has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Ruby {0} is not to be had: choose 3.2, 3.3, 3.4 or 4.0")]
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

/// Where a pack's MRI comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PackOrigin {
    /// Built here from MRI's source: near the speed of native code.
    Source,
    /// Built by others, from the npm registry: ready in a minute, several times slower.
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

/// A pack of Ruby: a series, from one origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Edition {
    /// The series.
    pub series: Series,
    /// Where its MRI comes from.
    pub origin: PackOrigin,
}

impl Edition {
    /// All of them: one a series from npm, and our own build.
    pub const ALL: [Self; 5] = [
        Self::npm(Series::Ruby32),
        Self::npm(Series::Ruby33),
        Self {
            series: Series::Ruby33,
            origin: PackOrigin::Source,
        },
        Self::npm(Series::Ruby34),
        Self::npm(Series::Ruby40),
    ];

    const fn npm(series: Series) -> Self {
        Self {
            series,
            origin: PackOrigin::Npm,
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
    fn a_series_is_a_version_of_two_numbers() {
        assert_eq!("3.4".parse(), Ok(Series::Ruby34));
        assert_eq!(
            "2.7".parse::<Series>(),
            Err(UnknownSeries("2.7".to_owned()))
        );
    }

    #[test]
    fn every_series_has_its_editions() {
        for series in Series::ALL {
            assert!(Edition::ALL.contains(&series.best()), "{series}");
            assert!(Edition::ALL.contains(&series.quickest()), "{series}");
        }
        assert_eq!(Series::DEFAULT.best().origin, PackOrigin::Source);
    }
}
