//! Formation: most dynos by process type.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use corundum_abi::names::ProcessType;
use jiff::Timestamp;
use serde::de::{self, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::reference::{AppRef, NamedRef};

/// A process type of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormationResource {
    /// The process type's key: a hash of the app's key and the type.
    pub id: Uuid,
    /// The app.
    pub app: AppRef,
    /// The command of the process type.
    pub command: String,
    /// When the app was created.
    pub created_at: Timestamp,
    /// The size of the dynos.
    pub dyno_size: NamedRef,
    /// Number of dynos. For web, the most that there may be: they start with the requests that need them.
    pub quantity: u32,
    /// The size of the dynos, as a plain string here.
    pub size: String,
    /// The process type.
    #[serde(rename = "type")]
    pub process_type: ProcessType,
    /// When the formation was last changed.
    pub updated_at: Timestamp,
}

/// A request to scale several process types.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormationBatchUpdate {
    /// The changes, one for each process type.
    pub updates: Vec<FormationUpdate>,
}

/// A change of one process type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormationUpdate {
    /// The process type.
    #[serde(rename = "type")]
    pub process_type: ProcessType,
    /// The change.
    #[serde(flatten)]
    pub change: FormationChange,
}

/// A change of the number or the size of dynos.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormationChange {
    /// Number of dynos; for web, the most that there may be. Absent or `null` leaves it as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity: Option<Quantity>,
    /// Size of the dynos. Absent or `null` leaves it as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// Size of the dynos, in the form of other clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dyno_size: Option<SizeName>,
}

/// The name of a size, alone or in an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SizeName {
    /// The name.
    Name(String),
    /// An object with the name.
    Named {
        /// The name.
        name: String,
    },
}

impl FormationChange {
    /// Returns the name of the new size, if the change has one.
    pub fn size(&self) -> Option<&str> {
        let other = self.dyno_size.as_ref().map(|size| match size {
            SizeName::Name(name) | SizeName::Named { name } => name.as_str(),
        });
        self.size.as_deref().or(other)
    }
}

/// A number of dynos, or a change of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// So many dynos: `2` or `"2"`.
    Absolute(u32),
    /// So many dynos more or fewer: `"+1"` or `"-1"`.
    Relative(i32),
}

impl Quantity {
    /// Returns the number of dynos after this change of `current`, which never falls below zero.
    pub fn apply(self, current: u32) -> u32 {
        match self {
            Self::Absolute(number) => number,
            Self::Relative(change) => current.saturating_add_signed(change),
        }
    }
}

impl FromStr for Quantity {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        let text = text.trim();
        match text.starts_with(['+', '-']) {
            true => text.parse().map(Self::Relative),
            false => text.parse().map(Self::Absolute),
        }
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Absolute(number) => serializer.serialize_u32(*number),
            Self::Relative(change) => serializer.collect_str(&format_args!("{change:+}")),
        }
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(QuantityVisitor)
    }
}

struct QuantityVisitor;

impl Visitor<'_> for QuantityVisitor {
    type Value = Quantity;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of dynos, or a change as \"+1\"")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Quantity, E> {
        let quantity = u32::try_from(number).ok().map(Quantity::Absolute);
        quantity.ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    /// Refuses negative numbers: a change is a string, since JSON writes no plus sign.
    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Quantity, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(number), &self)),
        }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Quantity, E> {
        text.parse()
            .map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantity_is_absolute_or_relative() {
        let read = |json: &str| serde_json::from_str::<Quantity>(json);
        for (json, quantity, of_three) in [
            ("2", Quantity::Absolute(2), 2),
            ("\"2\"", Quantity::Absolute(2), 2),
            ("\"+1\"", Quantity::Relative(1), 4),
            ("\"-1\"", Quantity::Relative(-1), 2),
            ("\"-9\"", Quantity::Relative(-9), 0),
        ] {
            assert_eq!(read(json).unwrap(), quantity, "{json}");
            assert_eq!(quantity.apply(3), of_three, "{json}");
        }
        for json in ["-1", "4294967296", "\"many\"", "\"1x\""] {
            let error = read(json).unwrap_err().to_string();
            assert!(error.contains("invalid value"), "{json}: {error}");
        }
        let written = serde_json::to_string(&[Quantity::Relative(1), Quantity::Absolute(4)]);
        assert_eq!(written.unwrap(), "[\"+1\",4]");
    }
}
