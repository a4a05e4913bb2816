//! Expansion of words: quotes, escapes and variables (POSIX, Shell Command Language, sections 2.2 and 2.6).
//!
//! Values of variables outside quotes are split at white space, as in a shell. Patterns of file names stay as they are.

use brush_parser::ParserOptions;
use brush_parser::word::{
    self, Parameter, ParameterExpr, ParameterTestType, TildeExpr, WordPiece, WordPieceWithSource,
};

use super::{CommandLineError, UnexpandedCommand, unsupported};

/// Depth of default values within default values.
const MAX_DEPTH: usize = 8;

/// A command as a process gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpandedCommand {
    /// Variables for this command alone.
    pub environ: Vec<(String, String)>,
    /// The command and its arguments.
    pub arguments: Vec<String>,
}

impl UnexpandedCommand {
    /// Replaces the variables by their values in `environ`.
    ///
    /// # Errors
    ///
    /// [`CommandLineError::Required`] if the line demands a variable that is not set; [`CommandLineError::Empty`] if nothing is
    /// left.
    pub fn expand(
        &self,
        environ: &[(String, String)],
    ) -> Result<ExpandedCommand, CommandLineError> {
        let mut words = Expansion::new(&self.line, environ);
        for word in &self.words {
            words.add_word(word)?;
        }
        let mut own = Vec::new();
        for (name, value) in &self.assignments {
            let mut expansion = Expansion::new(&self.line, environ);
            // The value of an assignment is not split.
            expansion.add_pieces(&pieces(&self.line, value)?, true, 0)?;
            own.push((name.clone(), expansion.current.unwrap_or_default()));
        }
        match words.words.is_empty() {
            true => Err(CommandLineError::Empty(self.line.clone())),
            false => Ok(ExpandedCommand {
                environ: own,
                arguments: words.words,
            }),
        }
    }

    /// Checks that no word needs a shell.
    pub(super) fn check(&self) -> Result<(), CommandLineError> {
        match self.expand(&[]) {
            // Variables may give what is missing.
            Err(CommandLineError::Required { .. } | CommandLineError::Empty(_)) => Ok(()),
            other => other.map(|_| ()),
        }
    }
}

fn pieces(line: &str, word: &str) -> Result<Vec<WordPieceWithSource>, CommandLineError> {
    word::parse(word, &ParserOptions::default()).map_err(|error| CommandLineError::Syntax {
        line: line.to_owned(),
        reason: error.to_string(),
    })
}

/// The words that a command line expands to.
struct Expansion<'a> {
    line: &'a str,
    environ: &'a [(String, String)],
    words: Vec<String>,
    /// The word that is being put together; `None` between words.
    current: Option<String>,
}

impl<'a> Expansion<'a> {
    fn new(line: &'a str, environ: &'a [(String, String)]) -> Self {
        Self {
            line,
            environ,
            words: Vec::new(),
            current: None,
        }
    }

    fn add_word(&mut self, word: &str) -> Result<(), CommandLineError> {
        self.add_pieces(&pieces(self.line, word)?, false, 0)?;
        self.words.extend(self.current.take());
        Ok(())
    }

    fn add_pieces(
        &mut self,
        pieces: &[WordPieceWithSource],
        is_quoted: bool,
        depth: usize,
    ) -> Result<(), CommandLineError> {
        if depth > MAX_DEPTH {
            return Err(CommandLineError::Size);
        }
        for piece in pieces {
            match &piece.piece {
                WordPiece::Text(text)
                | WordPiece::SingleQuotedText(text)
                | WordPiece::AnsiCQuotedText(text) => self.add_text(text),
                WordPiece::EscapeSequence(text) => {
                    self.add_text(text.strip_prefix('\\').unwrap_or(text));
                }
                WordPiece::DoubleQuotedSequence(inner)
                | WordPiece::GettextDoubleQuotedSequence(inner) => {
                    self.add_text("");
                    self.add_pieces(inner, true, depth + 1)?;
                }
                WordPiece::TildeExpansion(TildeExpr::Home) => {
                    let home = self.value("HOME").unwrap_or("~").to_owned();
                    self.add_text(&home);
                }
                WordPiece::TildeExpansion(_) => {
                    return Err(unsupported(self.line, "~ and a name"));
                }
                WordPiece::ParameterExpansion(parameter) => {
                    self.add_parameter(parameter, is_quoted, depth)?;
                }
                WordPiece::CommandSubstitution(_) | WordPiece::BackquotedCommandSubstitution(_) => {
                    return Err(unsupported(self.line, "command substitutions"));
                }
                WordPiece::ArithmeticExpression(_) => {
                    return Err(unsupported(self.line, "arithmetic"));
                }
            }
        }
        Ok(())
    }

    fn add_text(&mut self, text: &str) {
        self.current.get_or_insert_default().push_str(text);
    }

    /// Adds the value of a variable, split at white space outside quotes.
    fn add_value(&mut self, value: &str, is_quoted: bool) {
        if is_quoted {
            return self.add_text(value);
        }
        let mut rest = value;
        while let Some(at) = rest.find(|c: char| c.is_ascii_whitespace()) {
            let (field, after) = rest.split_at(at);
            if !field.is_empty() {
                self.add_text(field);
            }
            self.words.extend(self.current.take());
            rest = after.trim_ascii_start();
        }
        if !rest.is_empty() {
            self.add_text(rest);
        }
    }

    fn add_parameter(
        &mut self,
        expression: &ParameterExpr,
        is_quoted: bool,
        depth: usize,
    ) -> Result<(), CommandLineError> {
        let (parameter, indirect) = match expression {
            ParameterExpr::Parameter {
                parameter,
                indirect,
            }
            | ParameterExpr::UseDefaultValues {
                parameter,
                indirect,
                ..
            }
            | ParameterExpr::AssignDefaultValues {
                parameter,
                indirect,
                ..
            }
            | ParameterExpr::IndicateErrorIfNullOrUnset {
                parameter,
                indirect,
                ..
            }
            | ParameterExpr::UseAlternativeValue {
                parameter,
                indirect,
                ..
            } => (parameter, indirect),
            _ => return Err(unsupported(self.line, "patterns and parts of variables")),
        };
        let Parameter::Named(name) = parameter else {
            return Err(unsupported(self.line, "special parameters"));
        };
        if *indirect {
            return Err(unsupported(self.line, "indirect variables"));
        }
        let set = |test: &ParameterTestType| {
            let value = self.value(name);
            value.filter(|value| {
                !matches!(test, ParameterTestType::UnsetOrNull) || !value.is_empty()
            })
        };
        let (value, otherwise) = match expression {
            ParameterExpr::UseDefaultValues {
                test_type,
                default_value,
                ..
            }
            | ParameterExpr::AssignDefaultValues {
                test_type,
                default_value,
                ..
            } => (set(test_type), default_value.as_deref()),
            ParameterExpr::UseAlternativeValue {
                test_type,
                alternative_value,
                ..
            } => {
                let alternative = alternative_value.as_deref();
                (None, alternative.filter(|_| set(test_type).is_some()))
            }
            ParameterExpr::IndicateErrorIfNullOrUnset {
                test_type,
                error_message,
                ..
            } => {
                let value = set(test_type).ok_or_else(|| CommandLineError::Required {
                    name: name.clone(),
                    message: error_message
                        .clone()
                        .unwrap_or_else(|| "not set".to_owned()),
                })?;
                (Some(value), None)
            }
            _ => (self.value(name), None),
        };
        match (value, otherwise) {
            (Some(value), _) => {
                let value = value.to_owned();
                self.add_value(&value, is_quoted);
            }
            (None, Some(word)) => {
                let pieces = pieces(self.line, word)?;
                self.add_pieces(&pieces, is_quoted, depth + 1)?;
            }
            (None, None) => {}
        }
        Ok(())
    }

    fn value(&self, name: &str) -> Option<&'a str> {
        let mut environ = self.environ.iter();
        let found = environ.find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command_line::ProcessCommandLine;

    fn expand(line: &str) -> Result<ExpandedCommand, CommandLineError> {
        let environ = [("A", "1"), ("E", ""), ("TWO", "x  y"), ("HOME", "/app")];
        let environ = environ.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let line = ProcessCommandLine::parse(line)?;
        let (_, command) = line.commands().next().unwrap();
        command.expand(&environ)
    }

    #[test]
    fn words_are_those_of_a_shell() {
        for (line, words) in [
            ("rackup  -p $A", &["rackup", "-p", "1"][..]),
            ("rackup -p${A}0 $UNSET", &["rackup", "-p10"]),
            ("puma -t ${T:-5}:${A:-7}", &["puma", "-t", "5:1"]),
            ("puma ${E:-a b} ${E-c} \"${E-c}\"", &["puma", "a b", ""]),
            ("x ${A:+yes} ${E:+no} ${E+set}", &["x", "yes", "set"]),
            (
                "x $TWO \"$TWO\" a$TWO'b'",
                &["x", "x", "y", "x  y", "ax", "yb"],
            ),
            ("x '$A' \"\\$A\" \\$A", &["x", "$A", "$A", "$A"]),
            (
                "ruby -e 'puts \"a b\"' ''",
                &["ruby", "-e", "puts \"a b\"", ""],
            ),
            ("ruby a\\ b.rb # comment", &["ruby", "a b.rb"]),
            ("x ~/bin *.rb a=b", &["x", "/app/bin", "*.rb", "a=b"]),
            ("x ${N:-${A:-2}}", &["x", "1"]),
        ] {
            assert_eq!(expand(line).unwrap().arguments, words, "{line}");
        }
    }

    #[test]
    fn assignments_are_variables_of_the_command() {
        let expanded = expand("B=$TWO C=\"q $A\" rake x").unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(expanded.environ, [pair("B", "x  y"), pair("C", "q 1")]);
        assert_eq!(expanded.arguments, ["rake", "x"]);
    }

    #[test]
    fn variable_that_the_line_requires_must_be_set() {
        let error = expand("x ${N:?set N first}").unwrap_err();
        assert_eq!(error.to_string(), "N: set N first");
        assert_eq!(expand("x ${A:?set A first}").unwrap().arguments, ["x", "1"]);
        assert!(matches!(expand("$UNSET"), Err(CommandLineError::Empty(_))));
    }
}
