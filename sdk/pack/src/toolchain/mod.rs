//! Compiler, linker and archiver for native extensions of guests.
//!
//! [`install`] unpacks the compiler into the cache once for each version. All programs are calls of one executable, `zig`:
//! `zig clang` is LLVM's compiler itself, which writes no cache, so that a compiler may run where the toolchain cannot be
//! written. [`driver`] translates command lines as Ruby's `mkmf` writes them.

pub mod driver;
mod flags;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::cache_usage;
use crate::download::{self, DownloadError, ZIG};
use crate::process::ProgramError;
use crate::script::{self, MissingTools, ScriptFailure};

pub(crate) use flags::{COMPILE_FLAGS, CPLUSPLUS_FLAGS, include_directories};

/// Script that unpacks the compiler and compiles its runtime library.
const RECIPE: &str = include_str!("../../../sysroot/toolchain.sh");

/// Programs that the installation needs, with their Debian packages.
const TOOLS: [(&str, &str); 3] = [("apt-get", "apt"), ("python3", "python3"), ("bash", "bash")];

/// Failure to install the toolchain.
#[derive(Debug, thiserror::Error)]
pub enum ToolchainError {
    /// Programs are missing. Holds their names, and the Debian packages that contain them.
    #[error("programs for installing the compiler are missing: {}\nOn Debian: apt-get install {}", .0.join(", "), .1.join(" "))]
    Tools(Vec<String>, Vec<String>),
    /// The compiler's package cannot be downloaded.
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// A program cannot be run.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The compiler cannot be unpacked, or cannot compile its runtime library.
    #[error("cannot install the compiler ({reason}). Last lines of the output:\n{output}\nFull output: {}. Check the free space of the disk, and try again", log.display())]
    Install {
        /// Exit status, or reason for aborting the installation.
        reason: String,
        /// Last lines of the output.
        output: String,
        /// File with the full output.
        log: PathBuf,
    },
    /// The disk fails.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Cause of the failure.
        source: io::Error,
    },
}

impl ToolchainError {
    fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}

/// An installed toolchain. Its directory does not change any more, and can be mounted read-only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain {
    directory: PathBuf,
}

impl Toolchain {
    /// Returns the directory that contains all files of the toolchain.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the path of the executable that contains all programs.
    pub fn zig(&self) -> PathBuf {
        zig(&self.directory)
    }
}

/// Returns the path of the executable in a toolchain's directory.
fn zig(directory: &Path) -> PathBuf {
    directory.join("ziglang/zig")
}

/// Returns the path of the library of functions that the compiler itself calls, in a toolchain's directory.
fn runtime_library(directory: &Path) -> PathBuf {
    directory.join("lib/libcompiler_rt.a")
}

/// Returns the digest of all inputs of the toolchain.
pub fn digest() -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(ZIG.as_bytes()).update(RECIPE.as_bytes());
    hasher.update(std::env::consts::ARCH.as_bytes());
    hasher.finalize().to_hex().to_string()
}

/// Returns the directory of the toolchain below `cache`, whether it is there or not.
pub(crate) fn place(cache: &Path) -> PathBuf {
    cache.join(format!("toolchain-{}", &digest()[..16]))
}

/// Returns the directory below `cache` in which the compiler keeps the C library that it has compiled.
pub(crate) fn compiled_library(cache: &Path) -> PathBuf {
    cache.join(format!("toolchain-{}.cache", &digest()[..16]))
}

/// Installs the toolchain below `cache` unless it is there.
///
/// Processes that install at the same time wait for the first one. `progress` is called before each part that takes
/// seconds, with a text for display.
///
/// # Errors
///
/// Returns [`ToolchainError`] if the download fails, or if a program or space on the disk is missing.
pub fn install(cache: &Path, progress: &mut dyn FnMut(&str)) -> Result<Toolchain, ToolchainError> {
    let name = format!("toolchain-{}", &digest()[..16]);
    let directory = cache.join(&name);
    let installed = Toolchain {
        directory: directory.clone(),
    };
    if directory.exists() {
        cache_usage::mark_used(&directory);
        return Ok(installed);
    }
    fs::create_dir_all(cache).map_err(|source| ToolchainError::io(cache, source))?;
    let lock = cache.join(format!("{name}.lock"));
    let _lock = File::create(&lock)
        .and_then(|file| file.lock().map(|()| file))
        .map_err(|source| ToolchainError::io(&lock, source))?;
    if directory.exists() {
        return Ok(installed);
    }
    if let Some(MissingTools { programs, packages }) = script::check_tools(&TOOLS)? {
        return Err(ToolchainError::Tools(programs, packages));
    }
    progress(&format!("downloading {ZIG}"));
    let downloads = cache.join("downloads");
    let wheel = download::compiler(&downloads)?;
    progress("installing the compiler");
    // A name of its own, so that an interrupted installation leaves nothing that looks like a result.
    let work = cache.join(format!("{name}.work"));
    let _ = fs::remove_dir_all(&work);
    fs::create_dir_all(work.join("tmp")).map_err(|source| ToolchainError::io(&work, source))?;
    let log = work.join("log");
    let result = work.join("result");
    let variables = [
        ("TMPDIR", work.join("tmp").into()),
        ("TOOLS", work.clone().into()),
        ("WHEEL", downloads.join(wheel).into()),
        ("RESULT", result.clone().into()),
        ("ZIG_GLOBAL_CACHE_DIR", work.join("cache").into()),
        ("ZIG_LOCAL_CACHE_DIR", work.join("cache").into()),
    ];
    let ended = script::run(RECIPE, &work, &log, variables);
    if let Err(ScriptFailure { reason, output }) =
        ended.map_err(|source| ToolchainError::io(&log, source))?
    {
        return Err(ToolchainError::Install {
            reason,
            output,
            log,
        });
    }
    fs::rename(&result, &directory).map_err(|source| ToolchainError::io(&directory, source))?;
    let _ = fs::remove_dir_all(&work);
    Ok(installed)
}
