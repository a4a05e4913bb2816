//! The names that cross crates, each a type of its own so that none is taken for another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A name, digest or number that does not have its form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The user chose an app name that could not be a host name's label.
    #[error(
        "\"{0}\" is not an app name: use 3 to 30 lower-case letters, digits and dashes, starting with a letter and not ending in a dash"
    )]
    AppName(String),
    /// Not `v` and a number from 1.
    #[error("\"{0}\" is not a release: write v and its number, as in v12")]
    Release(String),
    /// Not 64 lower-case hexadecimal digits.
    #[error("\"{0}\" is not a SHA-256 digest: 64 lower-case hexadecimal digits")]
    Digest(String),
    /// Not a process type as a Procfile names it.
    #[error(
        "\"{0}\" is not a process type: use letters, digits, dashes and underscores, at most 30"
    )]
    ProcessType(String),
    /// Not `type.number`.
    #[error("\"{0}\" is not a dyno: write its process type and number, as in web.1")]
    Dyno(String),
}

macro_rules! string_name {
    ($(#[$doc:meta])* $name:ident, $error:ident, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(NameError::$error(text.chars().take(80).collect()))
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

string_name!(
    /// An app's name: a label of its host name (`myapp.localhost`), so Heroku's rule: 3 to 30 lower-case letters,
    /// digits and dashes, first a letter, last not a dash.
    AppName,
    AppName,
    |text| {
        (3..=30).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && text.as_bytes()[0].is_ascii_lowercase()
            && !text.ends_with('-')
    }
);

string_name!(
    /// A process type of a Procfile: `web`, `worker`, `release`.
    ProcessType,
    ProcessType,
    |text| {
        (1..=30).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    }
);

string_name!(
    /// The SHA-256 of a slug's archive, 64 lower-case hexadecimal digits: a slug's only name.
    SlugDigest,
    Digest,
    |text| text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
);

impl ProcessType {
    /// The process type that takes requests.
    pub fn web() -> Self {
        Self("web".to_owned())
    }
}

/// A release's number within its app: 1, 2, … and shown as `v1`, `v2`, ….
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReleaseVersion(pub u64);

impl FromStr for ReleaseVersion {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let digits = text.strip_prefix('v').unwrap_or(text);
        match digits.parse() {
            Ok(number) if number > 0 && digits.bytes().all(|b| b.is_ascii_digit()) => {
                Ok(Self(number))
            }
            _ => Err(NameError::Release(text.chars().take(80).collect())),
        }
    }
}

impl fmt::Display for ReleaseVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

/// One dyno of an app, as logs and `ps` show it: process type and number, `web.1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DynoName {
    /// The process type it runs.
    pub process: ProcessType,
    /// Its number, from 1; `run` counts its own.
    pub number: u32,
}

impl FromStr for DynoName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let bad = || NameError::Dyno(text.chars().take(80).collect());
        let (process, number) = text.rsplit_once('.').ok_or_else(bad)?;
        let number = number.parse().map_err(|_| bad())?;
        Ok(Self {
            process: process.parse().map_err(|_| bad())?,
            number,
        })
    }
}

impl TryFrom<String> for DynoName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<DynoName> for String {
    fn from(name: DynoName) -> String {
        name.to_string()
    }
}

impl fmt::Display for DynoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.process, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_name_is_a_host_label() {
        for good in ["abc", "my-app-12", "a23456789012345678901234567890"] {
            assert_eq!(
                good.parse::<AppName>().map(String::from),
                Ok(good.to_owned())
            );
        }
        for bad in [
            "",
            "ab",
            "Abc",
            "1abc",
            "abc-",
            "a_b",
            "a.b",
            "../x",
            "a2345678901234567890123456789012",
            "äbc",
        ] {
            assert!(bad.parse::<AppName>().is_err(), "{bad} must be refused");
        }
    }

    #[test]
    fn a_release_is_read_with_or_without_its_v() {
        assert_eq!("v12".parse(), Ok(ReleaseVersion(12)));
        assert_eq!("12".parse(), Ok(ReleaseVersion(12)));
        for bad in ["v0", "v", "", "v-1", "v+1", "vv1"] {
            assert!(
                bad.parse::<ReleaseVersion>().is_err(),
                "{bad} must be refused"
            );
        }
    }

    #[test]
    fn a_dyno_is_its_process_type_and_number() {
        let dyno: DynoName = "web.3".parse().unwrap();
        assert_eq!((dyno.process.as_str(), dyno.number), ("web", 3));
        assert_eq!(dyno.to_string(), "web.3");
        assert!("web".parse::<DynoName>().is_err());
    }
}
