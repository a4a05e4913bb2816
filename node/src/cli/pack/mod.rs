//! `corundum pack`: packs built from source, carried between machines, tested.

mod test;
mod transfer;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use corundum_pack::ruby::Series;

use super::packs;

/// A language that packs are built of.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Language {
    /// MRI, the default series.
    Ruby,
}

#[derive(Subcommand)]
pub(crate) enum PackCommand {
    /// Build a language from its source
    ///
    /// Fetches MRI's source from Debian's archive and a compiler from the Python index, each by its digest, and builds Ruby
    /// for dynos: some minutes, once a machine. A build that is interrupted goes on where it was when it is run again.
    ///
    /// Example: corundum pack build ruby
    Build {
        /// Which language
        language: Language,
        /// Compute only when nothing else does
        #[arg(long)]
        nice: bool,
    },
    /// Write a pack that was built into one file, for other machines
    ///
    /// Prints the file's SHA-256, which `corundum pack import` can be given.
    ///
    /// Example: corundum pack export ruby ruby.pack
    Export {
        /// Which language
        language: Language,
        /// The file to write
        file: PathBuf,
    },
    /// Run the language's own tests in dynos of the pack that was built
    ///
    /// MRI's basictest, bootstraptest and test/ruby. Tests that are known not to pass are listed with their reasons in
    /// sdk/ruby/test/known.txt; any other that fails, or one of them that passes, fails the run.
    ///
    /// Example: corundum pack test ruby --only test_array
    Test {
        /// Which language
        language: Language,
        /// Only some files: what matters most, in a minute
        #[arg(long)]
        short: bool,
        /// Only files whose name contains this
        #[arg(long, value_name = "TEXT")]
        only: Option<String>,
        /// Write what did not pass to a file, in known.txt's form
        #[arg(long, value_name = "FILE")]
        write: Option<PathBuf>,
    },
    /// Take in a pack that another machine has built
    ///
    /// The file must come from the same version of Corundum; its parts are checked by their digests. A node that runs picks
    /// it up when it is started again.
    ///
    /// Example: corundum pack import ruby.pack --sha256 1f2e...
    Import {
        /// The file
        file: PathBuf,
        /// What its SHA-256 must be, as `corundum pack export` printed it
        #[arg(long, value_name = "DIGEST")]
        sha256: Option<String>,
    },
}

pub(super) fn run(command: PackCommand) -> anyhow::Result<ExitCode> {
    match command {
        PackCommand::Build {
            language: Language::Ruby,
            nice,
        } => {
            if nice {
                let _ = rustix::process::nice(19);
            }
            packs::make(Series::DEFAULT.best())
        }
        PackCommand::Export {
            language: Language::Ruby,
            file,
        } => transfer::export(Series::DEFAULT.best(), &file),
        PackCommand::Test {
            language: Language::Ruby,
            short,
            only,
            write,
        } => test::run(short, only.as_deref(), write.as_deref()),
        PackCommand::Import { file, sha256 } => {
            transfer::import(Series::DEFAULT.best(), &file, sha256.as_deref())
        }
    }
}
