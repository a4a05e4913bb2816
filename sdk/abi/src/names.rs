//! Names that several crates use.
//!
//! Each kind of name is a type of its own, so that the compiler rejects an app's name in place of a process type.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Text that is not a valid name, digest or number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The app name cannot be a label of a host name.
    #[error(
        "\"{0}\" is not an app name: use 3 to 30 lower-case letters, digits and dashes, starting with a letter and not ending in a dash"
    )]
    AppName(String),
    /// The release is not `v` followed by a number from 1.
    #[error("\"{0}\" is not a release: write v and its number, as in v12")]
    Release(String),
    /// The digest is not 64 lower-case hexadecimal digits.
    #[error("\"{0}\" is not a SHA-256 digest: 64 lower-case hexadecimal digits")]
    Digest(String),
    /// The process type is not valid in a Procfile.
    #[error(
        "\"{0}\" is not a process type: use letters, digits, dashes and underscores, at most 30"
    )]
    ProcessType(String),
    /// The dyno is not of the form `type.number`.
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
            /// Returns the name as text.
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
    /// An app's name, which is a label of its host name (`myapp.localhost`).
    ///
    /// Heroku's rule applies: 3 to 30 lower-case letters, digits and dashes; the first character is a letter, the last
    /// one is not a dash.
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
    /// A process type of a Procfile, e.g. `web`, `worker` or `release`.
    ProcessType,
    ProcessType,
    |text| {
        (1..=30).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    }
);

string_name!(
    /// The SHA-256 of a slug's archive in 64 lower-case hexadecimal digits, by which the slug is identified.
    SlugDigest,
    Digest,
    |text| text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
);

impl ProcessType {
    /// Returns the process type that serves requests.
    pub fn web() -> Self {
        Self("web".to_owned())
    }
}

/// A release's number within its app, counted from 1 and displayed as `v1`, `v2`, ….
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

/// A dyno's name within its app, e.g. `web.1`: the process type and a number, as logs and `ps` display it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DynoName {
    /// The dyno's process type.
    pub process: ProcessType,
    /// The dyno's number, from 1; `run` dynos have a sequence of their own.
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
    fn app_name_must_be_a_host_label() {
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
            assert!(bad.parse::<AppName>().is_err(), "{bad} must be rejected");
        }
    }

    #[test]
    fn release_parses_with_and_without_the_v_prefix() {
        assert_eq!("v12".parse(), Ok(ReleaseVersion(12)));
        assert_eq!("12".parse(), Ok(ReleaseVersion(12)));
        for bad in ["v0", "v", "", "v-1", "v+1", "vv1"] {
            assert!(
                bad.parse::<ReleaseVersion>().is_err(),
                "{bad} must be rejected"
            );
        }
    }

    #[test]
    fn dyno_name_consists_of_process_type_and_number() {
        let dyno: DynoName = "web.3".parse().unwrap();
        assert_eq!((dyno.process.as_str(), dyno.number), ("web", 3));
        assert_eq!(dyno.to_string(), "web.3");
        assert!("web".parse::<DynoName>().is_err());
    }
}
