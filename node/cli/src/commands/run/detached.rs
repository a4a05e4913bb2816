//! `run:detached`.

use clap::{ArgAction, Args};
use corundum_abi::dyno_size::DynoSize;
use corundum_api::dyno::DynoResource;
use corundum_api::one_off::DetachedRun;

use super::parse_env;
use crate::app_option::AppOption;
use crate::client::{ApiClient, app_path};
use crate::output::{OutputOption, print_json, say};

/// Run a command in a dyno of its own, and return at once
///
/// The command's output goes to the app's log. The command ends by itself, by ps:stop, or after a day; a restart of the node
/// ends it too. One word may hold a whole command line with variables, && and ;.
///
/// Examples:
///   corundum run:detached rake reports:make
///   corundum run:detached "rake a && rake b"
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct DetachedArguments {
    #[command(flatten)]
    app: AppOption,
    #[command(flatten)]
    output: OutputOption,
    /// Set a variable for this run only: NAME=value, or several with semicolons between them
    #[arg(short, long, value_name = "NAME=VALUE", action = ArgAction::Append)]
    env: Vec<String>,
    /// Size of the dyno: standard-1x, standard-2x or performance-m [default: standard-1x]
    #[arg(short, long)]
    size: Option<DynoSize>,
    /// Command with its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Runs `run:detached`.
pub(in crate::commands) fn run(
    arguments: DetachedArguments,
    client: &ApiClient,
) -> anyhow::Result<()> {
    let app = arguments.app.name()?;
    let command = match arguments.command.as_slice() {
        [line] => line.clone(),
        words => shell_words::join(words),
    };
    let body = DetachedRun {
        command,
        env: parse_env(&arguments.env)?.into_iter().collect(),
        size: arguments.size,
        attach: false,
    };
    let dyno: DynoResource = client.post(&app_path(&app, "/dynos"), &body)?;
    if arguments.output.json {
        return print_json(&dyno);
    }
    say!("Running {} on {app}... done, {}", dyno.command, dyno.name);
    say!(
        "Show its output with: corundum logs --app {app} --dyno {} --tail",
        dyno.name
    );
    Ok(())
}
