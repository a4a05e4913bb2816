//! Numbers and flags as clients write them: as JSON has them, or as strings.
//!
//! The Heroku CLI sends `"quantity": "2"` and `"expires_in": "3600"`.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::Deserializer;
use serde::de::{self, Unexpected, Visitor};

/// Reads an optional number that may be a string; `null` is none.
///
/// # Errors
///
/// The deserializer's error for a value that is not a number or does not fit the type.
pub fn optional_number<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<u64> + FromStr,
{
    deserializer.deserialize_any(NumberVisitor(PhantomData))
}

struct NumberVisitor<T>(PhantomData<T>);

impl<T: TryFrom<u64> + FromStr> Visitor<'_> for NumberVisitor<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, as itself or in a string")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
        let value = T::try_from(number).ok();
        value
            .map(Some)
            .ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(number), &self)),
        }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        let value = text.trim().parse().ok();
        value
            .map(Some)
            .ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_none<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Body {
        #[serde(default, deserialize_with = "super::optional_number")]
        lines: Option<u32>,
    }

    #[test]
    fn numbers_may_be_strings() {
        let read = |json: &str| serde_json::from_str::<Body>(json).map(|body| body.lines);
        assert_eq!(read("{\"lines\": 3}").unwrap(), Some(3));
        assert_eq!(read("{\"lines\": \"3\"}").unwrap(), Some(3));
        assert_eq!(read("{\"lines\": null}").unwrap(), None);
        assert_eq!(read("{}").unwrap(), None);
        for wrong in ["-1", "4294967296", "\"many\"", "1.5", "[]"] {
            let json = format!("{{\"lines\": {wrong}}}");
            let error = read(&json).unwrap_err().to_string();
            assert!(error.contains("invalid"), "{wrong}: {error}");
        }
    }
}
