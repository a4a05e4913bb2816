//! Preparation of packs from the npm builds of MRI.
//!
//! This module and `sdk/ruby/npm/` contain the specifics of these builds: the table of packages, the stubs for the
//! imports of a component, and the entry shim that maps the dyno ABI to the build's exports.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::library::{self, LibraryFile};
use super::registry::NpmPackage;
use super::wasi_vfs::embedded_files;
use super::{Edition, PackParts, PrepareError, PrepareStep, Series};
use crate::image::write_image;
use crate::split::{SplitError, imported_functions, split};

/// Entry shim in WebAssembly's text format.
const ENTRY: &str = include_str!("../../../ruby/npm/entry.wat");

/// The directory that the packages embed in a module.
const EMBEDDED_AT: &str = "usr";

/// Libraries with a native extension that the npm builds include.
const EXTENSIONS: [&str; 14] = [
    "date",
    "digest",
    "erb",
    "etc",
    "io-console",
    "json",
    "openssl",
    "psych",
    "racc",
    "ripper",
    "stringio",
    "strscan",
    "zlib",
    "cgi",
];

/// Returns the npm package of a series.
fn package(series: Series) -> NpmPackage {
    let (name, sha512) = match series {
        Series::Ruby32 => (
            "@ruby/3.2-wasm-wasi",
            "biSN8Ar3Rw4ERzESnAa/VFnoJiJmwgU9Gqj+dXXAffM5Uqft+slS4ndtS3DMgOzkcVLCaPxtDbshsQVHyIvBqQ==",
        ),
        Series::Ruby33 => (
            "@ruby/3.3-wasm-wasi",
            "jxRcChiRN/Q6Q8hAKdno6lRzhUla1dgi4EME7P2s2NcgFKGNHyRhxs13g1GtHaG2Fz3VUAwvPdl1ue/J8HoBRQ==",
        ),
        Series::Ruby34 => (
            "@ruby/3.4-wasm-wasi",
            "qrzIJ/7TGSpsZpFyLJb9OXO6TYAq18XoLd11We17Sr78hWpb5IGGFgMQ9A2Y8Ww5n0k8uKA/I8/P8MJdzlJX0Q==",
        ),
        Series::Ruby40 => (
            "@ruby/4.0-wasm-wasi",
            "ObIFKo4CyXJFWtJU2BRnrnvWA4YZEY9wYEVGCiVZVQ1fZ0Ox4PJuUJT0+Z7FKQ3vAVI75ymddknYEV0zPHKDpw==",
        ),
    };
    NpmPackage {
        name,
        version: "2.10.1",
        sha512,
    }
}

/// Returns the inputs of a pack that are specific to npm builds, for its digest.
pub(super) fn inputs(series: Series) -> [&'static str; 2] {
    [package(series).sha512, ENTRY]
}

/// Downloads the package into the empty directory `work`, and returns the parts of its pack.
pub(super) fn make(
    edition: Edition,
    work: &Path,
    progress: &mut (dyn FnMut(PrepareStep) + Send),
) -> Result<PackParts, PrepareError> {
    progress(PrepareStep::Fetch);
    let files = ["dist/ruby.wasm", "dist/ruby+stdlib.wasm"];
    let fetched = package(edition.series).fetch(work, &files)?;
    progress(PrepareStep::Split);
    let [ruby, with_stdlib] = fetched.try_into().unwrap_or_default();
    let stdlib = split("stdlib", &with_stdlib, &[])?;
    drop(with_stdlib);
    let embedded = stdlib
        .memory
        .map(|memory| embedded_files(&memory))
        .unwrap_or_default();
    let rooted = |(path, bytes)| (format!("{EMBEDDED_AT}/{path}"), bytes);
    let library: Vec<LibraryFile> = embedded.into_iter().map(rooted).collect();
    let code = split("code", &ruby, &[])?;
    let entry = split("entry", &wat::parse_str(ENTRY)?, &[])?;
    let mut modules = Vec::new();
    for (name, functions) in stubs(&ruby)? {
        modules.push((name, wat::parse_str(format!("(module {functions})"))?));
    }
    let memory = code.memory.ok_or(SplitError::Unsupported("no memory"))?;
    let globals = [code.globals, entry.globals].concat();
    let runs = memory
        .segments
        .iter()
        .map(|(offset, bytes)| (*offset, bytes.as_slice()));
    let image = write_image(memory.minimum, memory.maximum, &globals, runs);
    modules.push(("code".to_owned(), code.code));
    modules.push(("entry".to_owned(), entry.code));
    Ok(PackParts {
        version: library::ruby_version(&library).ok_or(PrepareError::NoStdlib)?,
        modules,
        polling: Vec::new(),
        symbols: None,
        image,
        gems: library::default_gems(&library),
        library,
        extensions: EXTENSIONS.into_iter().map(str::to_owned).collect(),
    })
}

/// Generates modules that replace the imports from a component's host, by the name of the imported module.
///
/// Handles of resources map to themselves, so that an image needs no state of the host. Calls into JavaScript trap.
fn stubs(ruby: &[u8]) -> Result<BTreeMap<String, String>, SplitError> {
    let mut modules: BTreeMap<String, String> = BTreeMap::new();
    for (module, name, kind) in imported_functions(ruby)? {
        if module == "wasi_snapshot_preview1" {
            continue;
        }
        let types = |types: &[wasmparser::ValType]| {
            types
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" ")
        };
        let body = match (name.starts_with("resource_"), kind.params(), kind.results()) {
            (true, [_], [_]) => "(local.get 0)",
            (true, _, []) => "",
            _ => "(unreachable)",
        };
        let (params, results) = (types(kind.params()), types(kind.results()));
        let wat = modules.entry(module).or_default();
        let _ = writeln!(
            wat,
            "(func (export \"{name}\") (param {params}) (result {results}) {body})"
        );
    }
    Ok(modules)
}

#[cfg(test)]
mod tests {
    use super::*;
    use corundum_abi::exports;

    #[test]
    fn entry_shim_is_valid_and_exports_the_dyno_abi() {
        let wasm = wat::parse_str(ENTRY).unwrap();
        wasmparser::Validator::new().validate_all(&wasm).unwrap();
        for name in [
            exports::INITIALIZE,
            exports::BOOT,
            exports::RESTORE,
            exports::HANDLE,
            exports::RUN,
        ] {
            assert!(
                crate::split::exports_function(&wasm, name).unwrap(),
                "{name}"
            );
        }
    }
}
