//! The version of a language that an app asks for in a file, and the series that it gets.
//!
//! The rules for Ruby, whose version may also be in a Gemfile or a lockfile, are in [`crate::ruby_version`].

use corundum_pack::language::{BadPackName, KnownLanguage, LanguageSeries, VersionFile};

/// A version that no installed pack has. The app's author asks for another, or the operator installs a pack.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LanguageVersionError {
    /// No series fits.
    #[error(
        "{file}: no pack of {title} {asked} is installed; the node has {title} {installed}\nAsk for one of these in {file}, or have the operator install the pack"
    )]
    Missing {
        /// The file that asks for it.
        file: String,
        /// The language's name for people.
        title: String,
        /// The version.
        asked: String,
        /// The series that are installed.
        installed: String,
    },
    /// The name of the language or of a series is invalid, which is a mistake of the pack.
    #[error(transparent)]
    Name(#[from] BadPackName),
}

/// Chooses the series of an app: the newest that fits the version in the first of the language's files that names one,
/// otherwise the newest of all. `text` returns the text of a file.
///
/// # Errors
///
/// [`LanguageVersionError`].
pub fn choose_series(
    known: &KnownLanguage,
    text: impl Fn(&str) -> Option<String>,
) -> Result<LanguageSeries, LanguageVersionError> {
    let versions = &known.profile.detect.version;
    let asked = versions.iter().find_map(|rule| {
        let version = version_in(rule, &text(&rule.file)?)?;
        Some((rule.file.clone(), version))
    });
    let newest = || known.series.first().map_or("", String::as_str);
    let series = match &asked {
        None => newest(),
        Some((file, asked)) => {
            let fitting = known.series.iter().find(|series| fits(series, asked));
            fitting.ok_or_else(|| LanguageVersionError::Missing {
                file: file.clone(),
                title: known.profile.title.clone(),
                asked: asked.clone(),
                installed: known.series.join(", "),
            })?
        }
    };
    Ok(LanguageSeries::new(&known.language, series)?)
}

/// Returns the version that a file names.
fn version_in(rule: &VersionFile, text: &str) -> Option<String> {
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim());
    let mut versions = lines.filter_map(|line| match &rule.tool {
        None => Some(line).filter(|line| !line.is_empty()),
        Some(tool) => {
            let mut words = line.split_whitespace();
            (words.next() == Some(tool)).then(|| words.next())?
        }
    });
    let version = versions.next()?;
    // A leading `v` is usual in such files.
    let version = version.strip_prefix('v').unwrap_or(version);
    Some(version.chars().take(40).collect())
}

/// Returns whether a series is the one of a version: 5.4 of 5.4.7, and 5.4 of 5.
fn fits(series: &str, version: &str) -> bool {
    let mut pairs = series.split('.').zip(version.split('.'));
    pairs.all(|(one, other)| one == other)
}

#[cfg(test)]
mod tests {
    use corundum_pack::language::{DetectionRules, LanguageProfile};

    use super::*;

    fn lua() -> KnownLanguage {
        let rule = |file: &str, tool: Option<&str>| VersionFile {
            file: file.to_owned(),
            tool: tool.map(str::to_owned),
        };
        KnownLanguage {
            language: "lua".to_owned(),
            profile: LanguageProfile {
                title: "Lua".to_owned(),
                detect: DetectionRules {
                    version: vec![
                        rule(".lua-version", None),
                        rule(".tool-versions", Some("lua")),
                    ],
                    ..DetectionRules::default()
                },
                ..LanguageProfile::default()
            },
            series: vec!["5.4".to_owned(), "5.3".to_owned()],
        }
    }

    fn choose(files: &[(&str, &str)]) -> Result<String, LanguageVersionError> {
        let text = |path: &str| {
            let found = files.iter().find(|(name, _)| *name == path);
            found.map(|(_, text)| (*text).to_owned())
        };
        choose_series(&lua(), text).map(|series| series.series().to_owned())
    }

    #[test]
    fn version_files_choose_the_series_in_their_order() {
        assert_eq!(choose(&[]).as_deref(), Ok("5.4"));
        assert_eq!(
            choose(&[(".lua-version", "\nv5.3.6\n")]).as_deref(),
            Ok("5.3")
        );
        assert_eq!(choose(&[(".lua-version", "5")]).as_deref(), Ok("5.4"));
        let tools = (".tool-versions", "ruby 3.3.0\nlua 5.3 # old\n");
        assert_eq!(choose(&[tools]).as_deref(), Ok("5.3"));
        assert_eq!(
            choose(&[tools, (".lua-version", "5.4.7")]).as_deref(),
            Ok("5.4")
        );
    }

    #[test]
    fn version_without_a_pack_is_named_with_those_that_have_one() {
        let error = choose(&[(".lua-version", "5.1.5")])
            .unwrap_err()
            .to_string();
        for part in [".lua-version", "Lua 5.1.5", "Lua 5.4, 5.3"] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}
