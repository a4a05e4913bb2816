//! The Procfile: which command each process type runs.

use std::collections::BTreeMap;

use corundum_abi::names::ProcessType;

/// A Procfile that is not understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProcfileError {
    /// A line that is no `type: command`.
    #[error(
        "Procfile line {line}: {text:?} is not a process type and its command: write, for example, web: rackup"
    )]
    Line {
        /// From 1.
        line: usize,
        /// The line.
        text: String,
    },
    /// A type that stands there twice.
    #[error("Procfile line {line}: the process type {name} is declared twice")]
    Twice {
        /// From 1.
        line: usize,
        /// The type.
        name: ProcessType,
    },
}

/// Process types and their commands.
pub type Processes = BTreeMap<ProcessType, String>;

/// Reads a Procfile: `type: command` a line; blank lines and comments are passed over.
///
/// # Errors
///
/// [`ProcfileError`].
pub fn parse(text: &str) -> Result<Processes, ProcfileError> {
    let mut processes = Processes::new();
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
        if processes.insert(name.clone(), command.to_owned()).is_some() {
            return Err(ProcfileError::Twice { line, name });
        }
    }
    Ok(processes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_type_and_its_command() {
        let processes =
            parse("# comment\nweb: bundle exec puma -p $PORT\r\n\nworker: ruby w.rb\n").unwrap();
        let shown: Vec<_> = processes.iter().map(|(n, c)| format!("{n}={c}")).collect();
        assert_eq!(shown, ["web=bundle exec puma -p $PORT", "worker=ruby w.rb"]);
    }

    #[test]
    fn what_is_no_line_is_named_with_its_number() {
        assert!(matches!(
            parse("web rackup"),
            Err(ProcfileError::Line { line: 1, .. })
        ));
        assert!(matches!(
            parse("web: a\nweb: b"),
            Err(ProcfileError::Twice { line: 2, .. })
        ));
        assert!(matches!(parse("web:"), Err(ProcfileError::Line { .. })));
    }
}
