//! `Gemfile.lock`: which gems, in which versions, from where.
//!
//! The form is Bundler's: sections in capitals; under `GEM`, `GIT` and `PATH` their settings indented by two, gems by
//! four (`name (version)`), what those depend on by six.

use std::collections::{BTreeMap, BTreeSet};

/// A lockfile that is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockfileError {
    /// A merge was not finished.
    #[error(
        "Gemfile.lock line {0} is a merge conflict: resolve it, run bundle lock, and commit the result"
    )]
    Conflict(usize),
    /// A line that has no place in its section.
    #[error(
        "Gemfile.lock line {line} is not understood: {text:?}. Run bundle lock, and commit the result"
    )]
    Line {
        /// From 1.
        line: usize,
        /// The line.
        text: String,
    },
}

/// Where a gem comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A gem server.
    Remote(String),
    /// A git repository.
    Git(String),
    /// A folder of the app.
    Path(String),
}

/// A gem of the lockfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedGem {
    /// Its version, without a platform.
    pub version: String,
    /// Gems it depends on.
    pub dependencies: Vec<String>,
    /// Where it comes from.
    pub origin: Origin,
    /// Its SHA-256, if `CHECKSUMS` has it.
    pub sha256: Option<String>,
}

/// A lockfile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lockfile {
    /// Gems by name.
    pub gems: BTreeMap<String, LockedGem>,
    /// What the Gemfile asks for, by name.
    pub dependencies: BTreeSet<String>,
    /// The version of Bundler.
    pub bundled_with: Option<String>,
}

impl Lockfile {
    /// Reads a lockfile.
    ///
    /// # Errors
    ///
    /// [`LockfileError`].
    pub fn parse(text: &str) -> Result<Self, LockfileError> {
        let mut lockfile = Self::default();
        let mut section = String::new();
        let mut origin = Origin::Remote(String::new());
        let mut current: Option<String> = None;
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim_end();
            if ["<<<<<<<", "=======", ">>>>>>>"]
                .iter()
                .any(|mark| line.starts_with(mark))
            {
                return Err(LockfileError::Conflict(number));
            }
            if line.is_empty() {
                continue;
            }
            let bad = || LockfileError::Line {
                line: number,
                text: line.chars().take(80).collect(),
            };
            let words = line.trim_start();
            let indent = line.len() - words.len();
            if indent == 0 {
                section = words.to_owned();
                continue;
            }
            match (section.as_str(), indent) {
                ("GEM" | "GIT" | "PATH" | "PLUGIN SOURCE", 2) => {
                    if let Some(remote) = words.strip_prefix("remote: ") {
                        origin = match section.as_str() {
                            "GIT" => Origin::Git(remote.to_owned()),
                            "PATH" => Origin::Path(remote.to_owned()),
                            _ => Origin::Remote(remote.to_owned()),
                        };
                    }
                }
                ("GEM" | "GIT" | "PATH", 4) => {
                    let (name, version) = name_and_version(words).ok_or_else(bad)?;
                    let (version, platform) = version
                        .split_once('-')
                        .map_or((version, None), |(v, p)| (v, Some(p)));
                    current = Some(name.to_owned());
                    // Of a gem's platforms the plain one is wanted; another only marks that the gem exists.
                    if platform.is_some() && lockfile.gems.contains_key(name) {
                        continue;
                    }
                    let gem = LockedGem {
                        version: version.to_owned(),
                        dependencies: Vec::new(),
                        origin: origin.clone(),
                        sha256: None,
                    };
                    lockfile.gems.insert(name.to_owned(), gem);
                }
                ("GEM" | "GIT" | "PATH", 6) => {
                    let name = words.split(' ').next().ok_or_else(bad)?;
                    let gem = current
                        .as_ref()
                        .and_then(|current| lockfile.gems.get_mut(current));
                    let dependencies = &mut gem.ok_or_else(bad)?.dependencies;
                    if !dependencies.iter().any(|known| known == name) {
                        dependencies.push(name.to_owned());
                    }
                }
                ("DEPENDENCIES", 2) => {
                    let name = words
                        .split(' ')
                        .next()
                        .unwrap_or(words)
                        .trim_end_matches('!');
                    lockfile.dependencies.insert(name.to_owned());
                }
                ("CHECKSUMS", 2) => {
                    let (gem, digests) = words.split_once(") ").unwrap_or((words, ""));
                    let name = gem.split(' ').next().unwrap_or(gem);
                    let plain = gem
                        .split_once(" (")
                        .is_some_and(|(_, version)| !version.contains('-'));
                    let digest = digests
                        .split(',')
                        .find_map(|digest| digest.trim().strip_prefix("sha256="));
                    if let (Some(gem), Some(digest), true) =
                        (lockfile.gems.get_mut(name), digest, plain)
                    {
                        gem.sha256 = Some(digest.to_owned());
                    }
                }
                ("BUNDLED WITH", _) => lockfile.bundled_with = Some(words.to_owned()),
                ("PLATFORMS" | "RUBY VERSION" | "CHECKSUMS" | "PLUGIN SOURCE", _) => {}
                _ => return Err(bad()),
            }
        }
        Ok(lockfile)
    }

    /// The gems that `wanted` need, those they depend on before them.
    pub fn in_order(&self, wanted: impl IntoIterator<Item = String>) -> Vec<String> {
        let mut order = Vec::new();
        let mut seen = BTreeSet::new();
        // Names with whether what they depend on has been looked at; a stack of our own, since a lockfile may be deep.
        let mut left: Vec<(String, bool)> = wanted.into_iter().map(|name| (name, false)).collect();
        left.reverse();
        while let Some((name, ready)) = left.pop() {
            if ready {
                order.push(name);
                continue;
            }
            if !seen.insert(name.clone()) {
                continue;
            }
            let Some(gem) = self.gems.get(&name) else {
                continue;
            };
            left.push((name, true));
            left.extend(
                gem.dependencies
                    .iter()
                    .rev()
                    .map(|name| (name.clone(), false)),
            );
        }
        order
    }
}

/// `rack (2.2.22)`
fn name_and_version(words: &str) -> Option<(&str, &str)> {
    let (name, rest) = words.split_once(" (")?;
    let version = rest.strip_suffix(')')?;
    let plain = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
            && !text.starts_with('.')
    };
    (plain(name) && plain(version)).then_some((name, version))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EXAMPLE: &str = "GIT
  remote: https://example.com/x.git
  revision: abc
  specs:
    x (0.1)
      rack

GEM
  remote: https://rubygems.org/
  specs:
    nokogiri (1.16.0)
    nokogiri (1.16.0-x86_64-linux)
    rack (2.2.22)
    sinatra (3.0.5)
      mustermann (~> 3.0)
      rack (~> 2.2, >= 2.2.4)
    mustermann (3.0.0)

PLATFORMS
  ruby

DEPENDENCIES
  sinatra (~> 3.0)
  x!

CHECKSUMS
  rack (2.2.22) sha256=abcd
  nokogiri (1.16.0-x86_64-linux) sha256=ffff

RUBY VERSION
   ruby 3.4.1p0

BUNDLED WITH
   2.5.6
";

    #[test]
    fn every_section_is_read() {
        let lockfile = Lockfile::parse(&EXAMPLE.replace('\n', "\r\n")).unwrap();
        let sinatra = &lockfile.gems["sinatra"];
        assert_eq!(
            (sinatra.version.as_str(), sinatra.dependencies.len()),
            ("3.0.5", 2)
        );
        assert_eq!(
            sinatra.origin,
            Origin::Remote("https://rubygems.org/".into())
        );
        assert_eq!(
            lockfile.gems["x"].origin,
            Origin::Git("https://example.com/x.git".into())
        );
        assert_eq!(lockfile.gems["nokogiri"].version, "1.16.0");
        assert_eq!(lockfile.gems["rack"].sha256.as_deref(), Some("abcd"));
        assert_eq!(lockfile.gems["nokogiri"].sha256, None);
        assert_eq!(
            lockfile.dependencies.iter().collect::<Vec<_>>(),
            ["sinatra", "x"]
        );
        assert_eq!(lockfile.bundled_with.as_deref(), Some("2.5.6"));
    }

    #[test]
    fn what_a_gem_depends_on_comes_before_it() {
        let lockfile = Lockfile::parse(EXAMPLE).unwrap();
        assert_eq!(
            lockfile.in_order(["sinatra".to_owned()]),
            ["mustermann", "rack", "sinatra"]
        );
    }

    #[test]
    fn a_conflict_and_a_strange_line_are_named_by_number() {
        assert_eq!(
            Lockfile::parse("GEM\n<<<<<<< HEAD\n"),
            Err(LockfileError::Conflict(2))
        );
        let error = Lockfile::parse("GEM\n  specs:\n    ../x (1)\n").unwrap_err();
        assert!(
            matches!(error, LockfileError::Line { line: 3, .. }),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "([A-Z ]{0,8}|[ ]{0,7}[a-z(){}=!. ]{0,12}|\n){0,40}") {
            let _ = Lockfile::parse(&text);
        }
    }
}
