//! The Ruby packs made from the npm builds of MRI.
//!
//! What is particular to these builds stands here and in `sdk/ruby/npm/`: the package table, the split into code and
//! memory, the stubs for the imports of a component, and the entry shim that maps the dyno ABI to the build's exports.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::image::write_image;
use super::npm::{NpmError, NpmPackage};
use super::split::{SplitError, imported_functions, split};
use super::wasi_vfs::{EmbeddedFile, embedded_files};
use super::{Manifest, Member, PackDir, PackDirError};
use crate::abi;
use crate::archive::{ArchiveError, Mode, Writer};

/// Changed whenever the same inputs would make another pack.
const RECIPE: u32 = 3;

const ENTRY: &str = include_str!("../../ruby/npm/entry.wat");

/// Our own Ruby, where the guest finds it.
const PRELUDE: &str = "usr/lib/corundum";

/// The directory that the packages embed.
const EMBEDDED_AT: &str = "usr";

/// The prelude's files.
const PRELUDE_FILES: &[(&str, &str)] = &[
    ("dyno.rb", include_str!("../../ruby/lib/dyno.rb")),
    (
        "dyno/process.rb",
        include_str!("../../ruby/lib/dyno/process.rb"),
    ),
    (
        "dyno/output.rb",
        include_str!("../../ruby/lib/dyno/output.rb"),
    ),
    (
        "dyno/catch.rb",
        include_str!("../../ruby/lib/dyno/catch.rb"),
    ),
    (
        "dyno/replacements.rb",
        include_str!("../../ruby/lib/dyno/replacements.rb"),
    ),
    (
        "dyno/socket.rb",
        include_str!("../../ruby/lib/dyno/socket.rb"),
    ),
    (
        "dyno/random.rb",
        include_str!("../../ruby/lib/dyno/random.rb"),
    ),
    ("dyno/heap.rb", include_str!("../../ruby/lib/dyno/heap.rb")),
    (
        "dyno/bundle.rb",
        include_str!("../../ruby/lib/dyno/bundle.rb"),
    ),
    (
        "dyno/builder.rb",
        include_str!("../../ruby/lib/dyno/builder.rb"),
    ),
    (
        "dyno/input.rb",
        include_str!("../../ruby/lib/dyno/input.rb"),
    ),
    (
        "dyno/stream.rb",
        include_str!("../../ruby/lib/dyno/stream.rb"),
    ),
    (
        "dyno/response.rb",
        include_str!("../../ruby/lib/dyno/response.rb"),
    ),
    (
        "dyno/server.rb",
        include_str!("../../ruby/lib/dyno/server.rb"),
    ),
    (
        "dyno/gemfile.rb",
        include_str!("../../ruby/lib/dyno/gemfile.rb"),
    ),
    (
        "dyno/command.rb",
        include_str!("../../ruby/lib/dyno/command.rb"),
    ),
];

/// Libraries with a native part that the npm builds carry.
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

/// A series of Ruby that apps may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Series {
    /// Ruby 3.2.
    Ruby32,
    /// Ruby 3.3.
    Ruby33,
    /// Ruby 3.4.
    Ruby34,
    /// Ruby 4.0.
    Ruby40,
}

impl Series {
    /// All of them, oldest first.
    pub const ALL: [Self; 4] = [Self::Ruby32, Self::Ruby33, Self::Ruby34, Self::Ruby40];
    /// What an app gets that asks for none.
    pub const DEFAULT: Self = Self::Ruby34;

    /// As a version, `3.4`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ruby32 => "3.2",
            Self::Ruby33 => "3.3",
            Self::Ruby34 => "3.4",
            Self::Ruby40 => "4.0",
        }
    }

    fn package(self) -> NpmPackage {
        let (name, sha512) = match self {
            Self::Ruby32 => (
                "@ruby/3.2-wasm-wasi",
                "biSN8Ar3Rw4ERzESnAa/VFnoJiJmwgU9Gqj+dXXAffM5Uqft+slS4ndtS3DMgOzkcVLCaPxtDbshsQVHyIvBqQ==",
            ),
            Self::Ruby33 => (
                "@ruby/3.3-wasm-wasi",
                "jxRcChiRN/Q6Q8hAKdno6lRzhUla1dgi4EME7P2s2NcgFKGNHyRhxs13g1GtHaG2Fz3VUAwvPdl1ue/J8HoBRQ==",
            ),
            Self::Ruby34 => (
                "@ruby/3.4-wasm-wasi",
                "qrzIJ/7TGSpsZpFyLJb9OXO6TYAq18XoLd11We17Sr78hWpb5IGGFgMQ9A2Y8Ww5n0k8uKA/I8/P8MJdzlJX0Q==",
            ),
            Self::Ruby40 => (
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
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A version of Ruby that no pack has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Ruby {0} is not to be had: choose 3.2, 3.3, 3.4 or 4.0")]
pub struct UnknownSeries(pub String);

impl FromStr for Series {
    type Err = UnknownSeries;

    fn from_str(text: &str) -> Result<Self, UnknownSeries> {
        let found = Self::ALL.into_iter().find(|series| series.as_str() == text);
        found.ok_or_else(|| UnknownSeries(text.chars().take(40).collect()))
    }
}

impl TryFrom<String> for Series {
    type Error = UnknownSeries;

    fn try_from(text: String) -> Result<Self, UnknownSeries> {
        text.parse()
    }
}

impl From<Series> for String {
    fn from(series: Series) -> String {
        series.as_str().to_owned()
    }
}

/// A pack that cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The npm package.
    #[error(transparent)]
    Npm(#[from] NpmError),
    /// The package's module is not as expected.
    #[error("the Ruby module: {0}")]
    Split(#[from] SplitError),
    /// The standard library is not where it should be.
    #[error("no standard library was found in the package")]
    NoStdlib,
    /// The disk.
    #[error("{}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// The root filesystem cannot be written.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The shim does not assemble: a mistake of this program.
    #[error("the entry shim: {0}")]
    Wat(#[from] wat::Error),
    /// What was written cannot be opened.
    #[error(transparent)]
    Dir(#[from] PackDirError),
}

/// A step of preparing a pack, for whoever shows progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The package is being fetched.
    Fetch,
    /// Code and memory are being parted, the standard library is being unpacked.
    Split,
    /// The result is being written.
    Write,
}

/// Where the pack of `series` is or will be, below `cache`.
pub fn pack_path(series: Series, cache: &Path) -> PathBuf {
    cache
        .join("packs")
        .join(format!("ruby-{series}-{}", &digest(series)[..16]))
}

/// Prepares the pack of `series` below `cache`, unless it is there. Other processes may do the same meanwhile;
/// interrupted, it leaves nothing that opens.
///
/// # Errors
///
/// [`PrepareError`].
pub fn prepare(
    series: Series,
    cache: &Path,
    mut progress: impl FnMut(Step),
) -> Result<PackDir, PrepareError> {
    let path = pack_path(series, cache);
    let packs = cache.join("packs");
    let io = |source| PrepareError::Io {
        path: packs.clone(),
        source,
    };
    if let Ok(pack) = PackDir::open(&path) {
        return Ok(pack);
    }
    fs::create_dir_all(&packs).map_err(io)?;
    // One at a time: the others find it done.
    let lock = File::create(packs.join(".lock")).map_err(io)?;
    lock.lock().map_err(io)?;
    if let Ok(pack) = PackDir::open(&path) {
        return Ok(pack);
    }
    let work = tempfile::Builder::new()
        .prefix(".preparing-")
        .tempdir_in(&packs)
        .map_err(io)?;
    progress(Step::Fetch);
    let files = ["dist/ruby.wasm", "dist/ruby+stdlib.wasm"];
    let fetched = series.package().fetch(work.path(), &files)?;
    progress(Step::Split);
    let [ruby, with_stdlib] = fetched.try_into().unwrap_or_default();
    let stdlib = split("stdlib", &with_stdlib)?;
    drop(with_stdlib);
    let embedded = stdlib
        .memory
        .map(|memory| embedded_files(&memory))
        .unwrap_or_default();
    let rooted = |(path, bytes)| (format!("{EMBEDDED_AT}/{path}"), bytes);
    let stdlib: Vec<EmbeddedFile> = embedded.into_iter().map(rooted).collect();
    let version = ruby_version(&stdlib).ok_or(PrepareError::NoStdlib)?;
    let directory = work.path().join("pack");
    fs::create_dir(&directory).map_err(io)?;
    progress(Step::Write);
    let manifest = assemble(series, version, &ruby, stdlib, &directory)?;
    PackDir::write(&directory, &manifest).map_err(io)?;
    // A damaged one may lie there.
    let _ = fs::remove_dir_all(&path);
    fs::rename(&directory, &path).map_err(io)?;
    Ok(PackDir::open(&path)?)
}

/// Digest of all that the pack is made from.
fn digest(series: Series) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hasher
            .update(&(bytes.len() as u64).to_le_bytes())
            .update(bytes);
    };
    part(&RECIPE.to_le_bytes());
    part(series.package().sha512.as_bytes());
    part(ENTRY.as_bytes());
    for (name, text) in PRELUDE_FILES {
        part(name.as_bytes());
        part(text.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

fn assemble(
    series: Series,
    version: String,
    ruby: &[u8],
    stdlib: Vec<EmbeddedFile>,
    directory: &Path,
) -> Result<Manifest, PrepareError> {
    let write = |name: &str, file: &str, bytes: &[u8]| {
        let path = directory.join(file);
        fs::write(&path, bytes).map_err(|source| PrepareError::Io { path, source })?;
        Ok::<_, PrepareError>(Member::of(name, file, bytes))
    };
    let code = split("code", ruby)?;
    let entry = split("entry", &wat::parse_str(ENTRY)?)?;
    let mut modules = Vec::new();
    for (name, functions) in stubs(ruby)? {
        let wasm = wat::parse_str(format!("(module {functions})"))?;
        modules.push(write(&name, &format!("{name}.wasm"), &wasm)?);
    }
    let memory = code.memory.ok_or(SplitError::Unsupported("no memory"))?;
    let globals = [code.globals, entry.globals].concat();
    let runs = memory
        .segments
        .iter()
        .map(|(offset, bytes)| (*offset, bytes.as_slice()));
    let image = write_image(memory.minimum, memory.maximum, &globals, runs);
    let gems = default_gems(&stdlib);
    let root = root(stdlib)?;
    modules.push(write("code", "code.wasm", &code.code)?);
    modules.push(write("entry", "entry.wasm", &entry.code)?);
    Ok(Manifest {
        abi: abi::VERSION,
        language: "ruby".to_owned(),
        version,
        series: series.as_str().to_owned(),
        digest: digest(series),
        modules,
        image: write("image", "base.wasm", &image)?,
        root: write("root", "root.tar", &root)?,
        extensions: EXTENSIONS.into_iter().map(str::to_owned).collect(),
        gems,
    })
}

/// Modules that stand in for what a component's host would give, each under the name it is imported by. The table of
/// handles is the identity, so that no host state has to be restored with an image; calls into JavaScript trap.
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

/// Ruby's version, by its own record of itself.
fn ruby_version(stdlib: &[EmbeddedFile]) -> Option<String> {
    let (_, bytes) = stdlib
        .iter()
        .find(|(path, _)| path.ends_with("/rbconfig.rb"))?;
    let text = String::from_utf8_lossy(bytes);
    let setting = |name: &str| {
        let value = text.split(&format!("CONFIG[\"{name}\"] = \"")).nth(1)?;
        value.split('"').next().map(str::to_owned)
    };
    Some([setting("MAJOR")?, setting("MINOR")?, setting("TEENY")?].join("."))
}

/// The libraries of the tree that have a gem's specification: the default and the bundled gems.
fn default_gems(stdlib: &[EmbeddedFile]) -> BTreeMap<String, String> {
    let gem = |(path, _): &EmbeddedFile| {
        let (folder, file) = path.rsplit_once('/')?;
        let inside =
            folder.ends_with("/specifications") || folder.ends_with("/specifications/default");
        let (name, version) = file
            .strip_suffix(".gemspec")
            .filter(|_| inside)?
            .rsplit_once('-')?;
        Some((name.to_owned(), version.to_owned()))
    };
    stdlib.iter().filter_map(gem).collect()
}

/// The root filesystem: the standard library where it was, and the prelude.
fn root(stdlib: Vec<EmbeddedFile>) -> Result<Vec<u8>, ArchiveError> {
    let mut files: BTreeMap<String, Vec<u8>> = stdlib.into_iter().collect();
    for (name, text) in PRELUDE_FILES {
        files.insert(format!("{PRELUDE}/{name}"), text.as_bytes().to_vec());
    }
    let mut writer = Writer::new(Vec::new());
    for (path, bytes) in files {
        writer.add_file(&path, bytes.as_slice(), bytes.len() as u64, Mode::Plain)?;
    }
    Ok(writer.finish()?.output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_shim_is_a_valid_module_that_exports_the_dyno_abi() {
        let wasm = wat::parse_str(ENTRY).unwrap();
        wasmparser::Validator::new().validate_all(&wasm).unwrap();
        for name in [
            abi::INITIALIZE,
            abi::BOOT,
            abi::RESTORE,
            abi::HANDLE,
            abi::RUN,
        ] {
            assert!(
                super::super::split::exports_function(&wasm, name).unwrap(),
                "{name}"
            );
        }
    }

    #[test]
    fn a_series_is_a_version_of_two_numbers() {
        assert_eq!("3.4".parse(), Ok(Series::Ruby34));
        assert_eq!(
            "2.7".parse::<Series>(),
            Err(UnknownSeries("2.7".to_owned()))
        );
    }
}
