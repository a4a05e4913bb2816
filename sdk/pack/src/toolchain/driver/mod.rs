//! Command lines as Ruby's `mkmf` writes them, translated into calls of the toolchain.
//!
//! [`plan`] starts nothing and reads no file. It accepts the options in its lists, maps each path of the guest to a path of the host,
//! and refuses everything else by name: options that load code into the compiler, or name files or programs, never reach it.
//!
//! The source itself can name files of the host (`#include`, `#embed`, `.incbin`), which no list of options prevents, and a
//! symbolic link may lead out of the work directory. Run the commands where only the directories of [`DriverPaths`] are visible,
//! without environment variables and without a network.

mod archiver;
mod arguments;
mod compile;
mod error;
mod link;
mod options;
mod paths;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

pub use compile::is_cplusplus;
pub use error::DriverError;
pub use paths::guest_text;

/// Directories of the host that the guest's paths stand for.
#[derive(Debug, Clone, Copy)]
pub struct DriverPaths<'a> {
    /// The toolchain ([`Toolchain::directory`](super::Toolchain::directory)).
    pub toolchain: &'a Path,
    /// The sysroot ([`Sysroot::directory`](crate::sysroot::Sysroot::directory)), if the extension may use libraries. Its `usr` is part of the guest's `/usr`.
    pub sysroot: Option<&'a Path>,
    /// A directory with Ruby's headers, which is part of the guest's `/usr`: it contains `include/ruby-3.3.0`.
    pub ruby: &'a Path,
    /// The directory that stands for the guest's `/`; the guest's `/app` and `/tmp` are below it.
    pub work: &'a Path,
    /// The guest's current directory, below `/app` or `/tmp`. The commands must run in this directory below `work`.
    pub current: &'a str,
    /// A file with the names of all functions and variables of the pack, and with [`TAGS`], one a line.
    ///
    /// With it, the linker fails for any other symbol, as `have_func` of `mkmf` expects. Without it, each undefined symbol
    /// becomes an import.
    pub provided: Option<&'a Path>,
}

/// Tags of C++'s exceptions and of `longjmp`, which a module may import beside functions and variables.
pub const TAGS: [&str; 2] = ["__cpp_exception", "__c_longjmp"];

/// Commands that do the work of one command line.
///
/// Show their output as [`guest_text`], since it names directories of the host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommandPlan {
    /// Programs with their arguments, to run one after the other until one fails. There may be none.
    pub commands: Vec<Vec<OsString>>,
    /// Files of the host to remove afterwards.
    pub temporary: Vec<PathBuf>,
}

/// Languages of source files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SourceLanguage {
    C,
    CPlusPlus,
    /// Assembly of some processor, which extensions guard by `#if`. For WebAssembly, nothing is left of it.
    Assembly,
}

/// Translates a command line: the program's name, and its arguments.
///
/// The programs are `cc`, `c++`, `ar`, `ranlib` and `strip`, with the names that GCC and clang give them.
///
/// # Errors
///
/// Returns [`DriverError`], whose text is for the author of the extension, if the program or an option is not supported, or
/// a path is outside of the directories that an extension may use.
pub fn plan(command: &[String], paths: &DriverPaths<'_>) -> Result<CommandPlan, DriverError> {
    let (program, arguments) = command.split_first().ok_or(DriverError::Empty)?;
    let name = program.rsplit('/').next().unwrap_or(program);
    // No program expands these, but each of them reads the file.
    if let Some(file) = arguments.iter().find(|word| word.starts_with('@')) {
        return Err(DriverError::refused(
            file,
            "files of arguments are not read",
        ));
    }
    match name {
        "cc" | "gcc" | "clang" => compile::plan(SourceLanguage::C, arguments, paths),
        "c++" | "g++" | "clang++" => compile::plan(SourceLanguage::CPlusPlus, arguments, paths),
        "ar" | "gcc-ar" | "llvm-ar" => archiver::ar(arguments, paths),
        "ranlib" | "gcc-ranlib" | "llvm-ranlib" => archiver::ranlib(arguments, paths),
        // The linker strips modules, and the host reads no other section.
        "strip" => Ok(CommandPlan::default()),
        _ => Err(DriverError::Program(name.to_owned())),
    }
}
