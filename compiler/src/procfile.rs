//! Parser of the Procfile, which names the command of each process type.

use std::collections::BTreeMap;

use corundum_abi::names::ProcessType;

use crate::process::{CommandError, split_command};

/// A Procfile that cannot be parsed. The app's author corrects it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProcfileError {
    /// A line is not of the form `type: command`.
    #[error(
        "Procfile line {line}: {text:?} is not a process type and its command; write, for example, web: rackup"
    )]
    Line {
        /// Line number, from 1.
        line: usize,
        /// Text of the line.
        text: String,
    },
    /// A command cannot be split into arguments.
    #[error("Procfile line {line}: {error}")]
    Command {
        /// Line number, from 1.
        line: usize,
        /// Reason.
        error: CommandError,
    },
    /// Two lines declare one process type.
    #[error("Procfile line {line}: the process type {name} is declared twice")]
    Duplicate {
        /// Line number of the second declaration, from 1.
        line: usize,
        /// The process type.
        name: ProcessType,
    },
}

/// Commands by process type.
pub type ProcessCommands = BTreeMap<ProcessType, String>;

/// Parses a Procfile: one `type: command` a line, besides blank lines and comments.
///
/// The function also splits each command, so that an unclosed quote fails the push and not the first start.
///
/// # Errors
///
/// [`ProcfileError`].
pub fn parse(text: &str) -> Result<ProcessCommands, ProcfileError> {
    let mut commands = ProcessCommands::new();
    for (line, text) in (1..).zip(text.lines()) {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let bad = || ProcfileError::Line {
            line,
            text: text.to_owned(),
        };
        let (name, command) = text.split_once(':').ok_or_else(bad)?;
        let name: ProcessType = name.trim().parse().map_err(|_| bad())?;
        let command = command.trim();
        if command.is_empty() {
            return Err(bad());
        }
        split_command(command).map_err(|error| ProcfileError::Command { line, error })?;
        if commands.insert(name.clone(), command.to_owned()).is_some() {
            return Err(ProcfileError::Duplicate { line, name });
        }
    }
    Ok(commands)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_process_types_and_commands() {
        let commands =
            parse("# comment\nweb: bundle exec puma -p $PORT\r\n\nworker: ruby w.rb\n").unwrap();
        let shown: Vec<_> = commands.iter().map(|(n, c)| format!("{n}={c}")).collect();
        assert_eq!(shown, ["web=bundle exec puma -p $PORT", "worker=ruby w.rb"]);
    }

    #[test]
    fn invalid_line_is_reported_with_its_number() {
        assert!(matches!(
            parse("web rackup"),
            Err(ProcfileError::Line { line: 1, .. })
        ));
        assert!(matches!(
            parse("web: a\nweb: b"),
            Err(ProcfileError::Duplicate { line: 2, .. })
        ));
        assert!(matches!(parse("web:"), Err(ProcfileError::Line { .. })));
    }

    #[test]
    fn unclosed_quote_is_reported_with_its_line() {
        let error = parse("web: rackup\nworker: ruby -e 'puts 1\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "Procfile line 2: \"ruby -e 'puts 1\" has a quote that is not closed; add the closing quote"
        );
    }
}
