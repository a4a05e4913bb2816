//! The node's own log: events and spans of `tracing` on standard error.

use std::io::IsTerminal;

use anyhow::Context;
use clap::ValueEnum;
use serde::Deserialize;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// The environment variable that chooses the events.
const VARIABLE: &str = "CORUNDUM_LOG";

/// The form of the log's lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum LogFormat {
    /// A line of text for each event, for people
    #[default]
    Text,
    /// A JSON object for each event, with the fields of its spans
    Json,
}

impl LogFormat {
    /// Returns the arguments that choose this form for another process of this program.
    pub(super) fn arguments(self) -> Vec<String> {
        let value = self.to_possible_value();
        let name = value.map(|value| value.get_name().to_owned());
        name.map_or_else(Vec::new, |name| vec!["--log-format".to_owned(), name])
    }
}

/// Starts the log.
///
/// # Errors
///
/// CORUNDUM_LOG holds an invalid directive.
pub(super) fn start(format: LogFormat) -> anyhow::Result<()> {
    let directives = std::env::var(VARIABLE).unwrap_or_default();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter(&directives)?)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => subscriber.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
    Ok(())
}

/// Parses directives, which commas separate: a level for everything, or `target=level`.
fn filter(text: &str) -> anyhow::Result<EnvFilter> {
    let mut filter = EnvFilter::default().add_directive(LevelFilter::WARN.into());
    for text in directives(text) {
        let invalid = || {
            format!(
                "{VARIABLE}: invalid directive \"{text}\"\nWrite a level (error, warn, info, debug, trace, off) or TARGET=LEVEL, as in corundum_router=debug."
            )
        };
        // A word alone would be taken for a target and log everything of it: a misspelt level would silence the node.
        let is_level = text.parse::<LevelFilter>().is_ok();
        let is_target = text.contains(['=', '[']) || text.starts_with("corundum");
        anyhow::ensure!(is_level || is_target, invalid());
        filter = filter.add_directive(text.parse().with_context(invalid)?);
    }
    Ok(filter)
}

/// Splits at commas that do not separate the fields of a span.
fn directives(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_u32;
    let parts = text.split(move |c| {
        match c {
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    parts.map(str::trim).filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_targets_and_spans_are_directives() {
        let shown = |text: &str| filter(text).unwrap().to_string();
        assert_eq!(shown(""), "warn");
        assert_eq!(shown("debug"), "debug");
        let several = shown("info, corundum_router=debug,[push{app=one,id=2}]=trace");
        for part in ["info", "corundum_router=debug", "[push{"] {
            assert!(several.contains(part), "{several}");
        }
    }

    #[test]
    fn invalid_directives_are_named() {
        for wrong in ["wran", "corundum_router=loud", "info,loud"] {
            let error = format!("{:#}", filter(wrong).unwrap_err());
            let name = wrong.rsplit(',').next().unwrap();
            assert!(error.contains(&format!("\"{name}\"")), "{error}");
            assert!(error.contains("error, warn, info"), "{error}");
        }
    }
}
