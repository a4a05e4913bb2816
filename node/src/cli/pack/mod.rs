//! Commands about packs: their build, tests and transfer.

mod conformance;
mod dyno_runner;
mod install;
mod name;
mod profile;
mod test;
mod transfer;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use corundum_pack::language::PackKey;
use corundum_pack::language::template;

use self::conformance::KitLength;
use self::install::Conformance;
use self::name::PackName;
use super::packs;

/// Commands about packs.
#[derive(Subcommand)]
pub(crate) enum PackCommand {
    /// Write the source of a pack for a new language
    ///
    /// The folder has a pack.toml with comments, a build script, and a module in C that answers every request. docs/writing-a-pack.md
    /// continues from there.
    ///
    /// Example: corundum pack new mylang
    New {
        /// Name of the language: lower-case letters and digits
        name: String,
        /// Folder to write [default: the name of the language]
        #[arg(long, value_name = "FOLDER")]
        directory: Option<PathBuf>,
    },
    /// Build a pack from its source
    ///
    /// The source is a folder with a pack.toml. Its build script runs with the permissions of this command, with a compiler for
    /// dynos; downloads must have the digests that pack.toml names. `corundum pack install` lets nodes use the result.
    ///
    /// `ruby` and `ruby-3.4` are built by Corundum itself: it fetches MRI's source from Debian's archive and a compiler from the
    /// Python index, checks their digests, and builds Ruby for dynos, which takes some minutes once on each machine. An
    /// interrupted build resumes when the command runs again.
    ///
    /// Example: corundum pack build ./lua
    Build {
        /// Folder with a pack.toml, or ruby, ruby-3.3 or ruby-3.4
        source: String,
        /// Run at the lowest priority
        #[arg(long)]
        nice: bool,
    },
    /// Let nodes use a pack that was built
    ///
    /// Runs the short conformance kit first. Nodes on this machine use the pack from their next push, and move the apps of the
    /// series to it.
    ///
    /// Example: corundum pack install lua
    Install {
        /// Name of the pack, such as lua or lua-5.4
        name: String,
        /// Install a pack that fails the conformance kit, or has no probe app
        #[arg(long)]
        untested: bool,
    },
    /// Take a pack from nodes
    ///
    /// Its apps keep running until their node restarts; their language can be installed again.
    Uninstall {
        /// Name of the pack, such as lua or lua-5.4
        name: String,
    },
    /// Write a built pack into one file for other machines
    ///
    /// Prints the file's SHA-256, which `corundum pack import --sha256` checks.
    ///
    /// Example: corundum pack export ruby ruby.pack
    Export {
        /// Name of the pack, such as ruby, ruby-3.4 or lua
        name: String,
        /// File to write
        file: PathBuf,
    },
    /// Check that a pack respects the rules of dynos
    ///
    /// Drives the probe app of the pack in dynos, and names each rule that it breaks with the way to follow it.
    ///
    /// With --mri, runs MRI's basictest, bootstraptest and test/ruby instead. sdk/ruby/test/known.txt lists the tests that are known
    /// to fail with their reasons. The run fails if any other test fails, or if one of these passes.
    ///
    /// Example: corundum pack test lua
    Test {
        /// Name of the pack, such as lua, ruby or ruby-3.4
        name: String,
        /// Leave out what takes long
        #[arg(long)]
        short: bool,
        /// Run MRI's own tests in dynos of a pack of Ruby
        #[arg(long)]
        mri: bool,
        /// With --mri, run only files whose name contains this text [default: all]
        #[arg(long, value_name = "TEXT", requires = "mri")]
        only: Option<String>,
        /// With --mri, write the tests that failed to this file, in the form of known.txt
        #[arg(long, value_name = "FILE", requires = "mri")]
        write: Option<PathBuf>,
    },
    /// Record the profile that guides the build of Ruby
    ///
    /// Builds Ruby with counters, runs the training programs in dynos, and writes how often each branch ran. script/ruby-profile
    /// runs this command after changes of the compiler, of Ruby's version, or of many of its functions.
    ///
    /// Example: corundum pack profile ruby 3.3.proftext.zst
    Profile {
        /// Name of the pack: ruby, ruby-3.3 or ruby-3.4
        name: String,
        /// File to write
        file: PathBuf,
    },
    /// Import a pack that another machine has built
    ///
    /// The command checks the digests of the pack's parts, and runs the short conformance kit. The file of a pack of Ruby must come from the same version of Corundum,
    /// and a running node uses it after a restart; nodes use other packs from their next push.
    ///
    /// Example: corundum pack import lua.pack --sha256 1f2e...
    Import {
        /// File or URL of the pack; a URL needs --sha256
        source: String,
        /// Require this SHA-256 of the file, as `corundum pack export` printed it [default: any]
        #[arg(long, value_name = "DIGEST")]
        sha256: Option<String>,
        /// Import a pack that fails the conformance kit, or has no probe app
        #[arg(long)]
        untested: bool,
    },
}

/// Runs a command about packs.
pub(super) fn run(command: PackCommand) -> anyhow::Result<ExitCode> {
    match command {
        PackCommand::New { name, directory } => {
            let directory = directory.unwrap_or_else(|| PathBuf::from(&name));
            template::write(&name, &directory)?;
            println!(
                "{} has the source of a pack\nNext: corundum pack build ./{}",
                directory.display(),
                directory.display()
            );
            Ok(ExitCode::SUCCESS)
        }
        PackCommand::Build { source, nice } => {
            if nice {
                let _ = rustix::process::nice(19);
            }
            match name::source_edition(&source) {
                Some(edition) => packs::make(&PackKey::Ruby(edition)),
                None if Path::new(&source).is_dir() => install::build(Path::new(&source)),
                None => bail!(
                    "{source}: neither a folder with a pack.toml, nor ruby, ruby-3.3 or ruby-3.4"
                ),
            }
        }
        PackCommand::Install { name, untested } => {
            install::install(&name, Conformance::of(untested))
        }
        PackCommand::Uninstall { name } => install::uninstall(&name),
        PackCommand::Export { name, file } => transfer::export(&name, &file),
        PackCommand::Test {
            name,
            short,
            mri: true,
            only,
            write,
        } => test::run(ruby_of(&name)?, short, only.as_deref(), write.as_deref()),
        PackCommand::Test { name, short, .. } => {
            let (_, pack) = PackName::find(&name, &super::cache()?)?.open(&super::cache()?)?;
            let length = match short {
                true => KitLength::Short,
                false => KitLength::Whole,
            };
            Ok(conformance::run(&pack, length)?.finish())
        }
        PackCommand::Profile { name, file } => profile::run(ruby_of(&name)?, &file),
        PackCommand::Import {
            source,
            sha256,
            untested,
        } => transfer::import(&source, sha256.as_deref(), Conformance::of(untested)),
    }
}

/// Returns the series of a pack of Ruby.
fn ruby_of(name: &str) -> anyhow::Result<corundum_pack::ruby::Series> {
    let edition = name::source_edition(name);
    let edition = edition.with_context(|| format!("{name}: use ruby, ruby-3.3 or ruby-3.4"))?;
    Ok(edition.series)
}
