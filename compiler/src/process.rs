//! Environment and arguments of an app's processes.

use std::sync::Arc;

use corundum_pack::language::LanguageProfile;

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

/// Returns the environment of an app of a language with these config vars.
pub fn environ(
    profile: &LanguageProfile,
    config: impl IntoIterator<Item = (String, String)>,
) -> Arc<[(String, String)]> {
    profile.environ(config).into()
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
}
