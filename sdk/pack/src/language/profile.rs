//! The profile of a language, which a pack's manifest contains.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

/// The facts of a language by which a node detects, builds and runs its apps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LanguageProfile {
    /// The language's name for people, such as `Lua`.
    pub title: String,
    /// The relation of the pack to the code of apps.
    #[serde(default)]
    pub kind: PackKind,
    /// SPDX expressions of the licences of everything in the pack.
    #[serde(default)]
    pub licences: Vec<String>,
    /// The step that installs an app's libraries.
    #[serde(default)]
    pub compile: CompileStep,
    /// The rules by which an app of the language is known.
    pub detect: DetectionRules,
    /// Defaults of the app's processes.
    pub run: RunDefaults,
    /// Paths and texts of the smallest app of the language.
    #[serde(default)]
    pub sample: BTreeMap<String, String>,
    /// Libraries in the pack, with their versions.
    #[serde(default)]
    pub provides: BTreeMap<String, String>,
}

/// The relation of a pack to the code of apps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PackKind {
    /// The pack has the runtime, whose code all apps share.
    #[default]
    Runtime,
    /// Each app brings a module of its own.
    Toolchain,
    /// Apps are `wasi:http` components. The name is reserved; this version runs none.
    Component,
}

/// The step that installs an app's libraries during a push.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CompileStep {
    /// The slug has the app's files as they were pushed.
    #[default]
    Copy,
    /// Gems are installed as Bundler would.
    Bundler,
}

/// Rules by which an app of a language is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DetectionRules {
    /// Files in the root of the repository, one of which every app of the language has.
    pub files: Vec<String>,
    /// Rank among the languages that a repository may be of; the highest one wins.
    #[serde(default = "default_rank")]
    pub rank: u8,
    /// Files that may name the version, the most important one first.
    #[serde(default)]
    pub version: Vec<VersionFile>,
}

fn default_rank() -> u8 {
    50
}

/// A file that may name the version of a language that an app asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct VersionFile {
    /// The path.
    pub file: String,
    /// The first word of the line with the version, as in `.tool-versions`. Without it, the first line is the version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
}

/// Defaults of the processes of an app.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RunDefaults {
    /// The command of the web process, if the Procfile names none.
    pub command: String,
    /// Variables of the environment, which config vars override.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Variables that follow each other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shared: Vec<SharedVariable>,
}

/// Variables with one meaning: each has the value of the first that is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SharedVariable {
    /// The variables.
    pub names: Vec<String>,
    /// The value if none is set.
    pub value: String,
}

impl LanguageProfile {
    /// The profile of a pack that brings none, as those in tests.
    pub(crate) fn unnamed() -> &'static Self {
        static UNNAMED: LazyLock<LanguageProfile> = LazyLock::new(LanguageProfile::default);
        &UNNAMED
    }

    /// Returns the environment of an app with these config vars.
    pub fn environ(
        &self,
        config: impl IntoIterator<Item = (String, String)>,
    ) -> Vec<(String, String)> {
        let mut environ: BTreeMap<String, String> = SYSTEM
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        environ.extend(self.run.env.clone());
        environ.extend(config);
        for shared in &self.run.shared {
            let set = shared.names.iter().find_map(|name| environ.get(name));
            let value = set.unwrap_or(&shared.value).clone();
            for name in &shared.names {
                environ.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        environ.into_iter().collect()
    }
}

/// Variables of every process, which the profile of its language overrides.
const SYSTEM: [(&str, &str); 5] = [
    ("HOME", "/app"),
    ("LANG", "C.UTF-8"),
    ("PATH", "/app/bin:/usr/local/bin:/usr/bin:/bin"),
    ("PORT", "5000"),
    ("TMPDIR", "/tmp"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn own(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn config_vars_override_the_profile_and_the_profile_the_system() {
        let profile = LanguageProfile {
            run: RunDefaults {
                env: [own("LANG", "de"), own("MODE", "fast")].into(),
                ..RunDefaults::default()
            },
            ..LanguageProfile::default()
        };
        let environ = profile.environ([own("MODE", "slow")]);
        for pair in [own("HOME", "/app"), own("LANG", "de"), own("MODE", "slow")] {
            assert!(environ.contains(&pair), "{pair:?}");
        }
    }
}
