//! `logs`.

use clap::Args;

use crate::app_option::AppOption;
use crate::client::{ApiClient, app_path};

/// Show the log
///
/// Prints the lines that the app writes to its standard output and error, and the router's line for each request. The
/// node keeps the last 1,500 lines of an app, in memory.
///
/// Example: corundum logs --tail --num 20
#[derive(Args)]
pub struct LogsArguments {
    /// Print new lines as they are written
    #[arg(short, long)]
    tail: bool,
    /// Number of past lines to print
    #[arg(short, long, default_value_t = 100)]
    num: usize,
    #[command(flatten)]
    app: AppOption,
}

/// Runs `logs`.
pub(super) fn run(arguments: LogsArguments, client: &ApiClient) -> anyhow::Result<()> {
    let LogsArguments { tail, num, app } = arguments;
    let tail = if tail { "&tail=1" } else { "" };
    let path = app_path(&app.name()?, &format!("/logs?num={num}{tail}"));
    let mut lines = client.stream("GET", &path, None::<&()>)?;
    std::io::copy(&mut lines, &mut std::io::stdout())?;
    Ok(())
}
