//! Parser of `app.json`, the settings of an app for its platform.
//!
//! The format is Heroku's, with the additional keys `cron`, `isolation`, `language`, `outbound`, `warm-up` and `static`.

use std::collections::BTreeMap;

use corundum_abi::app_options::{Isolation, WarmUp};
use corundum_abi::names::ProcessType;
use corundum_abi::outbound::{MAX_TARGETS, OutboundTarget};
use serde::Deserialize;

use crate::assets::StaticFileOptions;
use crate::cron::{CronJob, MAX_JOBS};

/// An `app.json` that cannot be parsed. The app's author corrects it.
#[derive(Debug, thiserror::Error)]
pub enum AppJsonError {
    /// The file is not JSON, or a key has an invalid value.
    #[error(
        "app.json: invalid: {0}; a valid example: {{\"isolation\": \"request\", \"env\": {{\"SECRET\": {{\"generator\": \"secret\"}}}}}}"
    )]
    Json(#[from] serde_json::Error),
    /// Entries of `cron` cannot run.
    #[error(
        "app.json: invalid \"cron\":\n{}\na valid example: {{\"cron\": [{{\"schedule\": \"30 4 * * *\", \"command\": \"rake cleanup\", \"timezone\": \"Europe/Berlin\"}}]}}",
        .0.join("\n")
    )]
    Cron(Vec<String>),
    /// Entries of `outbound` are not targets.
    #[error(
        "app.json: invalid \"outbound\":\n{}\na valid example: {{\"outbound\": [\"https://api.example.com\", \"tcp://db.example.com:5432\"]}}",
        .0.join("\n")
    )]
    Outbound(Vec<String>),
    /// `outbound` has too many entries.
    #[error(
        "app.json: \"outbound\" has {0} entries, and at most {MAX_TARGETS}: use wildcards, as https://*.example.com"
    )]
    ManyTargets(usize),
}

/// The keys of an `app.json` that this version uses. It ignores other keys, which are for other tools.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
pub struct AppJson {
    /// The language of the app, if the files of several are in its repository.
    #[serde(default)]
    pub language: Option<String>,
    /// State that one request may leave behind for the next.
    #[serde(default)]
    pub isolation: Isolation,
    /// Sample requests before the app's memory is saved.
    #[serde(default, rename = "warm-up")]
    pub warm_up: WarmUp,
    /// Options for the files in `public/`.
    #[serde(default, rename = "static")]
    pub static_files: StaticFileOptions,
    /// Declared config vars.
    #[serde(default)]
    pub env: BTreeMap<String, ConfigVarDeclaration>,
    /// Initial number of dynos of each process type.
    #[serde(default)]
    pub formation: BTreeMap<ProcessType, FormationQuantity>,
    /// Scheduled commands.
    #[serde(default)]
    pub cron: Vec<CronJob>,
    /// Scripts of Heroku's phases.
    #[serde(default)]
    scripts: Option<serde_json::Value>,
    /// Add-ons that the first push creates.
    #[serde(default)]
    addons: Option<serde_json::Value>,
    /// Targets that the app may connect to. Without the key, the operator's default applies.
    #[serde(skip)]
    pub outbound: Option<Vec<OutboundTarget>>,
}

/// The list of targets as it is written. A value of its own, since all of its invalid entries are reported at once.
#[derive(Deserialize)]
struct WrittenOutbound {
    outbound: Option<Vec<String>>,
}

/// Declaration of an add-on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredAddon {
    /// `SERVICE` or `SERVICE:PLAN`.
    pub plan: String,
    /// The name of its attachment.
    pub attachment: Option<String>,
}

/// Declaration of a config var.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum ConfigVarDeclaration {
    /// Only a value.
    Value(String),
    /// An object with details.
    Described {
        /// Value for an app that has not set the variable.
        value: Option<String>,
        /// Generator of a value, if there is no `value`.
        generator: Option<ConfigVarGenerator>,
        /// True if the app cannot run without the variable, which is the default.
        #[serde(default = "yes")]
        required: bool,
    },
}

/// Generator of a config var's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConfigVarGenerator {
    /// 64 random hexadecimal digits.
    Secret,
}

/// Number of dynos of a process type.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct FormationQuantity {
    /// Number of dynos.
    pub quantity: u32,
    /// Size of dynos on Heroku.
    #[serde(default)]
    pub size: Option<String>,
}

/// Sizes of dynos that have as much memory as any dyno here, or less.
const AVAILABLE_SIZES: [&str; 6] = ["basic", "eco", "free", "hobby", "standard", "standard-1x"];

/// Effect of a declaration on an app that has not set the variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigVarDefault {
    /// The variable gets this value.
    Value(String),
    /// The variable gets a random value.
    Secret,
    /// The push fails until the user sets the variable.
    Missing,
    /// The variable stays unset.
    Unset,
}

fn yes() -> bool {
    true
}

impl AppJson {
    /// Parses the text of the file.
    ///
    /// # Errors
    ///
    /// [`AppJsonError`].
    pub fn parse(text: &str) -> Result<Self, AppJsonError> {
        let app: Self = serde_json::from_str(text)?;
        let written: WrittenOutbound = serde_json::from_str(text)?;
        check_cron(&app.cron)?;
        let outbound = written.outbound.map(|list| targets(&list, text));
        Ok(Self {
            outbound: outbound.transpose()?,
            ..app
        })
    }

    /// Returns the initial number of web dynos, if the file names one.
    pub fn web_quantity(&self) -> Option<u32> {
        let web = self.formation.get(&ProcessType::web());
        web.map(|web| web.quantity)
    }

    /// Returns the command that Heroku runs once after the first push.
    pub fn postdeploy(&self) -> Option<&str> {
        let command = self.scripts.as_ref()?.get("postdeploy")?;
        // An object has options beside the command.
        command
            .as_str()
            .or_else(|| command.get("command")?.as_str())
    }

    /// Returns the add-ons that the file asks for; `None` if it does not say.
    pub fn declared_addons(&self) -> Option<Vec<DeclaredAddon>> {
        let listed = self.addons.as_ref()?.as_array()?;
        let declared = listed.iter().filter_map(|addon| {
            let name = addon.get("as").and_then(|name| name.as_str());
            let plan = addon.as_str().or_else(|| addon.get("plan")?.as_str())?;
            Some(DeclaredAddon {
                plan: plan.to_owned(),
                attachment: name.map(str::to_owned),
            })
        });
        Some(declared.collect())
    }

    /// Returns the size of web dynos that the file names, if such dynos have more memory than any dyno here.
    pub fn unavailable_size(&self) -> Option<&str> {
        let web = self.formation.get(&ProcessType::web())?;
        let size = web.size.as_deref()?;
        let is_available = AVAILABLE_SIZES
            .iter()
            .any(|known| known.eq_ignore_ascii_case(size));
        (!is_available).then_some(size)
    }
}

/// Checks the scheduled commands, all of them.
fn check_cron(jobs: &[CronJob]) -> Result<(), AppJsonError> {
    let mut invalid = Vec::new();
    if jobs.len() > MAX_JOBS {
        invalid.push(format!(
            "  {} entries; an app has {MAX_JOBS} at most",
            jobs.len()
        ));
    }
    for (number, job) in (1..).zip(jobs.iter().take(MAX_JOBS)) {
        if let Err(error) = job.parse() {
            invalid.push(format!("  entry {number}: {error}"));
        }
    }
    match invalid.is_empty() {
        true => Ok(()),
        false => Err(AppJsonError::Cron(invalid)),
    }
}

/// Parses the entries of `outbound`. `text` is the file.
fn targets(list: &[String], text: &str) -> Result<Vec<OutboundTarget>, AppJsonError> {
    if list.len() > MAX_TARGETS {
        return Err(AppJsonError::ManyTargets(list.len()));
    }
    let (mut targets, mut invalid) = (Vec::new(), Vec::new());
    for entry in list {
        match entry.parse() {
            Ok(target) => targets.push(target),
            Err(error) => invalid.push(match line_of(entry, text) {
                Some(line) => format!("  line {line}: {error}"),
                None => format!("  {error}"),
            }),
        }
    }
    match invalid.is_empty() {
        true => Ok(targets),
        false => Err(AppJsonError::Outbound(invalid)),
    }
}

/// Returns the number of the line on which a string is written, unless it is written with escapes.
fn line_of(entry: &str, text: &str) -> Option<usize> {
    let written = format!("\"{entry}\"");
    let at = text.lines().position(|line| line.contains(&written))?;
    Some(at + 1)
}

impl ConfigVarDeclaration {
    /// Returns the effect on an app that has not set the variable.
    pub fn default_value(&self) -> ConfigVarDefault {
        match self {
            Self::Value(value)
            | Self::Described {
                value: Some(value), ..
            } => ConfigVarDefault::Value(value.clone()),
            Self::Described {
                generator: Some(ConfigVarGenerator::Secret),
                ..
            } => ConfigVarDefault::Secret,
            Self::Described { required: true, .. } => ConfigVarDefault::Missing,
            Self::Described { .. } => ConfigVarDefault::Unset,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heroku_and_corundum_keys_are_parsed() {
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
        assert_eq!(app.unavailable_size(), None);
        let defaults: Vec<_> = app
            .env
            .values()
            .map(ConfigVarDeclaration::default_value)
            .collect();
        assert_eq!(
            defaults,
            [
                ConfigVarDefault::Value("1".into()),
                ConfigVarDefault::Secret,
                ConfigVarDefault::Missing,
                ConfigVarDefault::Unset,
                ConfigVarDefault::Value("5".into())
            ]
        );
    }

    #[test]
    fn scripts_and_addons_are_read_in_both_forms_and_never_refused() {
        let parse = |text: &str| AppJson::parse(text).unwrap();
        let short =
            parse(r#"{"scripts": {"postdeploy": "rake db:seed"}, "addons": ["redis:mini"]}"#);
        assert_eq!(short.postdeploy(), Some("rake db:seed"));
        let declared = short.declared_addons().unwrap();
        assert_eq!(
            (declared[0].plan.as_str(), &declared[0].attachment),
            ("redis:mini", &None)
        );
        let long = parse(
            r#"{"scripts": {"postdeploy": {"command": "rake x", "size": "eco"}}, "addons": [{"plan": "a", "as": "B"}]}"#,
        );
        assert_eq!(long.postdeploy(), Some("rake x"));
        let declared = long.declared_addons().unwrap();
        let name = declared[0].attachment.as_deref();
        assert_eq!((declared[0].plan.as_str(), name), ("a", Some("B")));
        for odd in [
            r#"{"scripts": 1, "addons": {"a": 1}}"#,
            r#"{"scripts": [], "addons": null}"#,
        ] {
            let odd = parse(odd);
            assert_eq!((odd.postdeploy(), odd.declared_addons()), (None, None));
        }
    }

    #[test]
    fn size_with_more_memory_is_unavailable() {
        for (size, is_available) in [
            ("Standard-1X", true),
            ("eco", true),
            ("standard-2x", false),
            ("performance-l", false),
        ] {
            let text =
                format!(r#"{{"formation": {{"web": {{"quantity": 1, "size": "{size}"}}}}}}"#);
            let app = AppJson::parse(&text).unwrap();
            assert_eq!(app.unavailable_size().is_none(), is_available, "{size}");
        }
    }

    #[test]
    fn all_invalid_scheduled_commands_are_named() {
        let app = AppJson::parse(
            r#"{"cron": [{"schedule": "@daily", "command": "rake a", "missed": "skip"}]}"#,
        );
        assert_eq!(app.unwrap().cron.len(), 1);
        let error = AppJson::parse(
            r#"{"cron": [{"schedule": "* *", "command": "a"}, {"schedule": "@daily", "command": "a | b"},
                {"schedule": "@daily", "command": "a", "timezone": "Nowhere"}]}"#,
        );
        let error = error.unwrap_err().to_string();
        for part in [
            "entry 1: \"* *\"",
            "entry 2: \"a | b\"",
            "entry 3: \"Nowhere\"",
            "a valid example",
        ] {
            assert!(error.contains(part), "{part} is missing in {error}");
        }
        let job = r#"{"schedule": "@daily", "command": "a"},"#.repeat(MAX_JOBS);
        let many = format!(r#"{{"cron": [{job}{{"schedule": "@daily", "command": "a"}}]}}"#);
        assert!(matches!(AppJson::parse(&many), Err(AppJsonError::Cron(_))));
    }

    #[test]
    fn outbound_targets_are_parsed() {
        let list = |text: &str| AppJson::parse(text).unwrap().outbound;
        assert_eq!(list("{}"), None);
        assert_eq!(list(r#"{"outbound": null}"#), None);
        assert_eq!(list(r#"{"outbound": []}"#), Some(Vec::new()));
        let targets = list(r#"{"outbound": ["https://API.example.com:443/", "*", "10.0.0.0/8"]}"#);
        let targets: Vec<String> = targets.unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(targets, ["https://api.example.com", "*", "10.0.0.0/8"]);
    }

    #[test]
    fn all_invalid_outbound_entries_are_named_with_their_lines() {
        let text = "{\n  \"outbound\": [\n    \"https://good.example\",\n    \"db.example.com\",\n\
                    \n    \"tcp://db.example.com\",\n    \"https://u:secret@h.example\"]\n}";
        let error = AppJson::parse(text).unwrap_err().to_string();
        for part in [
            "line 4: \"db.example.com\" has no scheme",
            "line 6: \"tcp://db.example.com\" has no port",
            "line 7: an entry has a user name or a password",
            "a valid example: {\"outbound\": [\"https://api.example.com\"",
        ] {
            assert!(error.contains(part), "{part} is missing in {error}");
        }
        assert!(!error.contains("secret"), "{error}");
        for invalid in [
            r#"{"outbound": "https://a.example"}"#,
            r#"{"outbound": [1]}"#,
            r#"{"outbound": {"a": 1}}"#,
        ] {
            let error = AppJson::parse(invalid).unwrap_err().to_string();
            assert!(error.contains("line 1"), "{error}");
        }
        let many = format!(r#"{{"outbound": [{}"*"]}}"#, r#""*", "#.repeat(MAX_TARGETS));
        let error = AppJson::parse(&many).unwrap_err();
        assert!(matches!(error, AppJsonError::ManyTargets(257)), "{error}");
    }

    #[test]
    fn invalid_value_is_named() {
        let error = AppJson::parse(r#"{"isolation": "process"}"#).unwrap_err();
        assert!(error.to_string().contains("process"), "{error}");
        assert!(AppJson::parse("[").is_err());
        assert_eq!(AppJson::parse("{}").unwrap(), AppJson::default());
    }
}
