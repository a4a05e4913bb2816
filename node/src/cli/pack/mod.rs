//! `pack build`, `pack export`, `pack test`, `pack profile` and `pack import`: packs built from source.

mod dyno_runner;
mod profile;
mod test;
mod transfer;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use corundum_pack::ruby::Series;

use super::packs;

/// A language that has a pack built from source.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Language {
    /// Ruby of the default series
    Ruby,
    /// Ruby 3.3
    #[value(name = "ruby-3.3")]
    Ruby33,
    /// Ruby 3.4
    #[value(name = "ruby-3.4")]
    Ruby34,
}

impl Language {
    fn series(self) -> Series {
        match self {
            Self::Ruby => Series::DEFAULT,
            Self::Ruby33 => Series::Ruby33,
            Self::Ruby34 => Series::Ruby34,
        }
    }
}

/// Commands about packs built from source.
#[derive(Subcommand)]
pub(crate) enum PackCommand {
    /// Build a language from its source
    ///
    /// Fetches MRI's source from Debian's archive and a compiler from the Python index, checks their digests, and builds Ruby
    /// for dynos, which takes some minutes once on each machine. An interrupted build resumes when the command runs again.
    ///
    /// Example: corundum pack build ruby-3.4
    Build {
        /// Language of the pack
        language: Language,
        /// Run at the lowest priority
        #[arg(long)]
        nice: bool,
    },
    /// Write a built pack into one file for other machines
    ///
    /// Prints the file's SHA-256, which `corundum pack import --sha256` checks.
    ///
    /// Example: corundum pack export ruby ruby.pack
    Export {
        /// Language of the pack
        language: Language,
        /// File to write
        file: PathBuf,
    },
    /// Run the language's own tests in dynos of the built pack
    ///
    /// Runs MRI's basictest, bootstraptest and test/ruby. sdk/ruby/test/known.txt lists the tests that are known to fail with
    /// their reasons. The run fails if any other test fails, or if one of these passes.
    ///
    /// Example: corundum pack test ruby --only test_array
    Test {
        /// Language of the pack
        language: Language,
        /// Run only the most important files, which takes a minute
        #[arg(long)]
        short: bool,
        /// Run only files whose name contains this text [default: all]
        #[arg(long, value_name = "TEXT")]
        only: Option<String>,
        /// Write the tests that failed to this file, in the form of known.txt
        #[arg(long, value_name = "FILE")]
        write: Option<PathBuf>,
    },
    /// Record the profile that guides the build
    ///
    /// Builds Ruby with counters, runs the training programs in dynos, and writes how often each branch ran. script/ruby-profile
    /// runs this command after changes of the compiler, of Ruby's version, or of many of its functions.
    ///
    /// Example: corundum pack profile ruby 3.3.proftext.zst
    Profile {
        /// Language of the pack
        language: Language,
        /// File to write
        file: PathBuf,
    },
    /// Import a pack that another machine has built
    ///
    /// The file must come from the same version of Corundum; the command checks the digests of its parts. A running node
    /// uses the pack after a restart.
    ///
    /// Example: corundum pack import ruby.pack --sha256 1f2e...
    Import {
        /// File to read
        file: PathBuf,
        /// Require this SHA-256 of the file, as `corundum pack export` printed it [default: any]
        #[arg(long, value_name = "DIGEST")]
        sha256: Option<String>,
    },
}

/// Runs a command about packs built from source.
pub(super) fn run(command: PackCommand) -> anyhow::Result<ExitCode> {
    match command {
        PackCommand::Build { language, nice } => {
            if nice {
                let _ = rustix::process::nice(19);
            }
            packs::make(language.series().best())
        }
        PackCommand::Export { language, file } => transfer::export(language.series().best(), &file),
        PackCommand::Test {
            language,
            short,
            only,
            write,
        } => test::run(language.series(), short, only.as_deref(), write.as_deref()),
        PackCommand::Profile { language, file } => profile::run(language.series(), &file),
        PackCommand::Import { file, sha256 } => transfer::import(&file, sha256.as_deref()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use corundum_pack::ruby::{Edition, PackOrigin};

    #[test]
    fn every_pack_built_from_source_has_a_name_which_its_command_contains() {
        let editions = Edition::ALL.into_iter();
        for edition in editions.filter(|edition| edition.origin == PackOrigin::Source) {
            let command = edition.command();
            let name = command.rsplit(' ').next().unwrap();
            let language = Language::from_str(name, false).unwrap();
            assert_eq!(language.series().best(), edition);
        }
        assert_eq!(Language::Ruby.series(), Series::DEFAULT);
    }
}
