//! Answers of a provider, which the node believes only as far as the manifest goes.

use std::collections::BTreeMap;

use corundum_abi::terminal_text::{AllowedControls, TerminalText};
use serde::Deserialize;
use serde_json::Value;

/// Bytes of an answer.
pub(super) const MAX_ANSWER: u64 = 64 << 10;

/// Bytes of the value of a config var.
const MAX_VALUE: usize = 8 << 10;

/// Characters of a message for users.
const MAX_MESSAGE: usize = 500;

/// Characters of a provider's own key.
const MAX_ID: usize = 255;

/// A checked answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ProviderAnswer {
    /// The provider's own key of the resource.
    pub(super) id: Option<String>,
    /// Config vars by their full names.
    pub(super) config: BTreeMap<String, String>,
    /// A message for users: one line that a terminal can show.
    pub(super) message: Option<String>,
}

#[derive(Deserialize)]
struct RawAnswer {
    #[serde(default)]
    id: Value,
    #[serde(default)]
    config: Value,
    #[serde(default)]
    message: Value,
}

/// Reads an answer. `declared` are the full names of the manifest's config vars. An empty body is an empty answer.
///
/// # Errors
///
/// The text says what the provider did wrong. It has no value of a config var.
pub(super) fn read(body: &[u8], declared: &[String]) -> Result<ProviderAnswer, String> {
    if body.trim_ascii().is_empty() {
        return Ok(ProviderAnswer::default());
    }
    let raw: RawAnswer = serde_json::from_slice(body)
        .map_err(|_| "it answered something that is not a JSON object".to_owned())?;
    let id = match raw.id {
        Value::Null => None,
        Value::String(id) => Some(id),
        Value::Number(id) => Some(id.to_string()),
        _ => return Err("its id is neither text nor a number".to_owned()),
    };
    if let Some(id) = &id
        && (id.len() > MAX_ID || id.contains(char::is_control))
    {
        return Err("its id is longer than 255 bytes, or has control characters".to_owned());
    }
    Ok(ProviderAnswer {
        id,
        config: config(&raw.config, declared)?,
        message: raw.message.as_str().and_then(message),
    })
}

/// Reads config vars: an object, or a list of objects with `name` and `value`.
///
/// # Errors
///
/// As [`read`].
pub(super) fn config(
    value: &Value,
    declared: &[String],
) -> Result<BTreeMap<String, String>, String> {
    let pairs: Vec<(&str, &Value)> = match value {
        Value::Null => Vec::new(),
        Value::Object(object) => object.iter().map(|(name, v)| (name.as_str(), v)).collect(),
        Value::Array(list) => {
            let pairs = list
                .iter()
                .map(|one| Some((one.get("name")?.as_str()?, one.get("value")?)));
            let pairs: Option<Vec<_>> = pairs.collect();
            pairs.ok_or("an element of config has no name or no value")?
        }
        _ => return Err("its config is not an object".to_owned()),
    };
    let mut config = BTreeMap::new();
    for (name, value) in pairs {
        let shown: String = name.chars().take(80).collect();
        if !declared.iter().any(|declared| declared == name) {
            return Err(format!(
                "it sets {shown:?}, which its manifest does not declare"
            ));
        }
        let Some(value) = value.as_str() else {
            return Err(format!("the value of {shown} is not text"));
        };
        let is_control = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
        if value.len() > MAX_VALUE || value.contains(is_control) {
            return Err(format!(
                "the value of {shown} is longer than 8 KiB, or has control characters"
            ));
        }
        config.insert(name.to_owned(), value.to_owned());
    }
    Ok(config)
}

/// Returns the message of an answer that refuses something, if it has one.
pub(super) fn refusal(body: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let text = answer.get("message").or_else(|| answer.get("error"))?;
    message(text.as_str()?)
}

/// Returns a message as one line that a terminal can show; `None` for an empty one.
fn message(text: &str) -> Option<String> {
    let line: String = text
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(MAX_MESSAGE)
        .collect();
    (!line.is_empty()).then(|| TerminalText::line(AllowedControls::default(), line.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared() -> Vec<String> {
        vec!["KV_URL".to_owned(), "KV_KEY".to_owned()]
    }

    #[test]
    fn config_vars_of_both_forms_are_read() {
        let object =
            r#"{"id": 7, "config": {"KV_URL": "http://a"}, "message": "Welcome\n\u001b[2Jto KV"}"#;
        let answer = read(object.as_bytes(), &declared()).unwrap();
        assert_eq!(answer.id.as_deref(), Some("7"));
        assert_eq!(answer.config["KV_URL"], "http://a");
        assert!(!answer.message.unwrap().contains('\u{1b}'));
        let list = r#"{"config": [{"name": "KV_KEY", "value": "k"}]}"#;
        let answer = read(list.as_bytes(), &declared()).unwrap();
        assert_eq!(answer.config["KV_KEY"], "k");
        assert_eq!(read(b" ", &declared()).unwrap(), ProviderAnswer::default());
    }

    #[test]
    fn junk_and_undeclared_config_vars_are_refused_without_their_values() {
        let long = format!(r#"{{"config": {{"KV_URL": "{}"}}}}"#, "x".repeat(9000));
        for body in [
            "<html>",
            "[1, 2]",
            "7",
            r#"{"config": "KV_URL=1"}"#,
            r#"{"config": {"PATH": "/secret"}}"#,
            r#"{"config": {"DATABASE_URL": "/secret"}}"#,
            r#"{"config": {"KV_URL": 7}}"#,
            r#"{"config": {"KV_URL": null}}"#,
            r#"{"config": {"KV_URL": "secret\u0000"}}"#,
            r#"{"config": [{"name": "KV_URL"}]}"#,
            r#"{"id": {}}"#,
            &long,
        ] {
            let error = read(body.as_bytes(), &declared()).unwrap_err();
            assert!(!error.contains("secret") && error.len() < 200, "{error}");
        }
    }

    #[test]
    fn refusals_have_a_message_or_none() {
        assert_eq!(
            refusal(br#"{"message": "no room"}"#).as_deref(),
            Some("no room")
        );
        assert_eq!(refusal(b"<html>no room</html>"), None);
        assert_eq!(refusal(br#"{"message": ""}"#), None);
    }
}
