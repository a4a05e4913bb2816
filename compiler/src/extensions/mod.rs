//! Native extensions of gems: built for the sandbox when an app is pushed, and kept for the next push.
//!
//! A gem's `extconf.rb` runs in a dyno, and mkmf writes its Makefile there (`sdk/ruby/lib/dyno/extension.rb`). The compilers
//! that it asks for run on the node, in a jail ([`tools`]). The result are the files that `make install` would install:
//! shared libraries for WebAssembly, which dynos load. It depends on the gem, the pack, the compiler and the libraries alone, and is
//! kept under a digest of these ([`cache`]).

mod cache;
mod error;
mod headers;
mod pkg_config;
mod tools;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use corundum_pack::archive::{Archive, ArchiveNode};
use corundum_pack::extension::PackSymbols;
use corundum_pack::toolchain::driver;
use corundum_pack::{sysroot, toolchain};

use self::cache::ExtensionKey;
pub use self::cache::ExtensionResults;
pub use self::error::ExtensionBuildError;
use self::tools::ExtensionTools;
use crate::gems::GemDependency;
use crate::made_files::{self, MadeFile};
use crate::sandbox::{Sandbox, SandboxApp, SandboxError, SandboxOutbound};

/// Command of the pack that builds an extension.
const COMMAND: &str = "corundum-extension";
/// Variables of a build. Gems that bring sources of libraries along use those of the sysroot.
const ENVIRON: [(&str, &str); 5] = [
    ("HOME", "/tmp"),
    ("LANG", "C.UTF-8"),
    ("NOKOGIRI_USE_SYSTEM_LIBRARIES", "1"),
    ("PATH", "/usr/bin:/bin"),
    ("TMPDIR", "/tmp"),
];

/// A gem with native extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NativeGem {
    /// Name and version.
    pub full_name: String,
    /// Directory of the gem in the app's tree.
    pub directory: String,
    /// Paths of the scripts in that directory.
    pub scripts: Vec<String>,
    /// Arguments of the scripts, as `bundle config build.NAME` sets them.
    pub options: Vec<String>,
    /// Digest of the gem's files.
    pub digest: String,
    /// Dependencies that the lockfile lacks because it has only precompiled builds of the gem, and that no source has.
    pub lacks: Vec<GemDependency>,
    /// The pack's version of the gem, which works in its place.
    pub replacement: Option<PackGem>,
}

/// A version of the pack for a gem of the lockfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackGem {
    /// Name of the gem.
    pub name: String,
    /// The pack's version.
    pub version: String,
    /// The version of the lockfile.
    pub locked: String,
}

impl NativeGem {
    /// Explains a failed build whose script asks for a gem that the lockfile lacks.
    fn explanation(&self, log: &str) -> String {
        let asks = |lack: &&GemDependency| {
            log.contains("cannot load such file") || log.contains(&format!("'{}'", lack.name))
        };
        match self.lacks.iter().find(asks) {
            None => String::new(),
            Some(lack) => format!(
                "{} needs {lack} to be compiled, which is not in Gemfile.lock, because that has only precompiled builds, and which its server does not have or cannot deliver: run bundle lock --add-platform ruby, and commit Gemfile.lock\n",
                self.full_name
            ),
        }
    }
}

/// Builder of the extensions of one app.
pub struct ExtensionBuilder<'a, S: Sandbox> {
    /// Engine with the app's pack.
    pub sandbox: &'a S,
    /// Directory of compilers, libraries and kept results.
    pub cache: &'a Path,
    /// Directory of the pack.
    pub pack: &'a Path,
}

impl<S: Sandbox> ExtensionBuilder<'_, S> {
    /// Returns the installed files of a gem's extensions, whose sources are in `files`. `progress` gets lines for the pusher.
    ///
    /// # Errors
    ///
    /// [`ExtensionBuildError`].
    pub fn build(
        &self,
        gem: &NativeGem,
        files: &Arc<Archive>,
        mut progress: impl FnMut(&str),
    ) -> Result<Vec<MadeFile>, ExtensionBuildError> {
        let manifest = self.sandbox.manifest();
        let symbols = self.symbols()?;
        let libraries = libraries_of(gem, files);
        let key = ExtensionKey {
            gem: &gem.digest,
            options: &gem.options,
            pack: &manifest.digest,
            toolchain: &toolchain::digest(),
            sysroot: &sysroot::digest(&libraries),
        };
        let results = ExtensionResults::new(self.cache);
        if let Some(kept) = results.find(&key) {
            // The pack may have lost the code, or has code of an earlier revision.
            self.compile(gem, &kept)?;
            return Ok(kept);
        }
        progress("Compiling its native extension");
        let toolchain = toolchain::install(self.cache, &mut |_| {})?;
        let sysroot = sysroot::prepare(self.cache, &libraries, &mut |_| {})?;
        let work = tempfile::Builder::new()
            .prefix("corundum-extension-")
            .tempdir()?;
        let tools = ExtensionTools::new(
            work.path(),
            toolchain.directory(),
            sysroot.directory(),
            &self.sandbox.root(),
            &symbols,
        )?;
        tools.add_sources(&gem.directory, files)?;
        let tools = Arc::new(tools);
        let mut installed = Vec::new();
        for script in &gem.scripts {
            let output = self.run(gem, script, files, tools.clone())?;
            installed.extend(made_files::parse(&output).ok_or(ExtensionBuildError::Output)?);
        }
        self.compile(gem, &installed)?;
        results.keep(&key, &installed)?;
        Ok(installed)
    }

    /// Compiles the libraries for the node's processor, unless that has been done.
    fn compile(&self, gem: &NativeGem, files: &[MadeFile]) -> Result<(), ExtensionBuildError> {
        for (path, bytes) in files.iter().filter(|(path, _)| path.ends_with(".so")) {
            let compiled = self.sandbox.compile_extension(bytes);
            compiled.map_err(|source| ExtensionBuildError::Link {
                gem: gem.full_name.clone(),
                file: path.clone(),
                source,
            })?;
        }
        Ok(())
    }

    fn symbols(&self) -> Result<PackSymbols, ExtensionBuildError> {
        let member = self.sandbox.manifest().symbols.as_ref();
        let member = member.ok_or(ExtensionBuildError::Unsupported)?;
        let text = fs::read(self.pack.join(&member.file))?;
        serde_json::from_slice(&text).map_err(|_| ExtensionBuildError::Unsupported)
    }

    fn run(
        &self,
        gem: &NativeGem,
        script: &str,
        files: &Arc<Archive>,
        tools: Arc<ExtensionTools>,
    ) -> Result<Vec<u8>, ExtensionBuildError> {
        let directory = format!("/app/{}", gem.directory);
        let arguments = [COMMAND.to_owned(), directory, script.to_owned()];
        let environ = ENVIRON.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let app = SandboxApp {
            files: files.clone(),
            arguments: arguments
                .into_iter()
                .chain(gem.options.iter().cloned())
                .collect(),
            environ: environ.into_iter().collect(),
            outbound: SandboxOutbound::None,
        };
        let (log, output) = self.sandbox.build(&app, Some(tools));
        match output {
            Ok(output) if output.status == 0 => Ok(output.stdout),
            Ok(_) => Err(ExtensionBuildError::Failed {
                gem: gem.full_name.clone(),
                log: format!("{log}{}", gem.explanation(&log)),
            }),
            Err(error @ SandboxError::Platform(_)) => Err(ExtensionBuildError::Sandbox(error)),
            Err(error) => Err(ExtensionBuildError::Failed {
                gem: gem.full_name.clone(),
                log: format!("{log}{error}"),
            }),
        }
    }
}

/// Returns the libraries of the sysroot that a gem's scripts name in quotes, and that of C++ if it has sources in C++. A library that
/// nothing names would only take time.
fn libraries_of(gem: &NativeGem, files: &Archive) -> Vec<&'static str> {
    let mut found = BTreeSet::new();
    for script in &gem.scripts {
        let node = files.lookup(&format!("{}/{script}", gem.directory));
        let text = node.map(|node| String::from_utf8_lossy(files.content(node)).into_owned());
        let text = text.unwrap_or_default();
        let lines = text.lines().map(str::trim_start);
        for line in lines.filter(|line| !line.starts_with('#') && !line.starts_with("require")) {
            let quoted = line.split(['"', '\'']).skip(1).step_by(2);
            for word in quoted.flat_map(|text| text.split([' ', ',', '/'])) {
                let word = word
                    .strip_prefix("-l")
                    .unwrap_or(word)
                    .trim_end_matches(".h");
                found.extend(sysroot::library_of(word).map(|library| library.name));
            }
        }
    }
    let mut paths = files_below(files, &gem.directory)
        .into_iter()
        .map(|(path, _)| path);
    if paths.any(|path| driver::is_cplusplus(&path.to_string_lossy())) {
        found.extend(sysroot::library_of("c++").map(|library| library.name));
    }
    found.into_iter().collect()
}

/// Returns the paths of all files below a directory of an archive, with their nodes' contents.
fn files_below<'a>(archive: &'a Archive, directory: &str) -> Vec<(PathBuf, &'a [u8])> {
    let mut found = Vec::new();
    let mut open = Vec::new();
    if let Some(node) = archive.lookup(directory) {
        open.push((PathBuf::new(), node));
    }
    while let Some((path, node)) = open.pop() {
        match archive.node(node) {
            ArchiveNode::Directory { entries } => {
                open.extend(
                    entries
                        .iter()
                        .map(|(name, node)| (path.join(&**name), *node)),
                );
            }
            ArchiveNode::Symlink { .. } => {}
            _ => found.push((path, archive.content(node))),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use corundum_pack::archive::{ArchiveWriter, FileMode};

    use super::*;

    #[test]
    fn libraries_are_those_that_scripts_name_in_quotes() {
        let libraries = |script: &str, source: &str| {
            let mut writer = ArchiveWriter::new(Vec::new());
            for (name, text) in [("g/ext/a.rb", script), (source, "")] {
                writer
                    .add_file(name, text.as_bytes(), text.len() as u64, FileMode::Plain)
                    .unwrap();
            }
            let files = Archive::new(writer.finish().unwrap().output).unwrap();
            let gem = NativeGem {
                full_name: "g-1".to_owned(),
                directory: "g".to_owned(),
                scripts: vec!["ext/a.rb".to_owned()],
                options: Vec::new(),
                digest: String::new(),
                lacks: Vec::new(),
                replacement: None,
            };
            libraries_of(&gem, &files)
        };
        let script = "require 'yaml'\n# 'openssl'\nhave_library('xml2') || pkg_config(\"sqlite3\")\nzlib = 1\n";
        assert_eq!(libraries(script, "g/ext/b.c"), ["libxml2", "sqlite3"]);
        assert_eq!(libraries("dir_config 'z'", "g/ext/b.c"), ["zlib"]);
        assert_eq!(libraries("x", "g/ext/b.cpp"), ["cxx"]);
        assert!(libraries("x", "other/b.cpp").is_empty());
    }
}
