//! The `corundum` binary: the node's server, and the command line that talks to it.

#![forbid(unsafe_code)]

mod cli;
mod compile;
mod packs;
mod server;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    cli::run(cli::Arguments::parse())
}
