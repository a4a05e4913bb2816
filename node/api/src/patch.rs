//! Fields of a change that tell an absent value from `null`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A field of a PATCH request: absent fields stay as they are, `null` unsets, a value sets.
///
/// Fields of this type need `#[serde(default, skip_serializing_if = "Patch::is_absent")]`: JSON has no absent value, so
/// the container leaves the field out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Patch<T> {
    /// The request does not have the field.
    #[default]
    Absent,
    /// The request has the field with `null`.
    Null,
    /// The request has the field with a value.
    Value(T),
}

impl<T> Patch<T> {
    /// Returns whether the request lacks the field.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// Returns the value where the request has one; absent and `null` are both none.
    pub fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }

    /// Returns the change that the field asks for: nothing, unset, or the new value.
    pub fn change(self) -> Option<Option<T>> {
        match self {
            Self::Absent => None,
            Self::Null => Some(None),
            Self::Value(value) => Some(Some(value)),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Option::deserialize(deserializer)?;
        Ok(value.map_or(Self::Null, Self::Value))
    }
}

impl<T: Serialize> Serialize for Patch<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Absent | Self::Null => serializer.serialize_none(),
            Self::Value(value) => value.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Change {
        #[serde(default, skip_serializing_if = "Patch::is_absent")]
        name: Patch<String>,
    }

    #[test]
    fn absent_null_and_value_survive_a_round_trip() {
        for (json, name, change) in [
            ("{}", Patch::Absent, None),
            ("{\"name\":null}", Patch::Null, Some(None)),
            (
                "{\"name\":\"x\"}",
                Patch::Value("x".to_owned()),
                Some(Some("x".to_owned())),
            ),
        ] {
            let read: Change = serde_json::from_str(json).unwrap();
            assert_eq!(read.name, name, "{json}");
            assert_eq!(serde_json::to_string(&read).unwrap(), json);
            assert_eq!(read.name.change(), change, "{json}");
        }
    }
}
