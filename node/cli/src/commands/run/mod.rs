//! `run` and `run:detached`.

pub(super) mod detached;
mod stream;
mod terminal;

use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{ArgAction, Args};
use corundum_abi::dyno_size::DynoSize;
use corundum_api::one_off::{PROTOCOL, RunStart};

use self::terminal::RawMode;
use crate::app_option::AppOption;
use crate::client::{ApiClient, app_path};

/// Run a command in a dyno of its own
///
/// The command is a new process with the app's files and config vars; its files are deleted when it ends. It has this
/// command's standard input, output and error, and its exit status becomes this command's. If standard input and output
/// are a terminal, the command has one too: irb and debuggers work, and keys such as ^C reach the command.
///
/// The commands are ruby, scripts of the app, executables of its gems (rake, rails, rspec), irb, and the types of the
/// Procfile. Variables may stand in front, as in NAME=value ruby job.rb. A dyno has no shell and starts no processes: the words
/// reach the command as they are, without pipes, globs and variables.
///
/// Examples:
///   corundum run ruby -e 'puts RUBY_VERSION'
///   corundum run bin/rails console
///   corundum run rake db:seed < data.csv
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct RunArguments {
    #[command(flatten)]
    app: AppOption,
    /// Set a variable for this run only: NAME=value, or several with semicolons between them
    #[arg(short, long, value_name = "NAME=VALUE", action = ArgAction::Append)]
    env: Vec<String>,
    /// Give the command a terminal [default: if standard input and output are one]
    #[arg(long, conflicts_with = "no_tty")]
    tty: bool,
    /// Give the command no terminal
    #[arg(long)]
    no_tty: bool,
    /// Size of the dyno: standard-1x, standard-2x or performance-m [default: standard-1x]
    #[arg(short, long)]
    size: Option<DynoSize>,
    /// Exit with the command's status; always the case, accepted for scripts
    #[arg(short = 'x', long)]
    exit_code: bool,
    /// Command with its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Reads the values of `--env`.
fn parse_env(lists: &[String]) -> anyhow::Result<Vec<(String, String)>> {
    let pairs = lists.iter().flat_map(|list| list.split(';'));
    let pair = |pair: &str| match pair.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => bail!("--env: {pair} is not of the form NAME=value"),
    };
    pairs.map(pair).collect()
}

/// Runs `run`: connects the command to this process and returns its exit status.
pub(super) fn run(arguments: RunArguments, client: &ApiClient) -> anyhow::Result<ExitCode> {
    let has_terminal = arguments.tty || (!arguments.no_tty && terminal::is_interactive());
    let mut env = Vec::new();
    if has_terminal {
        // Programs that draw ask for the terminal's abilities by its name.
        let name = std::env::var("TERM").unwrap_or_else(|_| "dumb".to_owned());
        env.push(("TERM".to_owned(), name));
    }
    env.extend(parse_env(&arguments.env)?);
    let start = RunStart {
        command: arguments.command,
        env,
        terminal: has_terminal.then(terminal::window_size),
        size: arguments.size,
    };
    let path = app_path(&arguments.app.name()?, "/run");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        let stream = client.upgrade(&path, PROTOCOL).await?;
        let _raw = match has_terminal {
            true => Some(RawMode::set().context("run: cannot set up the terminal")?),
            false => None,
        };
        stream::run(stream, start).await
    });
    // The thread that reads standard input may wait for a key, and must not keep this process.
    runtime.shutdown_background();
    result.map(stream::exit_code)
}
