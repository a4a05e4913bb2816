//! The version of Ruby that an app asks for, and the series that it gets.

use corundum_pack::ruby::Series;

use crate::requirement::Requirement;

/// Texts of the files that may name a version of Ruby.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct VersionFiles {
    /// `Gemfile.lock`.
    pub lockfile: Option<String>,
    /// `Gemfile`.
    pub gemfile: Option<String>,
    /// `.ruby-version`.
    pub ruby_version: Option<String>,
    /// `.tool-versions`.
    pub tool_versions: Option<String>,
    /// The file that the Gemfile names, if it is another one ([`other_file`]).
    pub other: Option<String>,
}

/// A version of Ruby that no pack has. The app's author asks for another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: unsupported Ruby version {asked}\nUse one of 3.2, 3.3, 3.4 or 4.0: {}", .syntax.advice(.file))]
pub struct UnknownRuby {
    /// File that asks for it.
    pub file: String,
    /// Requirement in the file.
    pub asked: String,
    syntax: VersionSyntax,
}

/// The way in which a file names a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum VersionSyntax {
    Lockfile,
    Gemfile,
    /// A file that is a version.
    Plain,
    /// Lines with a tool and its version.
    Tools,
}

/// The version that an app asks for.
struct AskedRuby {
    file: String,
    requirement: String,
    syntax: VersionSyntax,
}

/// The argument of `ruby` in a Gemfile.
enum GemfileRuby {
    Requirement(String),
    File(String),
}

impl VersionSyntax {
    /// Returns the change of `file` that asks for the default series.
    fn advice(self, file: &str) -> String {
        let series = Series::DEFAULT;
        match self {
            Self::Gemfile => format!("write, for example, ruby \"~> {series}.0\""),
            Self::Lockfile => format!(
                "write, for example, ruby \"~> {series}.0\" into the Gemfile, run bundle update --ruby, and commit both files"
            ),
            Self::Plain => format!("write, for example, the line {series} into {file}"),
            Self::Tools => format!("write, for example, the line ruby {series}.0 into {file}"),
        }
    }
}

/// Chooses the series that the files ask for.
///
/// The lockfile takes precedence over the Gemfile, the Gemfile over `.ruby-version`, and that over `.tool-versions`.
///
/// # Errors
///
/// [`UnknownRuby`].
pub fn choose_series(files: &VersionFiles) -> Result<Series, UnknownRuby> {
    let Some(asked) = asked(files) else {
        return Ok(Series::DEFAULT);
    };
    satisfying(&asked.requirement).ok_or_else(|| UnknownRuby {
        file: asked.file,
        asked: asked.requirement.chars().take(40).collect(),
        syntax: asked.syntax,
    })
}

/// Describes the difference between the version that the files ask for and `own`, the version of the pack. Returns `None`
/// if the pack's is what they ask for.
pub fn difference(files: &VersionFiles, own: &str) -> Option<String> {
    let asked = asked(files)?;
    let satisfied = |part: &str| {
        let numbers = part.split('.').count();
        let is_exact = part.starts_with(|c: char| c.is_ascii_digit() || c == '=');
        // A series alone, as in `3.3`, asks for any of its versions.
        (is_exact && numbers < 3) || is_satisfied(part, own).unwrap_or(true)
    };
    let requirement = without_patch_level(&asked.requirement);
    let all = requirement.split(',').map(str::trim).all(satisfied);
    let (file, shown) = (asked.file, requirement);
    (!all).then(|| format!("{file} asks for Ruby {shown}, and the app runs on {own}"))
}

/// Returns the path of the file that a Gemfile names as the source of the version, unless it is one of the files that
/// [`VersionFiles`] has anyway.
pub fn other_file(gemfile: &str) -> Option<String> {
    match in_gemfile(gemfile)? {
        GemfileRuby::File(path) if ![".ruby-version", ".tool-versions"].contains(&&*path) => {
            Some(path)
        }
        _ => None,
    }
}

fn is_satisfied(requirement: &str, version: &str) -> Option<bool> {
    let requirement = Requirement::parse([requirement]).ok()?;
    Some(requirement.is_satisfied_by(&version.parse().ok()?))
}

/// Removes the `p100` of `3.3.5p100`, which lockfiles of older Bundlers have.
fn without_patch_level(requirement: &str) -> String {
    let is_level = |level: &str| !level.is_empty() && level.bytes().all(|b| b.is_ascii_digit());
    match requirement.rsplit_once('p') {
        Some((version, level)) if is_level(level) => version.to_owned(),
        _ => requirement.to_owned(),
    }
}

/// Finds the first file that names a version.
fn asked(files: &VersionFiles) -> Option<AskedRuby> {
    let named = |file: &str, requirement: String, syntax| AskedRuby {
        file: file.to_owned(),
        requirement,
        syntax,
    };
    if let Some(version) = files.lockfile.as_deref().and_then(in_lockfile) {
        return Some(named("Gemfile.lock", version, VersionSyntax::Lockfile));
    }
    let plain = |file: &str, text: Option<&str>| {
        let version = in_version_file(text?)?;
        Some(named(file, version, VersionSyntax::Plain))
    };
    let tools = |file: &str, text: Option<&str>| {
        let version = in_tool_versions(text?)?;
        Some(named(file, version, VersionSyntax::Tools))
    };
    let of_gemfile = match files.gemfile.as_deref().and_then(in_gemfile) {
        Some(GemfileRuby::Requirement(version)) => {
            Some(named("Gemfile", version, VersionSyntax::Gemfile))
        }
        Some(GemfileRuby::File(path)) => match path.as_str() {
            ".ruby-version" => plain(&path, files.ruby_version.as_deref()),
            ".tool-versions" => tools(&path, files.tool_versions.as_deref()),
            // Bundler reads a file by its name's end.
            other if other.ends_with(".tool-versions") => tools(other, files.other.as_deref()),
            other => plain(other, files.other.as_deref()),
        },
        None => None,
    };
    of_gemfile
        .or_else(|| plain(".ruby-version", files.ruby_version.as_deref()))
        .or_else(|| tools(".tool-versions", files.tool_versions.as_deref()))
}

/// Reads the line below `RUBY VERSION`.
fn in_lockfile(text: &str) -> Option<String> {
    let after = text
        .lines()
        .skip_while(|line| line.trim_end() != "RUBY VERSION")
        .nth(1)?;
    Some(after.trim().strip_prefix("ruby ")?.to_owned())
}

/// Reads the arguments of `ruby` in a Gemfile, as far as they are literal: `"…"`, `["…", "…"]`, `file: "…"` and
/// `File.read("…")`. The build evaluates the Gemfile; this only chooses the Ruby to evaluate it with.
fn in_gemfile(text: &str) -> Option<GemfileRuby> {
    text.lines().find_map(|line| {
        let rest = line.trim().strip_prefix("ruby")?;
        let mut rest = rest
            .strip_prefix([' ', '(', '\t'])?
            .trim_start_matches([' ', '(']);
        let mut requirements = Vec::new();
        loop {
            rest = rest.trim_start_matches([' ', '\t', '[', ']', ',']);
            if let Some((text, after)) = literal(rest) {
                requirements.push(text);
                rest = after;
                continue;
            }
            if !requirements.is_empty() {
                return Some(GemfileRuby::Requirement(requirements.join(", ")));
            }
            let file = ["file:", ":file =>", "File.read("]
                .iter()
                .find_map(|prefix| rest.strip_prefix(prefix))?;
            let (path, _) = literal(file.trim_start())?;
            let path = path.strip_prefix("./").unwrap_or(path);
            return Some(GemfileRuby::File(path.to_owned()));
        }
    })
}

/// Reads a string literal at the beginning of Ruby code, and returns its text and the code behind it.
fn literal(code: &str) -> Option<(&str, &str)> {
    let quote = code.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    code[1..].split_once(quote)
}

/// Reads the first line of `.ruby-version`.
fn in_version_file(text: &str) -> Option<String> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.strip_prefix("ruby-").unwrap_or(line).to_owned())
}

/// Reads the first version of `ruby` in `.tool-versions`.
fn in_tool_versions(text: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        (words.next() == Some("ruby")).then(|| words.next().map(str::to_owned))?
    })
}

/// Finds a series that satisfies all requirements: the default if it does, else the newest.
///
/// Only the first two numbers count. A pack has one patch level, and an app that asks for another one of the same
/// series gets the pack's; [`difference`] says so.
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

    fn with_gemfile(line: &str) -> VersionFiles {
        VersionFiles {
            gemfile: Some(format!("source 'https://rubygems.org'\n{line}\n")),
            ..VersionFiles::default()
        }
    }

    fn gemfile(line: &str) -> Result<Series, UnknownRuby> {
        choose_series(&with_gemfile(line))
    }

    #[test]
    fn lockfile_takes_precedence() {
        assert_eq!(choose_series(&lockfile("3.3.5p100")), Ok(Series::Ruby33));
        assert_eq!(choose_series(&VersionFiles::default()), Ok(Series::DEFAULT));
        let both = VersionFiles {
            gemfile: Some("ruby '3.2.2'".into()),
            ..lockfile("3.4.1")
        };
        assert_eq!(choose_series(&both), Ok(Series::Ruby34));
    }

    #[test]
    fn requirements_of_a_gemfile_choose_the_series() {
        for (line, series) in [
            ("ruby '3.2.2'", Series::Ruby32),
            ("ruby \"~> 3.3.0\"", Series::Ruby33),
            ("ruby(\"3.3.1\")", Series::Ruby33),
            ("ruby '>= 3.1'", Series::DEFAULT),
            ("ruby '>= 3.2', '< 3.4'", Series::Ruby33),
            ("ruby ['>= 3.2', '< 3.3']", Series::Ruby32),
            ("ruby '> 3.4'", Series::Ruby40),
            ("ruby '3.2.2', engine: 'ruby'", Series::Ruby32),
            ("ruby '3.2.2' unless ENV['CI']", Series::Ruby32),
            ("ruby ENV['RUBY']", Series::DEFAULT),
            ("gem 'ruby-x'", Series::DEFAULT),
        ] {
            assert_eq!(gemfile(line), Ok(series), "{line}");
        }
    }

    #[test]
    fn file_that_the_gemfile_names_chooses_the_series() {
        for line in [
            "ruby file: '.ruby-version'",
            "ruby file: \"./.ruby-version\"",
            "ruby(:file => '.ruby-version')",
            "ruby File.read('.ruby-version').strip",
        ] {
            let files = VersionFiles {
                ruby_version: Some("ruby-3.2.1\n".into()),
                ..with_gemfile(line)
            };
            assert_eq!(choose_series(&files), Ok(Series::Ruby32), "{line}");
            assert_eq!(other_file(line), None, "{line}");
        }
        let tools = VersionFiles {
            tool_versions: Some("nodejs 20\nruby 3.4.1 3.2.0 # both\n".into()),
            ..with_gemfile("ruby file: '.tool-versions'")
        };
        assert_eq!(choose_series(&tools), Ok(Series::Ruby34));
        let line = "ruby file: 'config/ruby'";
        assert_eq!(other_file(line).as_deref(), Some("config/ruby"));
        let other = VersionFiles {
            other: Some("4.0.0".into()),
            ..with_gemfile(line)
        };
        assert_eq!(choose_series(&other), Ok(Series::Ruby40));
    }

    #[test]
    fn advice_is_in_the_syntax_of_the_file() {
        let plain = |text: &str| VersionFiles {
            ruby_version: Some(text.into()),
            ..VersionFiles::default()
        };
        let tools = VersionFiles {
            tool_versions: Some("ruby 2.7.1".into()),
            ..VersionFiles::default()
        };
        let by_file = VersionFiles {
            gemfile: Some("ruby file: '.ruby-version'".into()),
            ..plain("3.1.4")
        };
        for (files, start, advice) in [
            (
                with_gemfile("ruby '2.7.1'"),
                "Gemfile: unsupported Ruby version 2.7.1\n",
                ": write, for example, ruby \"~> 3.3.0\"",
            ),
            (
                lockfile("2.7.1p83"),
                "Gemfile.lock: unsupported Ruby version 2.7.1p83\n",
                "run bundle update --ruby, and commit both files",
            ),
            (
                plain("3.1.4\n"),
                ".ruby-version: unsupported Ruby version 3.1.4\n",
                "the line 3.3 into .ruby-version",
            ),
            (
                plain("jruby-9\n"),
                ".ruby-version: unsupported Ruby version jruby-9\n",
                "the line 3.3 into .ruby-version",
            ),
            (
                by_file,
                ".ruby-version: unsupported Ruby version 3.1.4\n",
                "the line 3.3 into .ruby-version",
            ),
            (
                tools,
                ".tool-versions: unsupported Ruby version 2.7.1\n",
                "the line ruby 3.3.0 into .tool-versions",
            ),
        ] {
            let error = choose_series(&files).unwrap_err().to_string();
            let advice = advice.replace("3.3", Series::DEFAULT.as_str());
            assert!(error.starts_with(start), "{error}");
            assert!(error.ends_with(&advice), "{error}");
        }
    }

    #[test]
    fn advice_is_itself_accepted() {
        let series = Series::DEFAULT;
        for files in [
            with_gemfile(&format!("ruby \"~> {series}.0\"")),
            VersionFiles {
                ruby_version: Some(series.to_string()),
                ..VersionFiles::default()
            },
            VersionFiles {
                tool_versions: Some(format!("ruby {series}.0")),
                ..VersionFiles::default()
            },
        ] {
            assert_eq!(choose_series(&files), Ok(series), "{files:?}");
        }
    }

    #[test]
    fn other_version_than_the_locked_one_is_described() {
        for (asked, same) in [
            ("3.3.8", true),
            ("3.3.8p144", true),
            ("3.3.5", false),
            ("3.3.5p100", false),
        ] {
            let text = difference(&lockfile(asked), "3.3.8");
            assert_eq!(text.is_none(), same, "{asked}: {text:?}");
        }
        assert_eq!(
            difference(&lockfile("3.3.5p100"), "3.3.8").unwrap(),
            "Gemfile.lock asks for Ruby 3.3.5, and the app runs on 3.3.8"
        );
        for (line, same) in [
            ("ruby '~> 3.3.0'", true),
            ("ruby '~> 3.3.9'", false),
            ("ruby '>= 3.2', '< 3.4'", true),
            ("ruby '3.3'", true),
            ("ruby '3.3.1'", false),
        ] {
            let text = difference(&with_gemfile(line), "3.3.8");
            assert_eq!(text.is_none(), same, "{line}: {text:?}");
        }
        assert_eq!(difference(&VersionFiles::default(), "3.3.8"), None);
    }
}
