//! Output of commands: lines, JSON and errors.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

/// Prints a line. A closed standard output is an error like others and no panic, as in `corundum logs | head`.
macro_rules! say {
    ($($part:tt)*) => {{
        use std::io::Write as _;
        writeln!(std::io::stdout(), $($part)*)?
    }};
}
pub(crate) use say;

/// The option `--json` of listings.
#[derive(Args, Clone, Copy, Debug)]
pub struct OutputOption {
    /// Print JSON, for programs
    #[arg(long)]
    pub json: bool,
}

/// Prints a value as indented JSON.
///
/// # Errors
///
/// Standard output is closed.
pub fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    writeln!(
        std::io::stdout(),
        "{}",
        serde_json::to_string_pretty(value)?
    )?;
    Ok(())
}

/// Turns a command's result into an exit status and prints its error.
pub fn report(result: anyhow::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        let closed = error
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe);
        if closed {
            // The reader has read as much as it wanted.
            return ExitCode::SUCCESS;
        }
        eprintln!(" ▸    {}", format!("{error:#}").replace('\n', "\n ▸    "));
        ExitCode::FAILURE
    })
}
