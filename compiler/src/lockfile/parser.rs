//! Parser of `Gemfile.lock`, in the format that Bundler writes.
//!
//! Sections have titles in capitals. The sections `GEM`, `GIT`, `PATH` and `PLUGIN SOURCE` hold their settings indented
//! by two spaces, gems by four (`name (version)`), and the dependencies of a gem by six.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::gems::{GemOrigin, LockedGem, LockedRepository, Lockfile};
use crate::checksum::Checksum;
use crate::redact::without_credentials;

/// Sources of one section. Bundler has written one for each section for years.
const MAX_REMOTES: usize = 16;

/// Bytes of a source, which each gem from a folder or a repository holds.
const MAX_REMOTE_BYTES: usize = 1024;

/// A lockfile that cannot be parsed. The app's author corrects it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockfileError {
    /// The file has the conflict markers of an unfinished merge.
    #[error(
        "Gemfile.lock line {0}: merge conflict; resolve it, run bundle lock, and commit the result"
    )]
    Conflict(usize),
    /// A line does not fit its section.
    #[error(
        "Gemfile.lock line {line}: unexpected {text:?}; run bundle lock, and commit the result"
    )]
    Line {
        /// Line number, from 1.
        line: usize,
        /// Text of the line, without credentials.
        text: String,
    },
    /// A checksum is invalid.
    #[error(
        "Gemfile.lock line {line}: the checksum of {name} is not a SHA-256 of 64 hexadecimal digits; run bundle lock --add-checksums, and commit the result"
    )]
    Checksum {
        /// Line number, from 1.
        line: usize,
        /// Name of the gem.
        name: String,
    },
    /// A gem is locked twice.
    #[error(
        "Gemfile.lock line {line}: {name} is listed twice, from another source or in another version; run bundle lock, and commit the result"
    )]
    Duplicate {
        /// Line number, from 1.
        line: usize,
        /// Name of the gem.
        name: String,
    },
}

impl Lockfile {
    /// Parses a lockfile.
    ///
    /// # Errors
    ///
    /// [`LockfileError`].
    pub fn parse(text: &str) -> Result<Self, LockfileError> {
        let mut parser = LockfileParser::default();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim_end();
            let marks = ["<<<<<<<", "=======", ">>>>>>>"];
            if marks.iter().any(|mark| line.starts_with(mark)) {
                return Err(LockfileError::Conflict(number));
            }
            parser.line(number, line)?;
        }
        Ok(parser.finish())
    }
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum LockfileSection {
    #[default]
    None,
    Gem,
    Git,
    Path,
    Plugin,
    Platforms,
    Dependencies,
    Checksums,
    Ruby,
    Bundler,
}

impl LockfileSection {
    /// Returns the section with this title.
    fn from_title(title: &str) -> Option<Self> {
        Some(match title {
            "GEM" => Self::Gem,
            "GIT" => Self::Git,
            "PATH" => Self::Path,
            "PLUGIN SOURCE" => Self::Plugin,
            "PLATFORMS" => Self::Platforms,
            "DEPENDENCIES" => Self::Dependencies,
            "CHECKSUMS" => Self::Checksums,
            "RUBY VERSION" => Self::Ruby,
            "BUNDLED WITH" => Self::Bundler,
            _ => return None,
        })
    }
}

/// State after the lines parsed so far.
#[derive(Default)]
struct LockfileParser {
    lockfile: Lockfile,
    section: LockfileSection,
    /// Values of `remote:` in this section.
    remotes: Vec<String>,
    /// The same, for the gems that come now.
    servers: Arc<[String]>,
    /// Repository of this section.
    repository: Arc<LockedRepository>,
    /// Gem that the following dependencies belong to. None after a precompiled build whose plain form is locked too.
    current: Option<String>,
    /// Checksums by name and version, kept until the end because their section may come before the gems.
    checksums: BTreeMap<(String, String), Checksum>,
}

impl LockfileParser {
    fn line(&mut self, number: usize, line: &str) -> Result<(), LockfileError> {
        use LockfileSection::{
            Bundler, Checksums, Dependencies, Gem, Git, Path, Platforms, Plugin, Ruby,
        };
        let words = line.trim_start();
        let bad = || LockfileError::Line {
            line: number,
            text: without_credentials(words).chars().take(80).collect(),
        };
        match (self.section, line.len() - words.len()) {
            (_, 0) if words.is_empty() => {}
            (_, 0) => {
                self.section = LockfileSection::from_title(words).ok_or_else(bad)?;
                self.remotes.clear();
                self.servers = Arc::default();
                self.repository = Arc::default();
                self.current = None;
            }
            (Gem | Git | Path | Plugin, 2) => self.setting(words).ok_or_else(bad)?,
            (Gem | Git | Path | Plugin, 4) => {
                let (name, version) = name_and_version(words).ok_or_else(bad)?;
                self.gem(number, name, version)?;
            }
            (Gem | Git | Path | Plugin, 6) => self.dependency(words).ok_or_else(bad)?,
            (Platforms, 2) => self.lockfile.platforms.push(words.to_owned()),
            (Dependencies, 2) => {
                let name = words.split(' ').next().unwrap_or(words);
                let name = name.trim_end_matches('!');
                let name = is_plain(name).then_some(name).ok_or_else(bad)?;
                self.lockfile.dependencies.insert(name.to_owned());
            }
            (Checksums, 2) => self.checksum(number, words).ok_or_else(bad)??,
            (Ruby, _) => self.lockfile.ruby = Some(words.to_owned()),
            (Bundler, _) => self.lockfile.bundled_with = Some(words.to_owned()),
            _ => return Err(bad()),
        }
        Ok(())
    }

    /// Parses a setting such as `remote: …`, `revision: …` or `specs:`, and keeps the remotes.
    fn setting(&mut self, words: &str) -> Option<()> {
        let (key, value) = words.split_once(':')?;
        if key == "remote" {
            let value = value.trim();
            if self.remotes.len() >= MAX_REMOTES || value.len() > MAX_REMOTE_BYTES {
                return None;
            }
            self.remotes.push(value.to_owned());
            self.servers = self.remotes.iter().cloned().collect();
        }
        if self.section == LockfileSection::Git {
            self.repository_setting(key, value.trim())?;
        }
        is_plain(key).then_some(())
    }

    fn repository_setting(&mut self, key: &str, value: &str) -> Option<()> {
        let repository = Arc::make_mut(&mut self.repository);
        match key {
            "remote" => value.clone_into(&mut repository.remote),
            "revision" => {
                let is_digest =
                    (7..=64).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_hexdigit());
                value.clone_into(&mut repository.revision);
                return is_digest.then_some(());
            }
            "submodules" => repository.submodules = value == "true",
            _ => {}
        }
        Some(())
    }

    fn gem(&mut self, line: usize, name: &str, version: &str) -> Result<(), LockfileError> {
        let (version, platform) = version
            .split_once('-')
            .map_or((version, None), |(version, platform)| {
                (version, Some(platform))
            });
        let origin = self.origin();
        let known = self.lockfile.gems.get_mut(name);
        match (known, platform) {
            // A dyno uses the plain form and ignores precompiled builds.
            (Some(known), Some(_)) if known.platforms.is_empty() => {
                self.current = None;
                return Ok(());
            }
            (Some(known), Some(platform)) => known.platforms.push(platform.to_owned()),
            (Some(known), None) if known.platforms.is_empty() || known.origin != origin => {
                let name = name.to_owned();
                return Err(LockfileError::Duplicate { line, name });
            }
            (_, platform) => {
                let gem = LockedGem {
                    version: version.to_owned(),
                    platforms: platform.map(str::to_owned).into_iter().collect(),
                    dependencies: Vec::new(),
                    origin,
                    checksum: None,
                };
                self.lockfile.gems.insert(name.to_owned(), gem);
            }
        }
        self.current = Some(name.to_owned());
        Ok(())
    }

    fn origin(&self) -> GemOrigin {
        let first = || self.remotes.first().cloned().unwrap_or_default();
        match self.section {
            LockfileSection::Git => GemOrigin::Git(self.repository.clone()),
            LockfileSection::Path => GemOrigin::Path(first()),
            LockfileSection::Plugin => GemOrigin::Plugin(first()),
            _ => GemOrigin::Servers(self.servers.clone()),
        }
    }

    fn dependency(&mut self, words: &str) -> Option<()> {
        let name = words.split(' ').next()?.trim_end_matches('!');
        let name = is_plain(name).then_some(name)?;
        let Some(current) = &self.current else {
            // The dependency belongs to a precompiled build, unless there is no gem before it at all.
            return (!self.lockfile.gems.is_empty()).then_some(());
        };
        let gem = self.lockfile.gems.get_mut(current)?;
        gem.dependencies.push(name.to_owned());
        Some(())
    }

    /// Parses `name (version) sha256=…,…`. Bundler omits the digests of gems whose checksum it does not know.
    fn checksum(&mut self, line: usize, words: &str) -> Option<Result<(), LockfileError>> {
        let end = words.find(')')?;
        let (gem, digests) = words.split_at(end + 1);
        let (name, version) = name_and_version(gem)?;
        let mut digests = digests.split([',', ' ']);
        let Some(digest) = digests.find_map(|digest| digest.strip_prefix("sha256=")) else {
            return Some(Ok(()));
        };
        let name = name.to_owned();
        Some(match digest.parse() {
            Ok(checksum) => {
                self.checksums.insert((name, version.to_owned()), checksum);
                Ok(())
            }
            Err(_) => Err(LockfileError::Checksum { line, name }),
        })
    }

    fn finish(mut self) -> Lockfile {
        for gem in self.lockfile.gems.values_mut() {
            let mut seen = HashSet::new();
            gem.dependencies.retain(|name| seen.insert(name.clone()));
        }
        for (key, checksum) in self.checksums {
            // The version of a precompiled build contains its platform and so never equals a locked version.
            if let Some(gem) = self.lockfile.gems.get_mut(&key.0)
                && gem.version == key.1
            {
                gem.checksum = Some(checksum);
            }
        }
        self.lockfile
    }
}

/// Parses `rack (2.2.22)`.
fn name_and_version(words: &str) -> Option<(&str, &str)> {
    let (name, rest) = words.split_once(" (")?;
    let version = rest.strip_suffix(')')?;
    (is_plain(name) && is_plain(version)).then_some((name, version))
}

/// Returns whether a path and a URL can contain the text unescaped.
fn is_plain(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    !text.is_empty() && text.bytes().all(plain) && !text.starts_with(['.', '-'])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EXAMPLE: &str = "GIT
  remote: https://example.com/x.git
  revision: 0f2c7a1
  branch: main
  glob: gems/*/*.gemspec
  submodules: true
  specs:
    x (0.1)
      rack

PATH
  remote: engines/shop
  specs:
    shop (1.0.0.pre.1)
      x!

PLUGIN SOURCE
  remote: s3://bucket
  type: s3
  specs:
    stored (1.0)

GEM
  remote: https://rubygems.org/
  remote: https://gems.example.com/
  specs:
    grpc (1.60.0-x86_64-linux)
      googleapis
    grpc (1.60.0-arm64-darwin)
    nokogiri (1.16.0)
      racc (~> 1.4)
    nokogiri (1.16.0-x86_64-linux)
      other
    rack (2.2.22)
    rails (8.0.0.rc2)
    sinatra (3.0.5)
      mustermann (~> 3.0)
      rack (~> 2.2, >= 2.2.4)
    mustermann (3.0.0)

GEM
  remote: https://private.example.com/
  specs:
    secret (1.0)

PLATFORMS
  ruby
  x86_64-linux

DEPENDENCIES
  rails (= 8.0.0.rc2)
  sinatra (~> 3.0)
  x!

CHECKSUMS
  mustermann (3.0.0)
  rack (2.2.22) sha256=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
  rails (8.0.0.rc1) sha256=bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
  nokogiri (1.16.0-x86_64-linux) sha256=cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc
  x (0.1)

RUBY VERSION
   ruby 3.4.1p0

BUNDLED WITH
   2.5.6
";

    fn example() -> Lockfile {
        Lockfile::parse(EXAMPLE).unwrap()
    }

    #[test]
    fn every_section_is_parsed() {
        let lockfile = Lockfile::parse(&EXAMPLE.replace('\n', "\r\n")).unwrap();
        let sinatra = &lockfile.gems["sinatra"];
        assert_eq!(
            (sinatra.version.as_str(), sinatra.dependencies.len()),
            ("3.0.5", 2)
        );
        let names: Vec<_> = lockfile.dependencies.iter().collect();
        assert_eq!(names, ["rails", "sinatra", "x"]);
        assert_eq!(lockfile.platforms, ["ruby", "x86_64-linux"]);
        assert_eq!(lockfile.ruby.as_deref(), Some("ruby 3.4.1p0"));
        assert_eq!(lockfile.bundled_with.as_deref(), Some("2.5.6"));
        assert_eq!(lockfile, example());
    }

    #[test]
    fn gem_has_the_origin_of_its_section() {
        let lockfile = example();
        let both = ["https://rubygems.org/", "https://gems.example.com/"].map(str::to_owned);
        let private = ["https://private.example.com/".to_owned()].into();
        let repository = LockedRepository {
            remote: "https://example.com/x.git".to_owned(),
            revision: "0f2c7a1".to_owned(),
            submodules: true,
        };
        for (name, origin) in [
            ("x", GemOrigin::Git(repository.into())),
            ("shop", GemOrigin::Path("engines/shop".to_owned())),
            ("stored", GemOrigin::Plugin("s3://bucket".to_owned())),
            ("rack", GemOrigin::Servers(both.into())),
            ("secret", GemOrigin::Servers(private)),
        ] {
            assert_eq!(lockfile.gems[name].origin, origin);
        }
        assert_eq!(lockfile.gems["shop"].version, "1.0.0.pre.1");
        assert_eq!(lockfile.gems["rails"].version, "8.0.0.rc2");
    }

    #[test]
    fn plain_form_takes_precedence_over_precompiled_builds() {
        let lockfile = example();
        let nokogiri = &lockfile.gems["nokogiri"];
        assert_eq!(nokogiri.version, "1.16.0");
        assert!(nokogiri.platforms.is_empty());
        assert_eq!(nokogiri.dependencies, ["racc"]);
        assert_eq!(
            lockfile.gems["grpc"].platforms,
            ["x86_64-linux", "arm64-darwin"]
        );
        let later = "GEM\n  specs:\n    a (1-java)\n      b\n    a (1)\n      c\n";
        let later = Lockfile::parse(later).unwrap();
        assert!(later.gems["a"].platforms.is_empty());
        assert_eq!(later.gems["a"].dependencies, ["c"]);
    }

    #[test]
    fn checksum_belongs_to_the_plain_form_of_the_locked_version() {
        let lockfile = example();
        let rack = lockfile.gems["rack"].checksum.unwrap().to_string();
        assert_eq!(rack, "a".repeat(64));
        for name in ["mustermann", "rails", "nokogiri", "x"] {
            assert_eq!(lockfile.gems[name].checksum, None, "{name}");
        }
        let error = Lockfile::parse("CHECKSUMS\n  rack (2.2) sha256=abcd\n").unwrap_err();
        assert!(matches!(error, LockfileError::Checksum { line: 2, .. }));
    }

    #[test]
    fn dependencies_come_before_their_gem() {
        assert_eq!(
            example().in_dependency_order(["sinatra".to_owned()], |_| false),
            ["mustermann", "rack", "sinatra"]
        );
        assert_eq!(
            example().in_dependency_order(["sinatra".to_owned()], |name| name == "sinatra"),
            ["sinatra"]
        );
    }

    #[test]
    fn dependency_path_is_the_shortest_one() {
        let text = "GEM\n  specs:\n    a (1)\n      b\n      d\n    b (1)\n      c\n    c (1)\n      a\n    d (1)\n      c\n";
        let lockfile = Lockfile::parse(text).unwrap();
        assert_eq!(lockfile.dependency_path(["a"], "c"), ["c", "b", "a"]);
        assert_eq!(lockfile.dependency_path(["a", "d"], "c"), ["c", "d"]);
        assert_eq!(lockfile.dependency_path(["c"], "c"), ["c"]);
        assert!(lockfile.dependency_path(["a"], "x").is_empty());
    }

    #[test]
    fn errors_name_the_line() {
        assert_eq!(
            Lockfile::parse("GEM\n<<<<<<< HEAD\n"),
            Err(LockfileError::Conflict(2))
        );
        for (text, expected) in [
            ("GEM\n  specs:\n    ../x (1)\n", 3),
            ("GEM\n  specs:\n    x (../1)\n", 3),
            ("GEM\n  specs:\n      x\n", 3),
            ("GEM\n  nonsense\n", 2),
            ("GIT\n  remote: x\n  revision: --help\n", 3),
            ("GEMS\n", 1),
            ("PLATFORMS\n  ruby\n\nDEPENDENCIES\n  ../x\n", 5),
            ("CHECKSUMS\n  x\n", 2),
            ("  x\n", 1),
        ] {
            let error = Lockfile::parse(text).unwrap_err();
            assert!(
                matches!(error, LockfileError::Line { line, .. } if line == expected),
                "{text}: {error}"
            );
        }
        let twice = "GEM\n  specs:\n    a (1)\n\nPATH\n  remote: a\n  specs:\n    a (1)\n";
        assert!(matches!(
            Lockfile::parse(twice),
            Err(LockfileError::Duplicate { line: 8, .. })
        ));
    }

    #[test]
    fn gems_of_a_section_share_its_sources() {
        let gems: String = (0..1000)
            .map(|index| format!("    a{index} (1)\n"))
            .collect();
        let sources = |count: usize, length: usize| {
            let remote = format!("  remote: https://{}\n", "a".repeat(length - 8));
            Lockfile::parse(&format!("GEM\n{}  specs:\n{gems}", remote.repeat(count)))
        };
        let lockfile = sources(MAX_REMOTES, MAX_REMOTE_BYTES).unwrap();
        let servers = |name: &str| match &lockfile.gems[name].origin {
            GemOrigin::Servers(servers) => servers.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(servers("a0").len(), MAX_REMOTES);
        assert!(Arc::ptr_eq(&servers("a0"), &servers("a999")));
        for (count, length) in [(MAX_REMOTES + 1, 20), (1, MAX_REMOTE_BYTES + 1)] {
            let refused = sources(count, length);
            assert!(matches!(refused, Err(LockfileError::Line { .. })));
        }
    }

    #[test]
    fn repeated_dependencies_count_once_in_their_order() {
        let names = (0..50_000).map(|index| format!("      a{index}\n      a{}\n", index / 2));
        let text = format!("GEM\n  specs:\n    a (1)\n{}", names.collect::<String>());
        let lockfile = Lockfile::parse(&text).unwrap();
        let dependencies = &lockfile.gems["a"].dependencies;
        assert_eq!(dependencies.len(), 50_000);
        assert_eq!(dependencies[..3], ["a0", "a1", "a2"]);
    }

    #[test]
    fn errors_hide_credentials() {
        let error = Lockfile::parse("remote: https://me:secret@example.com/\n").unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    proptest! {
        #[test]
        fn arbitrary_text_does_not_panic(text in "([A-Z ]{0,8}|[ ]{0,7}[a-z(){}=!. ]{0,12}|\n){0,40}") {
            let _ = Lockfile::parse(&text);
        }

        #[test]
        fn arbitrary_line_of_any_section_does_not_panic(
            lines in proptest::collection::vec(("(GEM|GIT|PATH|CHECKSUMS|DEPENDENCIES)?", "[ ]{0,7}", "[a-z(){}=!.:@/ -]{0,14}"), 0..20)
        ) {
            let text: Vec<String> = lines.iter().map(|(title, indent, words)| format!("{title}\n{indent}{words}")).collect();
            let _ = Lockfile::parse(&text.join("\n"));
        }
    }
}
