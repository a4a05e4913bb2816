//! The language and the series that an app asks for.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::names::{self, BadPackName};
use crate::ruby::{self, Series};

/// A series of a language, such as Ruby 3.3 or Lua 5.4. Slugs and releases record it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "StoredSeries", into = "StoredSeries")]
pub struct LanguageSeries {
    language: String,
    series: String,
}

/// The form in slugs and in the store. Earlier versions know Ruby alone, and write its series into a field of that name.
#[derive(Serialize, Deserialize)]
struct StoredSeries {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ruby: Option<Series>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    language: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    series: Option<String>,
}

impl LanguageSeries {
    /// Creates a value from names.
    ///
    /// # Errors
    ///
    /// [`BadPackName`].
    pub fn new(language: &str, series: &str) -> Result<Self, BadPackName> {
        names::check_language(language)?;
        names::check_series(series)?;
        Ok(Self {
            language: language.to_owned(),
            series: series.to_owned(),
        })
    }

    /// Returns the language, such as `lua`.
    pub fn language(&self) -> &str {
        &self.language
    }

    /// Returns the series, such as `5.4`.
    pub fn series(&self) -> &str {
        &self.series
    }

    /// Returns the series of Ruby, if the language is Ruby.
    pub fn ruby(&self) -> Option<Series> {
        (self.language == ruby::LANGUAGE).then(|| self.series.parse().ok())?
    }
}

impl fmt::Display for LanguageSeries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.language, self.series)
    }
}

impl From<Series> for LanguageSeries {
    fn from(series: Series) -> Self {
        Self {
            language: ruby::LANGUAGE.to_owned(),
            series: series.as_str().to_owned(),
        }
    }
}

impl TryFrom<StoredSeries> for LanguageSeries {
    type Error = String;

    fn try_from(stored: StoredSeries) -> Result<Self, String> {
        match stored {
            StoredSeries {
                ruby: Some(series), ..
            } => Ok(series.into()),
            StoredSeries {
                language: Some(language),
                series: Some(series),
                ..
            } => Self::new(&language, &series).map_err(|error| error.to_string()),
            _ => Err("neither `ruby` nor `language` and `series`".to_owned()),
        }
    }
}

impl From<LanguageSeries> for StoredSeries {
    fn from(series: LanguageSeries) -> Self {
        match series.ruby() {
            Some(ruby) => Self {
                ruby: Some(ruby),
                language: None,
                series: None,
            },
            None => Self {
                ruby: None,
                language: Some(series.language),
                series: Some(series.series),
            },
        }
    }
}

/// Compares series by their numbers: 5.10 is newer than 5.9.
pub(super) fn compare(one: &str, other: &str) -> Ordering {
    let parts = |text: &str| -> Vec<(u64, String)> {
        let part = |part: &str| (part.parse().unwrap_or(0), part.to_owned());
        text.split('.').map(part).collect()
    };
    parts(one).cmp(&parts(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_of_ruby_is_stored_as_by_earlier_versions() {
        let ruby: LanguageSeries = Series::Ruby33.into();
        assert_eq!(serde_json::to_string(&ruby).unwrap(), r#"{"ruby":"3.3"}"#);
        assert_eq!(ruby.ruby(), Some(Series::Ruby33));
        let lua = LanguageSeries::new("lua", "5.4").unwrap();
        let text = serde_json::to_string(&lua).unwrap();
        assert_eq!(text, r#"{"language":"lua","series":"5.4"}"#);
        for series in [ruby, lua] {
            let text = serde_json::to_string(&series).unwrap();
            assert_eq!(
                serde_json::from_str::<LanguageSeries>(&text).unwrap(),
                series
            );
        }
        for bad in [r#"{}"#, r#"{"language":"../x","series":"1"}"#] {
            assert!(serde_json::from_str::<LanguageSeries>(bad).is_err());
        }
    }

    #[test]
    fn newer_series_are_greater() {
        assert_eq!(compare("5.10", "5.9"), Ordering::Greater);
        assert_eq!(compare("5", "5.1"), Ordering::Less);
        assert_eq!(compare("5.4", "5.4"), Ordering::Equal);
    }
}
