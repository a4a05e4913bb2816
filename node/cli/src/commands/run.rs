//! `run`.

use std::io::{Read, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use corundum_abi::run_stream::{self, RunFrame};
use corundum_api::one_off::OneOffCreate;

use crate::app_option::AppOption;
use crate::client::{ApiClient, app_path};
use crate::output::Printer;

/// Run a command in a dyno of its own
///
/// The command has the app's files and config vars; its files in /tmp are deleted when it ends. Its standard output is
/// printed here, its standard error goes to the app's log. A terminal gets its colours, and other control characters as
/// escapes such as \x1b; a pipe or a file gets the bytes as they are. A dyno has no shell and starts no processes: the commands are
/// ruby, rake and Ruby files of the app, with or without `bundle exec`.
///
/// Example: corundum run ruby -e 'puts RUBY_VERSION'
#[derive(Args)]
pub struct RunArguments {
    #[command(flatten)]
    app: AppOption,
    /// Command with its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Runs `run`: prints the command's output and returns its exit status.
pub(super) fn run(arguments: RunArguments, client: &ApiClient) -> anyhow::Result<ExitCode> {
    let RunArguments { app, command } = arguments;
    let path = app_path(&app.name()?, "/run");
    let mut stream = client.stream("POST", &path, Some(&OneOffCreate { command }))?;
    let mut out = Printer::of_command();
    let ended = "run: the node closed the connection before the command ended";
    loop {
        let mut head = [0; run_stream::HEAD];
        stream.read_exact(&mut head).context(ended)?;
        match run_stream::parse(head).context("run: the node returned an invalid frame")? {
            RunFrame::Output(length) => {
                let length = u64::from(length);
                let copied = std::io::copy(&mut stream.by_ref().take(length), &mut out)?;
                anyhow::ensure!(copied == length, ended);
                out.flush()?;
            }
            RunFrame::Status(status) => {
                out.finish()?;
                return Ok(ExitCode::from(u8::try_from(status & 0xff).unwrap_or(1)));
            }
        }
    }
}
