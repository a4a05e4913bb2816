//! The `corundum` binary: the node's server, and the command line that talks to it.

#![forbid(unsafe_code)]

mod cli;
mod sandbox;
mod server;

use std::process::ExitCode;

use clap::Parser;

/// Gives pages back that are free for a while, wherever they lie: glibc's keeps what idle connections have given up, since
/// what they still have lies in between.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    cli::run(cli::CommandLine::parse())
}
