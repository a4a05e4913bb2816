//! Output of commands: lines, JSON and errors.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Args;
use corundum_abi::terminal_text::{AllowedControls, TerminalText};
use serde::Serialize;

/// Prints a line. A closed standard output is an error like others and no panic, as in `corundum logs | head`.
macro_rules! say {
    ($($part:tt)*) => {{
        use std::io::Write as _;
        writeln!($crate::output::Printer::of_values(), $($part)*)?
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
    let text = serde_json::to_string_pretty(value)?;
    writeln!(Printer::of_values(), "{text}")?;
    Ok(())
}

/// Control characters of a command's output that a terminal gets.
const OF_COMMANDS: AllowedControls = AllowedControls {
    colours: true,
    carriage_returns: true,
};

/// Standard output or error, without the control characters by which an app could deceive the reader of a terminal.
pub(crate) struct Printer {
    out: Box<dyn Write + Send>,
    /// `None` writes the bytes as they are.
    filter: Option<TerminalText>,
    shown: Vec<u8>,
}

impl Printer {
    /// Creates the printer of lines and listings. A program that reads them gets the bytes as they are.
    pub(crate) fn of_values() -> Self {
        let on_terminal = io::stdout().is_terminal();
        Self::new(on_terminal.then(AllowedControls::default))
    }

    /// Creates the printer of logs: only a terminal gets the colours, and nothing gets other control characters, since a
    /// file of log lines is read on a terminal later.
    pub(crate) fn of_logs() -> Self {
        Self::new(Some(AllowedControls {
            colours: io::stdout().is_terminal(),
            carriage_returns: false,
        }))
    }

    /// Creates the printer of a command's output: any bytes, unless a terminal shows them.
    pub(crate) fn of_command() -> Self {
        Self::new(io::stdout().is_terminal().then_some(OF_COMMANDS))
    }

    /// Creates the printer of a command's standard error, with the same rules.
    pub(crate) fn of_command_stderr() -> Self {
        let on_terminal = io::stderr().is_terminal();
        Self::to(Box::new(io::stderr()), on_terminal.then_some(OF_COMMANDS))
    }

    /// Creates the printer of a command that has the terminal for itself.
    pub(crate) fn of_terminal() -> Self {
        Self::new(None)
    }

    fn new(allowed: Option<AllowedControls>) -> Self {
        Self::to(Box::new(io::stdout()), allowed)
    }

    fn to(out: Box<dyn Write + Send>, allowed: Option<AllowedControls>) -> Self {
        Self {
            out,
            filter: allowed.map(TerminalText::new),
            shown: Vec::new(),
        }
    }

    /// Writes the end of the text.
    ///
    /// # Errors
    ///
    /// Standard output is closed.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        if let Some(filter) = &mut self.filter {
            self.shown.clear();
            filter.finish(&mut self.shown);
            self.out.write_all(&self.shown)?;
        }
        self.out.flush()
    }
}

impl Write for Printer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(filter) = &mut self.filter else {
            return self.out.write(bytes);
        };
        self.shown.clear();
        filter.push(bytes, &mut self.shown);
        self.out.write_all(&self.shown)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
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
        // The message may quote the output of an app.
        let text = TerminalText::line(AllowedControls::default(), format!("{error:#}").as_bytes());
        eprintln!(" ▸    {}", text.replace('\n', "\n ▸    "));
        ExitCode::FAILURE
    })
}
