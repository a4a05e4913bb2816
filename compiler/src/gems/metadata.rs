//! Parser of a gem's metadata.
//!
//! RubyGems writes the metadata as YAML in one form: keys at the start of a line, and their values behind them or in
//! further lines that begin with a space or a dash. The parser knows that form and nothing else of YAML.

use std::fmt;

/// Metadata of a gem.
pub(super) struct GemMetadata<'a>(&'a str);

/// A dependency of a gem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GemDependency {
    /// Name of the gem.
    pub name: String,
    /// Requirement on its version; empty for any version.
    pub requirement: Vec<String>,
}

impl GemDependency {
    fn of(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            requirement: Vec::new(),
        }
    }
}

impl fmt::Display for GemDependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.requirement.as_slice() {
            [] => f.write_str(&self.name),
            clauses => write!(f, "{} ({})", self.name, clauses.join(", ")),
        }
    }
}

/// A gem whose metadata names another gem than the one that the lockfile asks for.
#[derive(Debug, thiserror::Error)]
#[error("it holds {name} {version}")]
pub(super) struct WrongGem {
    name: String,
    version: String,
}

impl<'a> GemMetadata<'a> {
    /// Wraps the text of the metadata.
    pub(super) fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// Returns the text behind `key:`, and the lines that belong to the key.
    fn find(&self, key: &str) -> Option<(&'a str, impl Iterator<Item = &'a str> + use<'a>)> {
        let mut lines = self.0.lines();
        let value = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        Some((
            value.trim(),
            lines.take_while(|line| line.starts_with([' ', '-'])),
        ))
    }

    /// Reads a list of plain strings: `- value` lines, or `[]` behind the key.
    pub(super) fn list(&self, key: &str) -> Option<Vec<String>> {
        let (value, lines) = self.find(key)?;
        if !value.is_empty() {
            return Some(Vec::new());
        }
        let values = lines.map_while(|line| line.strip_prefix("- "));
        Some(values.map(|value| unquoted(value).to_owned()).collect())
    }

    /// Reads a requirement: pairs of `- - "OPERATOR"` and `version: VERSION` lines.
    pub(super) fn requirement(&self, key: &str) -> Vec<String> {
        let mut clauses = Vec::new();
        let mut operator = "";
        for line in self.find(key).into_iter().flat_map(|(_, lines)| lines) {
            let line = line.trim();
            if let Some(sign) = line.strip_prefix("- - ") {
                operator = unquoted(sign);
            } else if let Some(version) = line.strip_prefix("version:") {
                clauses.push(format!("{operator} {}", unquoted(version.trim())));
            }
        }
        clauses
    }

    /// Returns the text without the dependencies whose names `is_dropped` holds for, and these dependencies.
    pub(super) fn without_dependencies(
        &self,
        is_dropped: impl Fn(&str) -> bool,
    ) -> (String, Vec<GemDependency>) {
        let mut kept = String::with_capacity(self.0.len());
        let mut dropped: Vec<GemDependency> = Vec::new();
        let (mut inside, mut operator) = (false, None);
        let mut lines = self.0.split_inclusive('\n').peekable();
        while let Some(line) = lines.next() {
            if line.starts_with("- !ruby/object:Gem::Dependency") {
                let name = lines
                    .peek()
                    .and_then(|next| next.trim().strip_prefix("name:"));
                let name = name.map(|name| unquoted(name.trim()));
                inside = name.is_some_and(&is_dropped);
                dropped.extend(name.filter(|_| inside).map(GemDependency::of));
                operator = Some("");
            } else if !line.starts_with(' ') {
                inside = false;
            }
            if !inside {
                kept.push_str(line);
                continue;
            }
            let words = line.trim();
            if words.starts_with("type:") {
                // The same requirement follows once more, under its old name.
                operator = None;
                if words.ends_with(":development") {
                    dropped.pop();
                }
            } else if let (Some(sign), true) = (words.strip_prefix("- - "), operator.is_some()) {
                operator = Some(unquoted(sign));
            } else if let (Some(version), Some(sign)) = (words.strip_prefix("version:"), operator)
                && let Some(last) = dropped.last_mut()
            {
                let version = unquoted(version.trim());
                last.requirement.push(format!("{sign} {version}"));
            }
        }
        // A key without values is not an empty list.
        let kept = kept.replace("\ndependencies:\n", "\ndependencies: []\n");
        let kept = kept.replace("\ndependencies: []\n-", "\ndependencies:\n-");
        (kept, dropped)
    }

    /// Checks that the metadata describes this gem.
    pub(super) fn check(&self, name: &str, version: &str) -> Result<(), WrongGem> {
        let own_name = self.find("name").map(|(value, _)| unquoted(value));
        let own_version = self
            .find("version")
            .and_then(|(_, mut lines)| lines.find_map(|line| line.trim().strip_prefix("version:")));
        let own_version = own_version.map(|version| unquoted(version.trim()));
        if own_name == Some(name) && own_version == Some(version) {
            return Ok(());
        }
        let shown = |text: Option<&str>| text.unwrap_or("?").chars().take(40).collect();
        Err(WrongGem {
            name: shown(own_name),
            version: shown(own_version),
        })
    }
}

fn unquoted(value: &str) -> &str {
    value.trim_matches(['"', '\''])
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "--- !ruby/object:Gem::Specification
name: a
dependencies:
- !ruby/object:Gem::Dependency
  name: build
  requirement: !ruby/object:Gem::Requirement
    requirements:
    - - \"~>\"
      - !ruby/object:Gem::Version
        version: 2.8.2
    - - \"!=\"
      - !ruby/object:Gem::Version
        version: '2.8.3'
  type: :runtime
  prerelease: false
  version_requirements: !ruby/object:Gem::Requirement
    requirements:
    - - \"~>\"
      - !ruby/object:Gem::Version
        version: 2.8.2
- !ruby/object:Gem::Dependency
  name: 'other'
  type: :runtime
- !ruby/object:Gem::Dependency
  name: rake
  type: :development
extensions:
- ext/extconf.rb
";

    #[test]
    fn dependencies_are_dropped_by_name() {
        let metadata = GemMetadata::new(TEXT);
        let names = |dropped: Vec<GemDependency>| {
            let names = dropped.iter().map(ToString::to_string);
            names.collect::<Vec<_>>()
        };
        let (text, dropped) = metadata.without_dependencies(|name| name == "build");
        assert_eq!(names(dropped), ["build (~> 2.8.2, != 2.8.3)"]);
        let expected =
            "dependencies:\n- !ruby/object:Gem::Dependency\n  name: 'other'\n  type: :runtime\n";
        assert!(text.contains(expected) && text.starts_with("---"), "{text}");
        let (text, dropped) = metadata.without_dependencies(|_| true);
        assert_eq!(names(dropped), ["build (~> 2.8.2, != 2.8.3)", "other"]);
        assert!(
            text.contains("name: a\ndependencies: []\nextensions:\n- ext/extconf.rb\n"),
            "{text}"
        );
        let (text, dropped) = metadata.without_dependencies(|_| false);
        assert_eq!((text.as_str(), dropped.len()), (TEXT, 0));
    }
}
