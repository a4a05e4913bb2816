//! Detection of an app's language and framework.

use std::fmt::Write as _;

use corundum_pack::language::{KnownLanguage, LanguageProfile};

/// Advice for a pusher whose app is not in the root of the repository.
const ADVICE: &str =
    "If the app is in a folder, push that folder: git subtree push --prefix FOLDER corundum main";

/// A tree whose language is unknown. The pusher may have pushed the wrong folder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DetectError {
    /// The tree has none of the files that tell a language. Holds the languages and their files, one a line.
    #[error(
        "no app detected: the root of the repository has none of the files that tell an app's language:\n{0}{ADVICE}"
    )]
    None(String),
    /// The tree has files of several languages.
    #[error(
        "apps of several languages detected: {0}\nName the app's in app.json, as in \"language\": \"{1}\""
    )]
    Several(String, String),
    /// No pack of the language that `app.json` names is installed.
    #[error(
        "app.json: no pack of the language {asked:?} is installed; the node has: {known}\nThe operator installs one with `corundum pack import`"
    )]
    Unknown {
        /// The language.
        asked: String,
        /// The languages of the node.
        known: String,
    },
}

/// Returns the language of the app in a tree: the one that `app.json` asks for, otherwise the one of highest rank whose files
/// the tree has.
///
/// # Errors
///
/// [`DetectError`].
pub fn detect<'a>(
    known: &'a [KnownLanguage],
    asked: Option<&str>,
    has_file: impl Fn(&str) -> bool,
) -> Result<&'a KnownLanguage, DetectError> {
    if let Some(asked) = asked {
        let found = known.iter().find(|known| known.language == asked);
        return found.ok_or_else(|| DetectError::Unknown {
            asked: asked.chars().take(40).collect(),
            known: names(known),
        });
    }
    let mut found: Vec<&KnownLanguage> = known
        .iter()
        .filter(|known| matches(&known.profile, &has_file))
        .collect();
    let rank = found.iter().map(|known| known.profile.detect.rank).max();
    found.retain(|known| Some(known.profile.detect.rank) == rank);
    match found[..] {
        [one] => Ok(one),
        [] => Err(DetectError::None(looked_for(
            known.iter().map(|known| &known.profile),
        ))),
        [first, ..] => {
            let titles: Vec<&str> = found.iter().map(|known| &*known.profile.title).collect();
            Err(DetectError::Several(
                titles.join(", "),
                first.language.clone(),
            ))
        }
    }
}

/// Checks that a tree is an app of one language.
///
/// # Errors
///
/// [`DetectError::None`].
pub fn check(
    profile: &LanguageProfile,
    has_file: impl Fn(&str) -> bool,
) -> Result<(), DetectError> {
    match matches(profile, &has_file) {
        true => Ok(()),
        false => Err(DetectError::None(looked_for([profile].into_iter()))),
    }
}

fn matches(profile: &LanguageProfile, has_file: &impl Fn(&str) -> bool) -> bool {
    profile.detect.files.iter().any(|file| has_file(file))
}

fn names(known: &[KnownLanguage]) -> String {
    let names: Vec<&str> = known.iter().map(|known| known.language.as_str()).collect();
    names.join(", ")
}

/// Lists languages and their files, one language a line.
fn looked_for<'a>(profiles: impl Iterator<Item = &'a LanguageProfile>) -> String {
    profiles.fold(String::new(), |mut text, profile| {
        let files = profile.detect.files.join(" or ");
        let _ = writeln!(text, "  {}: {files}", profile.title);
        text
    })
}

/// Returns whether a lockfile is that of a Rails app. Every one has the gem railties.
pub fn is_rails(lockfile: &str) -> bool {
    locks(lockfile, "railties")
}

/// Returns whether a lockfile has a gem.
pub fn locks(lockfile: &str, gem: &str) -> bool {
    let start = format!("    {gem} (");
    lockfile.lines().any(|line| line.starts_with(&start))
}

#[cfg(test)]
mod tests {
    use corundum_pack::language::DetectionRules;
    use corundum_pack::ruby;

    use super::*;

    fn language(name: &str, file: &str, rank: u8) -> KnownLanguage {
        KnownLanguage {
            language: name.to_owned(),
            profile: LanguageProfile {
                title: name.to_uppercase(),
                detect: DetectionRules {
                    files: vec![file.to_owned()],
                    rank,
                    version: Vec::new(),
                },
                ..LanguageProfile::default()
            },
            series: vec!["1".to_owned()],
        }
    }

    fn languages() -> [KnownLanguage; 3] {
        let ruby = KnownLanguage {
            language: ruby::LANGUAGE.to_owned(),
            profile: ruby::profile().clone(),
            series: vec!["3.3".to_owned()],
        };
        [
            ruby,
            language("lua", "app.lua", 50),
            language("js", "package.json", 50),
        ]
    }

    #[test]
    fn language_is_that_of_the_files_with_the_highest_rank() {
        let known = languages();
        let of = |files: &'static [&str]| {
            detect(&known, None, |path| files.contains(&path)).map(|known| &*known.language)
        };
        assert_eq!(of(&["config.ru"]), Ok("ruby"));
        assert_eq!(of(&["Gemfile", "package.json"]), Ok("ruby"));
        assert_eq!(of(&["app.lua"]), Ok("lua"));
        let error = of(&["app.lua", "package.json"]).unwrap_err().to_string();
        assert!(
            error.contains("LUA, JS") && error.contains("\"language\": \"lua\""),
            "{error}"
        );
        let error = of(&["README"]).unwrap_err().to_string();
        for part in [
            "no app detected",
            "Ruby: Gemfile or config.ru\n",
            "LUA: app.lua\n",
            "subtree",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn app_json_names_the_language() {
        let known = languages();
        let found = detect(&known, Some("js"), |_| false).unwrap();
        assert_eq!(found.language, "js");
        let error = detect(&known, Some("cobol"), |_| true).unwrap_err();
        assert!(error.to_string().contains("ruby, lua, js"), "{error}");
    }

    #[test]
    fn tree_without_gemfile_and_config_ru_is_no_ruby_app() {
        assert_eq!(check(ruby::profile(), |path| path == "config.ru"), Ok(()));
        assert!(check(ruby::profile(), |_| false).is_err());
    }
}
