//! Command lines of the Procfile and of `app.json`, as a shell would read them.
//!
//! No shell runs in a dyno. The node reads the line, replaces its variables ([`expansion`]) and runs its commands one after
//! another, each in a dyno. Features that need a shell or further processes are rejected by name.

mod expansion;

use brush_parser::ast::{
    AndOr, AssignmentName, AssignmentValue, Command, CommandPrefixOrSuffixItem, CompoundListItem,
    Pipeline, SeparatorOperator, SimpleCommand,
};
use brush_parser::{Parser, ParserOptions};

pub use expansion::ExpandedCommand;

/// Nothing in a command line may be longer.
const MAX_BYTES: usize = 32 << 10;
/// Most commands of a line.
const MAX_COMMANDS: usize = 64;

/// A command line that a node cannot carry out. The app's author corrects it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandLineError {
    /// The line is not in the shell's language.
    #[error("{line:?}: {reason}")]
    Syntax {
        /// The line.
        line: String,
        /// Reason.
        reason: String,
    },
    /// The line holds no command, for example only a comment.
    #[error("{0:?} holds no command; write, for example, web: rackup")]
    Empty(String),
    /// The line is too long, or has too many commands.
    #[error(
        "a command line has at most {} bytes and {MAX_COMMANDS} commands; move the rest to a script of the app",
        MAX_BYTES
    )]
    Size,
    /// The line uses a feature of a shell that dynos do not have.
    #[error(
        "{line:?}: a dyno has no shell for {feature}; do that in a script of the app, as in: ruby script/task.rb"
    )]
    Unsupported {
        /// The line.
        line: String,
        /// The feature.
        feature: &'static str,
    },
    /// `${NAME:?message}` names a variable that is not set.
    #[error("{name}: {message}")]
    Required {
        /// The variable.
        name: String,
        /// The message, from the line.
        message: String,
    },
}

/// The results of earlier commands for which a command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunsAfter {
    /// Any result: the command is the first, or stands after `;`.
    Any,
    /// The command before it succeeded: `&&`.
    Success,
    /// The command before it failed: `||`.
    Failure,
}

impl RunsAfter {
    /// Returns whether a command runs after one with an exit status.
    pub fn permits(self, status: i32) -> bool {
        match self {
            Self::Any => true,
            Self::Success => status == 0,
            Self::Failure => status != 0,
        }
    }
}

/// A command line in parts.
#[derive(Debug, Clone)]
pub struct ProcessCommandLine {
    commands: Vec<(RunsAfter, UnexpandedCommand)>,
}

/// A command whose variables are not replaced.
#[derive(Debug, Clone)]
pub struct UnexpandedCommand {
    line: String,
    /// Variables that are set for this command.
    assignments: Vec<(String, String)>,
    words: Vec<String>,
}

impl ProcessCommandLine {
    /// Reads a command line.
    ///
    /// # Errors
    ///
    /// [`CommandLineError`].
    pub fn parse(line: &str) -> Result<Self, CommandLineError> {
        if line.len() > MAX_BYTES {
            return Err(CommandLineError::Size);
        }
        let program = Parser::new(line.as_bytes(), &ParserOptions::default()).parse_program();
        let program = program.map_err(|error| CommandLineError::Syntax {
            line: line.to_owned(),
            reason: error.to_string(),
        })?;
        let mut commands = Vec::new();
        for CompoundListItem(list, separator) in
            program.complete_commands.iter().flat_map(|list| &list.0)
        {
            if matches!(separator, SeparatorOperator::Async) {
                return Err(unsupported(line, "commands in the background (&)"));
            }
            commands.push((RunsAfter::Any, command(line, &list.first)?));
            for next in &list.additional {
                let (after, pipeline) = match next {
                    AndOr::And(pipeline) => (RunsAfter::Success, pipeline),
                    AndOr::Or(pipeline) => (RunsAfter::Failure, pipeline),
                };
                commands.push((after, command(line, pipeline)?));
            }
        }
        if commands.len() > MAX_COMMANDS {
            return Err(CommandLineError::Size);
        }
        let parsed = Self { commands };
        // An error in a word must fail the push, not the first start.
        for (_, command) in &parsed.commands {
            command.check()?;
        }
        match parsed.commands.is_empty() {
            true => Err(CommandLineError::Empty(line.to_owned())),
            false => Ok(parsed),
        }
    }

    /// Returns the commands in order, each with the condition for it to run.
    pub fn commands(&self) -> impl Iterator<Item = (RunsAfter, &UnexpandedCommand)> {
        self.commands
            .iter()
            .map(|(after, command)| (*after, command))
    }
}

fn unsupported(line: &str, feature: &'static str) -> CommandLineError {
    CommandLineError::Unsupported {
        line: line.to_owned(),
        feature,
    }
}

fn command(line: &str, pipeline: &Pipeline) -> Result<UnexpandedCommand, CommandLineError> {
    if pipeline.bang {
        return Err(unsupported(line, "! before a command"));
    }
    match pipeline.seq.as_slice() {
        [Command::Simple(command)] => simple(line, command),
        [_] => Err(unsupported(line, "groups, loops, conditions and functions")),
        _ => Err(unsupported(line, "pipes between commands")),
    }
}

fn simple(line: &str, command: &SimpleCommand) -> Result<UnexpandedCommand, CommandLineError> {
    let (mut assignments, mut words) = (Vec::new(), Vec::new());
    let prefix = command.prefix.iter().flat_map(|prefix| &prefix.0);
    for item in prefix {
        match item {
            CommandPrefixOrSuffixItem::AssignmentWord(assignment, _) => {
                let (AssignmentName::VariableName(name), AssignmentValue::Scalar(value), false) =
                    (&assignment.name, &assignment.value, assignment.append)
                else {
                    return Err(unsupported(line, "arrays and +="));
                };
                assignments.push((name.clone(), value.value.clone()));
            }
            other => words.push(word(line, other)?),
        }
    }
    words.extend(command.word_or_name.iter().map(|word| word.value.clone()));
    for item in command.suffix.iter().flat_map(|suffix| &suffix.0) {
        words.push(word(line, item)?);
    }
    // The dyno's process is the command itself.
    if words.len() > 1 && words.first().is_some_and(|word| word == "exec") {
        words.remove(0);
    }
    if words.is_empty() {
        return Err(CommandLineError::Empty(line.to_owned()));
    }
    Ok(UnexpandedCommand {
        line: line.to_owned(),
        assignments,
        words,
    })
}

fn word(line: &str, item: &CommandPrefixOrSuffixItem) -> Result<String, CommandLineError> {
    match item {
        CommandPrefixOrSuffixItem::Word(word)
        | CommandPrefixOrSuffixItem::AssignmentWord(_, word) => Ok(word.value.clone()),
        CommandPrefixOrSuffixItem::IoRedirect(_) => Err(unsupported(line, "redirections")),
        CommandPrefixOrSuffixItem::ProcessSubstitution(..) => {
            Err(unsupported(line, "process substitutions"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_follow_one_another_by_their_results() {
        let line = ProcessCommandLine::parse("rake a && rake b || rake c; exec rake d").unwrap();
        let commands: Vec<_> = line
            .commands()
            .map(|(after, command)| (after, command.expand(&[]).unwrap().arguments.join(" ")))
            .collect();
        assert_eq!(
            commands,
            [
                (RunsAfter::Any, "rake a".to_owned()),
                (RunsAfter::Success, "rake b".to_owned()),
                (RunsAfter::Failure, "rake c".to_owned()),
                (RunsAfter::Any, "rake d".to_owned()),
            ]
        );
    }

    #[test]
    fn features_of_a_shell_are_rejected_by_name() {
        for (line, feature) in [
            ("sidekiq &", "background"),
            ("cat a | grep b", "pipes"),
            ("rake a > log.txt", "redirections"),
            ("rake a 2>&1", "redirections"),
            ("if true; then rake a; fi", "conditions"),
            ("(rake a)", "groups"),
            ("! rake a", "!"),
            ("rake $(date)", "substitutions"),
            ("rake `date`", "substitutions"),
            ("rake $((1 + 1))", "arithmetic"),
            ("rake $1", "special parameters"),
            ("rake ${A#b}", "patterns"),
            ("A=(1 2) rake", "arrays"),
            ("diff <(rake a) b", "process substitutions"),
        ] {
            let error = ProcessCommandLine::parse(line).unwrap_err();
            assert!(
                matches!(error, CommandLineError::Unsupported { .. })
                    && error.to_string().contains(feature),
                "{line}: {error}"
            );
        }
    }

    #[test]
    fn invalid_lines_are_rejected_with_their_reason() {
        for line in ["ruby -e 'puts 1", "rackup \"", "a && ", "rake ${A"] {
            let error = ProcessCommandLine::parse(line).unwrap_err();
            assert!(
                matches!(error, CommandLineError::Syntax { .. }),
                "{line}: {error:?}"
            );
        }
        for line in ["", "# nothing", "A=1"] {
            let error = ProcessCommandLine::parse(line).unwrap_err();
            assert!(
                matches!(error, CommandLineError::Empty(_)),
                "{line}: {error:?}"
            );
        }
        let long = "x".repeat(MAX_BYTES + 1);
        assert_eq!(
            ProcessCommandLine::parse(&long).unwrap_err(),
            CommandLineError::Size
        );
        let many = "a;".repeat(MAX_COMMANDS + 1);
        assert_eq!(
            ProcessCommandLine::parse(&many).unwrap_err(),
            CommandLineError::Size
        );
    }
}
