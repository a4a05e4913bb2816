//! Detection of an app's language and of the series of Ruby that it asks for.

use corundum_pack::ruby::Series;

/// Texts of the files that may name a version of Ruby.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct VersionFiles {
    /// `Gemfile.lock`.
    pub lockfile: Option<String>,
    /// `Gemfile`.
    pub gemfile: Option<String>,
    /// `.ruby-version`.
    pub ruby_version: Option<String>,
}

impl VersionFiles {
    /// Tells whether the lockfile has Rails, of which every app has the gem railties.
    pub fn is_rails(&self) -> bool {
        let lines = self.lockfile.iter().flat_map(|text| text.lines());
        lines
            .into_iter()
            .any(|line| line.trim_start().starts_with("railties ("))
    }
}

/// A version of Ruby that no pack has. The app's author asks for another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{file}: unsupported Ruby version {asked}\nUse one of 3.2, 3.3, 3.4 or 4.0, for example: ruby \"~> 3.4.0\""
)]
pub struct UnknownRuby {
    /// File that asks for it.
    pub file: &'static str,
    /// Requirement in the file.
    pub asked: String,
}

/// A tree without a Ruby app. The pusher may have pushed the wrong folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "no app detected: a Ruby app has a Gemfile or a config.ru in the root of its repository\nIf the app is in a folder, push that folder: git subtree push --prefix FOLDER corundum main"
)]
pub struct NotDetected;

/// Checks that a tree is a Ruby app: it has a Gemfile, as on Heroku, or at least a `config.ru`.
///
/// # Errors
///
/// [`NotDetected`].
pub fn detect(has_file: impl Fn(&str) -> bool) -> Result<(), NotDetected> {
    if has_file("Gemfile") || has_file("config.ru") {
        Ok(())
    } else {
        Err(NotDetected)
    }
}

/// Chooses the series that the files ask for.
///
/// The lockfile takes precedence over the Gemfile, and the Gemfile over `.ruby-version`.
///
/// # Errors
///
/// [`UnknownRuby`].
pub fn choose_series(files: &VersionFiles) -> Result<Series, UnknownRuby> {
    let asked = [
        (
            "Gemfile.lock",
            files.lockfile.as_deref().and_then(in_lockfile),
        ),
        ("Gemfile", files.gemfile.as_deref().and_then(in_gemfile)),
        (
            ".ruby-version",
            files.ruby_version.as_deref().and_then(in_ruby_version),
        ),
    ];
    for (file, asked) in asked {
        let Some(asked) = asked else { continue };
        let unknown = || UnknownRuby {
            file,
            asked: asked.chars().take(40).collect(),
        };
        return satisfying(&asked).ok_or_else(unknown);
    }
    Ok(Series::DEFAULT)
}

/// Reads the line below `RUBY VERSION`.
fn in_lockfile(text: &str) -> Option<String> {
    let after = text
        .lines()
        .skip_while(|line| line.trim_end() != "RUBY VERSION")
        .nth(1)?;
    Some(after.trim().strip_prefix("ruby ")?.to_owned())
}

/// Reads the arguments of `ruby "…"`.
fn in_gemfile(text: &str) -> Option<String> {
    let line = text.lines().map(str::trim).find(|line| {
        let rest = line.strip_prefix("ruby");
        rest.is_some_and(|rest| rest.starts_with([' ', '(']) && rest.contains(['"', '\'']))
    })?;
    if line.contains("file:") {
        return None;
    }
    let quoted: Vec<&str> = line.split(['"', '\'']).skip(1).step_by(2).collect();
    Some(quoted.join(", "))
}

/// Reads the first line of `.ruby-version`.
fn in_ruby_version(text: &str) -> Option<String> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.strip_prefix("ruby-").unwrap_or(line).to_owned())
}

/// Finds a series that satisfies all requirements: the default if it does, else the newest.
///
/// Only the first two numbers count. A pack has one patch level, and an app that asks for another one of the same
/// series gets the pack's.
fn satisfying(requirements: &str) -> Option<Series> {
    let parts: Vec<&str> = requirements.split(',').map(str::trim).collect();
    let all = |series: &Series| {
        parts
            .iter()
            .all(|part| satisfies(*series, part).unwrap_or(false))
    };
    [Series::DEFAULT]
        .into_iter()
        .chain(Series::ALL.into_iter().rev())
        .find(all)
}

/// Compares a series with one requirement. Returns none if the requirement cannot be parsed.
fn satisfies(series: Series, requirement: &str) -> Option<bool> {
    let at = requirement.find(|c: char| c.is_ascii_digit())?;
    let (operator, version) = requirement.split_at(at);
    let mut numbers = version
        .split(['.', 'p', '-'])
        .map_while(|part| part.parse::<u32>().ok());
    let major = numbers.next()?;
    let minor = numbers.next();
    let patch = numbers.next();
    let mut own = series
        .as_str()
        .split('.')
        .filter_map(|part| part.parse::<u32>().ok());
    let own = (own.next()?, own.next()?);
    let wanted = (major, minor.unwrap_or(0));
    Some(match operator.trim() {
        "" | "=" => own == wanted || (minor.is_none() && own.0 == major),
        "~>" if patch.is_some() => own == wanted,
        "~>" => own.0 == wanted.0 && own >= wanted,
        ">=" => own >= wanted,
        ">" if patch.is_some() => own >= wanted,
        ">" => own > wanted,
        "<=" => own <= wanted,
        "<" => own < wanted,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lockfile(version: &str) -> VersionFiles {
        let text =
            format!("GEM\n  specs:\n\nRUBY VERSION\n   ruby {version}\n\nBUNDLED WITH\n   2.5\n");
        VersionFiles {
            lockfile: Some(text),
            ..VersionFiles::default()
        }
    }

    fn gemfile(line: &str) -> Result<Series, UnknownRuby> {
        let gemfile = Some(format!("source 'https://rubygems.org'\n{line}\n"));
        choose_series(&VersionFiles {
            gemfile,
            ..VersionFiles::default()
        })
    }

    #[test]
    fn lockfile_takes_precedence() {
        assert_eq!(choose_series(&lockfile("3.3.5p100")), Ok(Series::Ruby33));
        assert_eq!(choose_series(&VersionFiles::default()), Ok(Series::DEFAULT));
    }

    #[test]
    fn requirements_of_a_gemfile_choose_the_series() {
        assert_eq!(gemfile("ruby '3.2.2'"), Ok(Series::Ruby32));
        assert_eq!(gemfile("ruby \"~> 3.3.0\""), Ok(Series::Ruby33));
        assert_eq!(gemfile("ruby '>= 3.1'"), Ok(Series::DEFAULT));
        assert_eq!(gemfile("ruby '>= 3.2', '< 3.4'"), Ok(Series::Ruby33));
        assert_eq!(gemfile("ruby '> 3.4'"), Ok(Series::Ruby40));
        assert_eq!(gemfile("gem 'ruby-x'"), Ok(Series::DEFAULT));
    }

    #[test]
    fn unsupported_version_is_rejected_with_its_file() {
        let error = gemfile("ruby '2.7.1'").unwrap_err();
        assert_eq!((error.file, error.asked.as_str()), ("Gemfile", "2.7.1"));
        let files = VersionFiles {
            ruby_version: Some("jruby-9\n".into()),
            ..VersionFiles::default()
        };
        assert!(choose_series(&files).is_err());
    }

    #[test]
    fn tree_without_gemfile_and_config_ru_is_rejected() {
        assert_eq!(detect(|path| path == "config.ru"), Ok(()));
        assert_eq!(detect(|_| false), Err(NotDetected));
    }
}
