//! `logs`.

use clap::Args;
use corundum_api::log_session::{LogSessionCreate, LogSessionResource};

use crate::app_option::AppOption;
use crate::client::{ApiClient, app_path};
use crate::output::Printer;

/// Show the log
///
/// Prints the lines that the app writes to its standard output and error, and the router's line for each request. The
/// node keeps the last 1,500 lines of an app, in memory. Control characters in them are printed as escapes, such as \x1b; a
/// terminal gets their colours.
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
    let session = LogSessionCreate {
        lines: Some(u32::try_from(num).unwrap_or(u32::MAX)),
        tail: Some(tail),
        ..LogSessionCreate::default()
    };
    let path = app_path(&app.name()?, "/log-sessions");
    let session: LogSessionResource = client.post(&path, &session)?;
    let mut lines = client.stream_url(&session.logplex_url)?;
    let mut printer = Printer::of_logs();
    std::io::copy(&mut lines, &mut printer)?;
    Ok(printer.finish()?)
}
