//! Names of resources in paths and references: a UUID or a name.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer};
use serde::{Serialize, Serializer};
use uuid::Uuid;

/// Length of a UUID in its hyphenated form, the only form that is taken for one.
const HYPHENATED: usize = 36;

/// A resource's UUID, or its name of type `N`: an app name, a release version, a host name.
///
/// Clients use both in the same session: the Heroku CLI looks an app up by name and then addresses it by UUID.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Identity<N> {
    /// The stable key, which survives a change of the name.
    Id(Uuid),
    /// The name that people use.
    Name(N),
}

impl<N: PartialEq> Identity<N> {
    /// Returns whether this identity is that of the resource with this key and this name.
    pub fn matches(&self, id: Uuid, name: &N) -> bool {
        match self {
            Self::Id(own) => *own == id,
            Self::Name(own) => own == name,
        }
    }
}

impl<N: FromStr> FromStr for Identity<N> {
    type Err = N::Err;

    /// Parses a segment of a path. Names are shorter than a hyphenated UUID or differ from its form, so none is ambiguous.
    fn from_str(text: &str) -> Result<Self, N::Err> {
        match Uuid::try_parse(text) {
            Ok(id) if text.len() == HYPHENATED => Ok(Self::Id(id)),
            _ => text.parse().map(Self::Name),
        }
    }
}

impl<N: fmt::Display> fmt::Display for Identity<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

impl<N: fmt::Display> Serialize for Identity<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Forms in which clients write a reference in a request's body.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Reference {
    Text(String),
    Number(u64),
    Object {
        #[serde(default)]
        id: Option<String>,
        #[serde(default)]
        name: Option<String>,
    },
}

impl<'de, N: FromStr<Err: fmt::Display>> Deserialize<'de> for Identity<N> {
    /// Reads `"demo"`, `2`, `{"id": "…"}` or `{"name": "demo"}`.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = match Reference::deserialize(deserializer)? {
            Reference::Text(text) => Some(text),
            Reference::Number(number) => Some(number.to_string()),
            Reference::Object { id, name } => id.or(name),
        };
        let text = text.ok_or_else(|| de::Error::missing_field("id"))?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use corundum_abi::names::{AppName, ReleaseVersion};

    use super::*;

    const ID: &str = "01234567-89ab-4def-8123-456789abcdef";

    fn read<N: FromStr<Err: fmt::Display>>(json: &str) -> Result<Identity<N>, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn a_path_segment_is_a_uuid_or_a_name() {
        let id: Uuid = ID.parse().unwrap();
        let app: AppName = "demo".parse().unwrap();
        assert_eq!(ID.parse(), Ok(Identity::<AppName>::Id(id)));
        assert_eq!("demo".parse(), Ok(Identity::Name(app.clone())));
        assert!("../etc".parse::<Identity<AppName>>().is_err());
        assert!(Identity::Name(app.clone()).matches(Uuid::nil(), &app));
        assert!(Identity::Id(id).matches(id, &app));
        assert!(!Identity::Id(id).matches(Uuid::nil(), &app));
    }

    #[test]
    fn a_release_is_named_by_uuid_number_or_version() {
        let second = Ok(Identity::Name(ReleaseVersion(2)));
        for json in ["2", "\"2\"", "\"v2\"", "{\"name\": \"v2\"}"] {
            assert_eq!(read(json), second, "{json}");
        }
        let id = Identity::<ReleaseVersion>::Id(ID.parse().unwrap());
        assert_eq!(read(&format!("\"{ID}\"")), Ok(id.clone()));
        assert_eq!(read(&format!("{{\"id\": \"{ID}\"}}")), Ok(id));
        assert!(read::<ReleaseVersion>("{}").unwrap_err().contains("id"));
        assert!(read::<ReleaseVersion>("\"latest\"").is_err());
    }
}
