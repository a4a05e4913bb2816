//! `app.json`: what an app says of itself to the platform. The form is Heroku's, with `isolation`, `warm-up` and `static` added.

use std::collections::BTreeMap;

use corundum_abi::app_options::{Isolation, WarmUp};
use corundum_abi::names::ProcessType;
use serde::Deserialize;

use crate::assets::StaticFileOptions;

/// An `app.json` that is not understood.
#[derive(Debug, thiserror::Error)]
#[error(
    "app.json is not understood: {0}. An example: {{\"isolation\": \"request\", \"env\": {{\"SECRET\": {{\"generator\": \"secret\"}}}}}}"
)]
pub struct AppJsonError(#[from] serde_json::Error);

/// What this version reads of an `app.json`; other keys are for other tools, and passed over.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
pub struct AppJson {
    /// What one request may leave behind for the next.
    #[serde(default)]
    pub isolation: Isolation,
    /// Whether its image is to be warm.
    #[serde(default, rename = "warm-up")]
    pub warm_up: WarmUp,
    /// How the files in `public/` are served.
    #[serde(default, rename = "static")]
    pub static_files: StaticFileOptions,
    /// Config vars that the app wants.
    #[serde(default)]
    pub env: BTreeMap<String, Variable>,
    /// How many dynos of each process type an app begins with.
    #[serde(default)]
    pub formation: BTreeMap<ProcessType, Quantity>,
}

/// A config var of `env`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Variable {
    /// Its value, alone.
    Value(String),
    /// With what is to be known of it.
    Described {
        /// The value that it gets if it has none.
        value: Option<String>,
        /// How one is made: a `secret` is random.
        generator: Option<Generator>,
        /// Whether the app cannot do without it; it cannot, if nothing is said.
        #[serde(default = "yes")]
        required: bool,
    },
}

/// How a value is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Generator {
    /// 64 random hexadecimal digits.
    Secret,
}

/// Dynos of a process type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Quantity {
    /// How many.
    pub quantity: u32,
}

/// What becomes of a config var that the app does not have yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Default {
    /// It gets this value.
    Value(String),
    /// It gets a random one.
    Secret,
    /// The app cannot run before somebody sets it.
    Missing,
    /// Nothing.
    Unset,
}

fn yes() -> bool {
    true
}

impl AppJson {
    /// Reads the file's text.
    ///
    /// # Errors
    ///
    /// [`AppJsonError`].
    pub fn parse(text: &str) -> Result<Self, AppJsonError> {
        Ok(serde_json::from_str(text)?)
    }

    /// Dynos of the process type `web` to begin with, if it says so.
    pub fn web_quantity(&self) -> Option<u32> {
        let web = self.formation.get(&ProcessType::web());
        web.map(|web| web.quantity)
    }
}

impl Variable {
    /// What becomes of the variable in an app that has not set it.
    pub fn default(&self) -> Default {
        match self {
            Self::Value(value)
            | Self::Described {
                value: Some(value), ..
            } => Default::Value(value.clone()),
            Self::Described {
                generator: Some(Generator::Secret),
                ..
            } => Default::Secret,
            Self::Described { required: true, .. } => Default::Missing,
            Self::Described { .. } => Default::Unset,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn herokus_form_is_read_and_isolation_with_it() {
        let app = AppJson::parse(
            r#"{"name": "x", "isolation": "request", "warm-up": "none", "addons": ["redis"],
                "formation": {"web": {"quantity": 3, "size": "standard"}},
                "env": {"A": "1", "B": {"generator": "secret"}, "C": {"description": "c"},
                        "D": {"required": false}, "E": {"value": "5", "required": true}}}"#,
        );
        let app = app.unwrap();
        assert_eq!(app.isolation, Isolation::Request);
        assert_eq!(app.warm_up, WarmUp::None);
        assert_eq!(app.web_quantity(), Some(3));
        let defaults: Vec<_> = app.env.values().map(Variable::default).collect();
        assert_eq!(
            defaults,
            [
                Default::Value("1".into()),
                Default::Secret,
                Default::Missing,
                Default::Unset,
                Default::Value("5".into())
            ]
        );
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let error = AppJson::parse(r#"{"isolation": "process"}"#).unwrap_err();
        assert!(error.to_string().contains("process"), "{error}");
        assert!(AppJson::parse("[").is_err());
        assert_eq!(AppJson::parse("{}").unwrap(), AppJson::default());
    }
}
