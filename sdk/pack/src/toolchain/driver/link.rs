//! Links of side modules.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::super::{runtime_library, zig};
use super::DriverPaths;
use super::error::DriverError;
use crate::sysroot;

/// A word of the linker's command line whose position matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LinkItem {
    /// An object or archive of the host.
    File(PathBuf),
    /// The name of an archive, without `-l`.
    Library(String),
    /// The libraries of C++.
    CPlusPlus,
    /// An option.
    Option(&'static str),
}

impl LinkItem {
    pub(super) fn is_file(&self) -> bool {
        matches!(self, Self::File(_))
    }
}

/// Libraries that the pack itself provides, or that an extension cannot have.
const PROVIDED: &[&str] = &[
    "c", "m", "dl", "pthread", "rt", "crypt", "util", "resolv", "nsl", "gcc", "gcc_s", "atomic",
    "ssp",
];
/// Libraries of C++, in place of which the sysroot's are linked.
const CPLUSPLUS: &[&str] = &["stdc++", "c++", "c++abi", "unwind", "supc++"];

/// Options of other linkers that mean nothing for a side module.
const DROP: &[&str] = &[
    "--as-needed",
    "--no-as-needed",
    "--add-needed",
    "--no-add-needed",
    "--copy-dt-needed-entries",
    "--no-copy-dt-needed-entries",
    "--no-undefined",
    "--allow-shlib-undefined",
    "--no-allow-shlib-undefined",
    "--enable-new-dtags",
    "--disable-new-dtags",
    "--export-dynamic",
    "-export-dynamic",
    "-E",
    "--gc-sections",
    "--no-gc-sections",
    "--start-group",
    "--end-group",
    "-(",
    "-)",
    "--no-keep-memory",
    "--reduce-memory-overheads",
    "--relax",
    "--no-relax",
    "--strip-all",
    "--strip-debug",
    "-s",
    "-S",
    "-x",
    "--discard-all",
    "--eh-frame-hdr",
    "--fatal-warnings",
    "--no-fatal-warnings",
    "--warn-common",
    "--warn-once",
    "-Bstatic",
    "-Bdynamic",
    "-Bsymbolic",
    "-Bsymbolic-functions",
    "-O0",
    "-O1",
    "-O2",
    "-O3",
];
/// Starts of such options.
const DROP_START: &[&str] = &[
    "--build-id",
    "--hash-style=",
    "--compress-debug-sections=",
    "--exclude-libs=",
    "--icf=",
    "--rpath=",
    "--rpath-link=",
    "-rpath=",
    "-rpath-link=",
    "--soname=",
    "-soname=",
    "--sort-common",
    "--version-script=",
    "--dynamic-list=",
    "-R",
];
/// Such options whose value is the next word.
const DROP_WITH_VALUE: &[&str] = &[
    "-z",
    "-rpath",
    "--rpath",
    "-rpath-link",
    "--rpath-link",
    "-soname",
    "--soname",
    "-h",
    "--exclude-libs",
    "--version-script",
    "--dynamic-list",
];

/// Treatment of an option of the linker.
pub(super) enum LinkerOption {
    /// The linker gets it.
    Pass(LinkItem),
    Drop,
    /// It means nothing, and neither does the next word.
    DropWithValue,
}

/// Returns the treatment of an option of the linker.
pub(super) fn option(word: &str) -> Result<LinkerOption, DriverError> {
    match word {
        "--whole-archive" => {
            return Ok(LinkerOption::Pass(LinkItem::Option("--whole-archive")));
        }
        "--no-whole-archive" => {
            return Ok(LinkerOption::Pass(LinkItem::Option("--no-whole-archive")));
        }
        "" => return Ok(LinkerOption::Drop),
        _ => {}
    }
    if DROP_WITH_VALUE.contains(&word) {
        return Ok(LinkerOption::DropWithValue);
    }
    if DROP.contains(&word) || DROP_START.iter().any(|start| word.starts_with(start)) {
        return Ok(LinkerOption::Drop);
    }
    Err(DriverError::refused(
        &format!("-Wl,{word}"),
        "the option of the linker is not supported for native extensions",
    ))
}

/// Translates the name after `-l`. Returns `None` if the pack provides the library.
pub(super) fn library(name: &str) -> Result<Option<LinkItem>, DriverError> {
    let allowed = |symbol: char| symbol.is_ascii_alphanumeric() || "+-_.".contains(symbol);
    if !name.chars().all(allowed) {
        return Err(DriverError::refused(
            &format!("-l{name}"),
            "a library's name has letters, digits and + - _ . only",
        ));
    }
    if CPLUSPLUS.contains(&name) {
        return Ok(Some(LinkItem::CPlusPlus));
    }
    let left_out = PROVIDED.contains(&name)
        || name == "ruby"
        || name.starts_with("ruby-")
        || name.starts_with("ruby.");
    Ok((!left_out).then(|| LinkItem::Library(name.to_owned())))
}

/// Returns the command that links a side module.
pub(super) fn command(
    output: &Path,
    directories: &[PathBuf],
    items: &[LinkItem],
    with_cplusplus: bool,
    paths: &DriverPaths<'_>,
) -> Vec<OsString> {
    let mut command: Vec<OsString> = vec![zig(paths.toolchain).into()];
    let mut add = |word: &str| command.push(word.into());
    for word in [
        "wasm-ld",
        "--experimental-pic",
        "-shared",
        "-Bstatic",
        "-Bsymbolic",
        "--no-entry",
        "--no-export-dynamic",
        "--gc-sections",
        "--strip-debug",
    ] {
        add(word);
    }
    for name in exports(output) {
        add(&format!("--export-if-defined={name}"));
    }
    match paths.provided {
        Some(provided) => {
            add("--unresolved-symbols=report-all");
            let mut word = OsString::from("--allow-undefined-file=");
            word.push(provided);
            command.push(word);
        }
        None => add("--unresolved-symbols=import-dynamic"),
    }
    command.extend(["-o".into(), output.into()]);
    let system = paths.sysroot.map(|root| root.join("usr/lib"));
    for directory in directories.iter().chain(&system) {
        command.extend(["-L".into(), directory.into()]);
    }
    let mut needed = Vec::new();
    for item in items {
        command.push(match item {
            LinkItem::CPlusPlus => continue,
            LinkItem::File(path) => path.into(),
            LinkItem::Option(option) => option.into(),
            LinkItem::Library(name) => {
                needed.push(name.as_str());
                format!("-l{name}").into()
            }
        });
    }
    // Names that a static library needs are not in its archive.
    let further = sysroot::needed_archives(&needed);
    command.extend(further.iter().map(|name| format!("-l{name}").into()));
    if with_cplusplus || items.contains(&LinkItem::CPlusPlus) {
        command.extend(["-lc++", "-lc++abi", "-lunwind"].map(Into::into));
    }
    command.push(runtime_library(paths.toolchain).into());
    command
}

/// Returns the names of functions that the host or Ruby calls in a module.
fn exports(output: &Path) -> Vec<String> {
    let name = output.file_name().unwrap_or_default().to_string_lossy();
    let base = name.split('.').next().unwrap_or_default();
    // clang's names of `main`, by its parameters, come last.
    [
        &format!("Init_{base}"),
        "__wasm_call_ctors",
        "main",
        "__main_void",
        "__main_argc_argv",
    ]
    .map(str::to_owned)
    .to_vec()
}
