//! Options of an app that its build records in the slug and its dynos follow.

use std::fmt;

use serde::de::{self, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// State that one request may leave behind for the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// A dyno serves request after request, as a process does.
    #[default]
    App,
    /// A dyno serves one request, so no state can pass from one user to another.
    Request,
}

/// Sample requests that an app serves before its memory is saved as an image.
///
/// Samples fill the app's caches, which all of its dynos then share: a first response writes to a quarter of the pages.
/// Written as `"requests"`, `"none"` or a list of paths.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum WarmUp {
    /// The app serves sample requests for `/`.
    #[default]
    Requests,
    /// The app serves sample requests for these paths. The first is also the one that tries a new image.
    Paths(Vec<SamplePath>),
    /// The app serves none, because its image must not remember the effects of a request.
    None,
}

/// Most paths of a list.
pub const MAX_SAMPLE_PATHS: usize = 16;
/// Bytes of a path.
const MAX_PATH_BYTES: usize = 1024;

/// A path that sample requests ask for, with its query: the target of a request in origin form (RFC 9112 section 3.2.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SamplePath(String);

/// A text that is no [`SamplePath`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no path of a request: it begins with a slash and contains neither spaces nor #, as in \"/posts?page=1\""
)]
pub struct InvalidSamplePath(String);

impl SamplePath {
    /// Returns the text of the path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for SamplePath {
    type Error = InvalidSamplePath;

    fn try_from(text: String) -> Result<Self, InvalidSamplePath> {
        let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
        let is_valid = text.starts_with('/')
            && !text.starts_with("//")
            && text.len() <= MAX_PATH_BYTES
            && text.bytes().all(is_plain);
        match is_valid {
            true => Ok(Self(text)),
            false => Err(InvalidSamplePath(text)),
        }
    }
}

impl From<SamplePath> for String {
    fn from(path: SamplePath) -> Self {
        path.0
    }
}

impl Serialize for WarmUp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Requests => serializer.serialize_str("requests"),
            Self::Paths(paths) => paths.serialize(serializer),
            Self::None => serializer.serialize_str("none"),
        }
    }
}

impl<'de> Deserialize<'de> for WarmUp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WarmUpVisitor)
    }
}

struct WarmUpVisitor;

impl<'de> Visitor<'de> for WarmUpVisitor {
    type Value = WarmUp;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "\"requests\", \"none\" or a list of 1 to {MAX_SAMPLE_PATHS} paths"
        )
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<WarmUp, E> {
        match word {
            "requests" => Ok(WarmUp::Requests),
            "none" => Ok(WarmUp::None),
            other => Err(E::invalid_value(Unexpected::Str(other), &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<WarmUp, A::Error> {
        let mut paths = Vec::new();
        while let Some(path) = list.next_element()? {
            if paths.len() == MAX_SAMPLE_PATHS {
                return Err(de::Error::invalid_length(MAX_SAMPLE_PATHS + 1, &self));
            }
            paths.push(path);
        }
        match paths.is_empty() {
            true => Err(de::Error::invalid_length(0, &self)),
            false => Ok(WarmUp::Paths(paths)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warm_up_is_a_word_or_a_list_of_paths() {
        let parse = |text: &str| serde_json::from_str::<WarmUp>(text);
        assert_eq!(parse("\"requests\"").unwrap(), WarmUp::Requests);
        assert_eq!(parse("\"none\"").unwrap(), WarmUp::None);
        let list = parse(r#"["/", "/posts?page=1"]"#).unwrap();
        let text = serde_json::to_string(&list).unwrap();
        assert_eq!(text, r#"["/","/posts?page=1"]"#);
        assert_eq!(parse(&text).unwrap(), list);
        for (wrong, message) in [
            ("\"all\"", "\"requests\", \"none\" or a list"),
            ("7", "\"requests\", \"none\" or a list"),
            ("[]", "a list of 1 to 16 paths"),
            (r#"["posts"]"#, "\"posts\" is no path of a request"),
            (r#"["/a b"]"#, "is no path of a request"),
            (r#"["//host/"]"#, "is no path of a request"),
            (r#"["/a\r\nHost: b"]"#, "is no path of a request"),
            (&format!("[{}\"/\"]", "\"/\",".repeat(16)), "1 to 16 paths"),
        ] {
            let error = parse(wrong).unwrap_err().to_string();
            assert!(error.contains(message), "{wrong}: {error}");
        }
    }
}
