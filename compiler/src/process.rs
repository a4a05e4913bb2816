//! Environment and arguments of an app's processes.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Defaults of the platform, which config vars override. Those of Rails make it serve its own assets and log to the
/// standard output; other apps do not read them.
const DEFAULT_ENVIRON: [(&str, &str); 11] = [
    // Bundler finds the gems where the build puts them, as on Heroku.
    ("BUNDLE_BIN", "vendor/bundle/bin"),
    ("BUNDLE_DEPLOYMENT", "1"),
    ("BUNDLE_PATH", "vendor/bundle"),
    ("BUNDLE_WITHOUT", "development:test"),
    ("HOME", "/app"),
    ("LANG", "en_US.UTF-8"),
    (
        "PATH",
        "/app/bin:/app/vendor/bundle/bin:/usr/local/bin:/usr/bin:/bin",
    ),
    ("PORT", "5000"),
    ("RAILS_LOG_TO_STDOUT", "enabled"),
    ("RAILS_SERVE_STATIC_FILES", "enabled"),
    ("TMPDIR", "/tmp"),
];
/// The variables that name the environment of Rack and of Rails, each with the other, which is its default.
const ENVIRONMENT_NAMES: [(&str, &str); 2] = [("RACK_ENV", "RAILS_ENV"), ("RAILS_ENV", "RACK_ENV")];
/// The environment of apps that name none.
const ENVIRONMENT: &str = "production";

/// A command line that cannot be split. The app's author corrects it in the Procfile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// A quote has no end.
    #[error("{0:?} has a quote that is not closed; add the closing quote")]
    UnclosedQuote(String),
    /// The line holds no command, for example only a comment.
    #[error("{0:?} holds no command; write, for example, web: rackup")]
    Empty(String),
}

/// Returns the environment of an app with these config vars.
pub fn environ(config: impl IntoIterator<Item = (String, String)>) -> Arc<[(String, String)]> {
    let mut environ: BTreeMap<String, String> = DEFAULT_ENVIRON
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    environ.extend(config);
    for (name, other) in ENVIRONMENT_NAMES {
        if !environ.contains_key(name) {
            let value = environ.get(other).map_or(ENVIRONMENT, String::as_str);
            environ.insert(name.to_owned(), value.to_owned());
        }
    }
    environ.into_iter().collect()
}

/// Splits a process type's command line into arguments by the rules of a POSIX shell.
///
/// Quotes and backslashes group characters, and `#` starts a comment. Variables stay as they are, because no shell runs
/// in a dyno.
///
/// # Errors
///
/// [`CommandError`].
pub fn split_command(command: &str) -> Result<Arc<[String]>, CommandError> {
    let words =
        shell_words::split(command).map_err(|_| CommandError::UnclosedQuote(command.to_owned()))?;
    if words.is_empty() {
        return Err(CommandError::Empty(command.to_owned()));
    }
    Ok(words.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_is_split_into_words() {
        let split = |command| split_command(command).unwrap();
        assert_eq!(*split("rackup  -p $PORT"), ["rackup", "-p", "$PORT"]);
        assert_eq!(
            *split("ruby -e 'puts \"a b\"' ''"),
            ["ruby", "-e", "puts \"a b\"", ""]
        );
        assert_eq!(*split("ruby a\\ b.rb # comment"), ["ruby", "a b.rb"]);
    }

    #[test]
    fn unclosed_quote_and_missing_command_are_rejected() {
        for command in ["ruby -e 'puts 1", "rackup \"", "a 'b' 'c"] {
            let error = split_command(command).unwrap_err();
            assert_eq!(error, CommandError::UnclosedQuote(command.to_owned()));
        }
        let error = split_command("# nothing").unwrap_err();
        assert!(matches!(error, CommandError::Empty(_)), "{error}");
    }

    #[test]
    fn config_vars_override_defaults() {
        let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let environ = environ([own("PORT", "1"), own("HOME", "/tmp")]);
        for (name, value) in [
            ("PORT", "1"),
            ("HOME", "/tmp"),
            ("LANG", "en_US.UTF-8"),
            ("RACK_ENV", "production"),
            ("RAILS_ENV", "production"),
        ] {
            assert!(environ.contains(&own(name, value)), "{name}");
        }
    }

    #[test]
    fn environments_of_rack_and_rails_agree_unless_both_are_set() {
        let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        for (name, _) in ENVIRONMENT_NAMES {
            let environ = environ([own(name, "staging")]);
            for (name, _) in ENVIRONMENT_NAMES {
                assert!(environ.contains(&own(name, "staging")), "{name}");
            }
        }
        let environ = environ([own("RACK_ENV", "a"), own("RAILS_ENV", "b")]);
        assert!(environ.contains(&own("RACK_ENV", "a")));
        assert!(environ.contains(&own("RAILS_ENV", "b")));
    }
}
