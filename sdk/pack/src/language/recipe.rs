//! `pack.toml`, the description of a pack's source.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use super::names::BadPackName;
use super::profile::{CompileStep, DetectionRules, LanguageProfile, PackKind, RunDefaults};
use super::series::LanguageSeries;
use super::source::PinnedSource;
use crate::ruby;

/// File name of the description.
pub const FILE: &str = "pack.toml";
/// Bytes of the longest description.
const MAX_BYTES: u64 = 1 << 20;
/// Bytes of the files of a sample app.
const MAX_SAMPLE: u64 = 64 << 10;

/// Failure to read the source of a pack. Its author corrects it.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Cause of the failure.
        source: io::Error,
    },
    /// The description is not valid TOML, or a key is missing or unknown.
    #[error("{}: {reason}", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// Place and reason.
        reason: String,
    },
    /// The language or the series has a name that it must not have.
    #[error("pack.toml: {0}")]
    Name(#[from] BadPackName),
    /// A value is invalid.
    #[error("pack.toml: {key}: {reason}")]
    Value {
        /// The key.
        key: String,
        /// Problem, and what to do.
        reason: String,
    },
}

/// The source of a pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackRecipe {
    /// The directory with `pack.toml`.
    pub directory: PathBuf,
    /// The language and the series.
    pub series: LanguageSeries,
    /// The language's full version.
    pub version: String,
    /// The profile of the language.
    pub profile: LanguageProfile,
    /// The way in which the modules are made.
    pub build: BuildRules,
    /// Names of functions that poll for the end of a time slice themselves.
    pub polling: Vec<String>,
    /// Sources that the build downloads.
    pub sources: Vec<PinnedSource>,
    /// Directory of the probe app of the conformance kit, below `directory`.
    pub probe: Option<String>,
}

/// The way in which the modules of a pack are made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BuildRules {
    /// Shell script in the directory, which writes the modules to `$OUT`. Without one, the directory has the modules.
    #[serde(default)]
    pub script: Option<String>,
    /// Files of the modules in linking order; the last one exports the dyno ABI.
    pub modules: Vec<String>,
    /// Directory with files of the pack's root. Files in `$OUT/root` replace them.
    #[serde(default)]
    pub root: Option<String>,
    /// Libraries of this project's sysroot that the script links.
    #[serde(default)]
    pub libraries: Vec<String>,
    /// Programs that the script runs beside those of all scripts, with the Debian packages that have them.
    #[serde(default)]
    pub tools: BTreeMap<String, String>,
}

/// The keys of `pack.toml`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct RecipeFile {
    language: String,
    series: String,
    version: String,
    title: String,
    abi: u32,
    #[serde(default)]
    kind: PackKind,
    licences: Vec<String>,
    #[serde(default)]
    compile: CompileStep,
    detect: DetectionRules,
    run: RunDefaults,
    build: BuildRules,
    #[serde(default)]
    code: CodeRules,
    #[serde(default)]
    source: Vec<PinnedSource>,
    #[serde(default)]
    provides: BTreeMap<String, String>,
    /// Directory of the smallest app.
    #[serde(default)]
    sample: Option<String>,
    /// Directory of the probe app.
    #[serde(default)]
    probe: Option<String>,
}

/// Facts about the code of the modules.
#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct CodeRules {
    #[serde(default)]
    polling: Vec<String>,
}

impl PackRecipe {
    /// Reads `pack.toml` in a directory.
    ///
    /// # Errors
    ///
    /// [`RecipeError`].
    pub fn read(directory: &Path) -> Result<Self, RecipeError> {
        let path = directory.join(FILE);
        let at = |source| RecipeError::Io {
            path: path.clone(),
            source,
        };
        if fs::metadata(&path).map_err(at)?.len() > MAX_BYTES {
            return Err(at(io::Error::other("larger than 1 MiB")));
        }
        let text = fs::read_to_string(&path).map_err(at)?;
        let file: RecipeFile = toml::from_str(&text).map_err(|error| RecipeError::Toml {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        let recipe = Self::of(file, directory)?;
        recipe.check_files()?;
        Ok(recipe)
    }

    fn of(file: RecipeFile, directory: &Path) -> Result<Self, RecipeError> {
        let series = LanguageSeries::new(&file.language, &file.series)?;
        if series.language() == ruby::LANGUAGE {
            return Err(value(
                "language",
                "ruby has packs of its own; choose another name",
            ));
        }
        if file.abi != corundum_abi::VERSION {
            let own = corundum_abi::VERSION;
            return Err(value(
                "abi",
                format!(
                    "this program knows version {own} of the dyno ABI; port the pack and write abi = {own}"
                ),
            ));
        }
        check(&file)?;
        let sample = match &file.sample {
            Some(sample) => read_sample(directory, sample)?,
            None => BTreeMap::new(),
        };
        let mut licences = file.licences;
        for source in &file.source {
            if !licences.contains(&source.licence) {
                licences.push(source.licence.clone());
            }
        }
        Ok(Self {
            directory: directory.to_owned(),
            series,
            version: file.version,
            profile: LanguageProfile {
                title: file.title,
                kind: file.kind,
                licences,
                compile: file.compile,
                detect: file.detect,
                run: file.run,
                sample,
                provides: file.provides,
            },
            build: file.build,
            polling: file.code.polling,
            sources: file.source,
            probe: file.probe,
        })
    }

    /// Checks that the files which the description names are there.
    fn check_files(&self) -> Result<(), RecipeError> {
        let build = &self.build;
        let modules = match build.script {
            // The script makes them.
            Some(_) => &[],
            None => build.modules.as_slice(),
        };
        let named = build.script.iter().map(|path| ("build.script", path));
        let named = named.chain(build.root.iter().map(|path| ("build.root", path)));
        let named = named.chain(self.probe.iter().map(|path| ("probe", path)));
        let named = named.chain(modules.iter().map(|path| ("build.modules", path)));
        for (key, path) in named {
            if !self.directory.join(path).exists() {
                return Err(value(
                    key,
                    format!("{path}: no such file below {}", self.directory.display()),
                ));
            }
        }
        Ok(())
    }
}

fn value(key: impl Into<String>, reason: impl Into<String>) -> RecipeError {
    RecipeError::Value {
        key: key.into(),
        reason: reason.into(),
    }
}

/// Checks the values of a description by themselves.
fn check(file: &RecipeFile) -> Result<(), RecipeError> {
    let is_line =
        |text: &str| !text.is_empty() && text.len() <= 60 && !text.contains(char::is_control);
    if !is_line(&file.title) {
        return Err(value(
            "title",
            "write the language's name, as in title = \"Lua\"",
        ));
    }
    if !is_line(&file.version) {
        return Err(value(
            "version",
            "write the full version, as in version = \"5.4.7\"",
        ));
    }
    if file.licences.is_empty() {
        return Err(value(
            "licences",
            "name the licences of everything in the pack, as in licences = [\"MIT\"]",
        ));
    }
    match file.kind {
        PackKind::Component => {
            return Err(value(
                "kind",
                "this version runs no components; use runtime or toolchain",
            ));
        }
        _ if file.run.command.trim().is_empty() => {
            return Err(value(
                "run.command",
                "name the command of the web process, as in command = \"lua app.lua\"",
            ));
        }
        _ => {}
    }
    if file.compile == CompileStep::Bundler {
        return Err(value("compile", "bundler is for Ruby; leave the key out"));
    }
    if file.detect.files.is_empty() {
        return Err(value(
            "detect.files",
            "name a file that every app of the language has, as in files = [\"app.lua\"]",
        ));
    }
    if file.build.modules.is_empty() {
        return Err(value(
            "build.modules",
            "name the module that exports the dyno ABI, as in modules = [\"lua.wasm\"]",
        ));
    }
    let versions = file.detect.version.iter().map(|version| &version.file);
    for path in file.detect.files.iter().chain(versions) {
        check_path("detect", path)?;
    }
    let build = &file.build;
    let paths = build.script.iter().chain(&build.root).chain(&build.modules);
    for path in paths.chain(&file.sample).chain(&file.probe) {
        check_path("build", path)?;
    }
    let mut names = HashSet::new();
    for source in &file.source {
        check_source(source)?;
        if !names.insert(&source.name) {
            return Err(value(
                format!("source {}", source.name),
                "two sources have this name",
            ));
        }
    }
    Ok(())
}

fn check_source(source: &PinnedSource) -> Result<(), RecipeError> {
    let key = || format!("source {:?}", source.name);
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._+-".contains(&b);
    if source.name.is_empty() || source.name.starts_with('.') || !source.name.bytes().all(plain) {
        return Err(value(
            key(),
            "the name must be a file name of letters, digits, dots and dashes",
        ));
    }
    let digits = source
        .sha256
        .bytes()
        .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if source.sha256.len() != 64 || !digits {
        return Err(value(
            key(),
            "sha256 must be 64 lower-case hexadecimal digits, as sha256sum prints",
        ));
    }
    match (&source.debian, &source.url) {
        (Some(path), None) => check_path("source", path),
        (None, Some(url)) if url.starts_with("https://") || url.starts_with("http://") => Ok(()),
        (None, Some(_)) => Err(value(key(), "url must begin with https://")),
        _ => Err(value(
            key(),
            "give either debian, a path in Debian's pool, or url",
        )),
    }
}

/// Checks that a path stays in its directory.
fn check_path(key: &str, path: &str) -> Result<(), RecipeError> {
    let mut parts = Path::new(path).components();
    let inside = !path.is_empty() && parts.all(|part| matches!(part, Component::Normal(_)));
    match inside && !path.contains(char::is_control) {
        true => Ok(()),
        false => Err(value(
            key,
            format!("{path:?} is not a relative path without `..`"),
        )),
    }
}

/// Reads the text files of the sample app, which has no folders.
fn read_sample(directory: &Path, sample: &str) -> Result<BTreeMap<String, String>, RecipeError> {
    let folder = directory.join(sample);
    let at = |source| RecipeError::Io {
        path: folder.clone(),
        source,
    };
    let mut files = BTreeMap::new();
    let mut bytes = 0;
    for entry in fs::read_dir(&folder).map_err(at)? {
        let entry = entry.map_err(at)?;
        bytes += entry.metadata().map_err(at)?.len();
        if bytes > MAX_SAMPLE {
            return Err(value(
                "sample",
                "the sample app is larger than 64 KiB; make it the smallest app that serves /",
            ));
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        files.insert(name, fs::read_to_string(entry.path()).map_err(at)?);
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
language = "toy"
series = "1"
version = "1.0"
title = "Toy"
abi = 2
licences = ["MIT"]
[detect]
files = ["app.toy"]
[run]
command = "toy app.toy"
[build]
modules = ["toy.wasm"]
"#;

    fn read(text: &str) -> Result<PackRecipe, RecipeError> {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(FILE), text).unwrap();
        fs::write(directory.path().join("toy.wasm"), "").unwrap();
        PackRecipe::read(directory.path())
    }

    #[test]
    fn smallest_description_is_valid() {
        let recipe = read(TEXT).unwrap();
        assert_eq!(recipe.series.to_string(), "toy 1");
        assert_eq!(recipe.profile.kind, PackKind::Runtime);
        assert_eq!(recipe.profile.detect.rank, 50);
    }

    #[test]
    fn licences_of_sources_are_licences_of_the_pack() {
        let source = format!(
            "{TEXT}[[source]]\nname = \"a.tar.gz\"\ndebian = \"a/a.tar.gz\"\nsha256 = \"{}\"\nlicence = \"Zlib\"\n",
            "0".repeat(64)
        );
        assert_eq!(read(&source).unwrap().profile.licences, ["MIT", "Zlib"]);
    }

    #[test]
    fn invalid_value_is_named_with_what_to_do() {
        for (from, to, reason) in [
            (
                "language = \"toy\"",
                "language = \"../toy\"",
                "not a name of a language",
            ),
            (
                "language = \"toy\"",
                "language = \"ruby\"",
                "choose another name",
            ),
            ("abi = 2", "abi = 1", "write abi = 2"),
            ("licences = [\"MIT\"]", "licences = []", "name the licences"),
            (
                "title = \"Toy\"",
                "title = \"Toy\"\nkind = \"component\"",
                "runs no components",
            ),
            (
                "title = \"Toy\"",
                "title = \"Toy\"\ncompile = \"bundler\"",
                "leave the key out",
            ),
            ("title = \"Toy\"", "titel = \"Toy\"", "titel"),
            (
                "files = [\"app.toy\"]",
                "files = []",
                "every app of the language has",
            ),
            (
                "files = [\"app.toy\"]",
                "files = [\"../app.toy\"]",
                "without `..`",
            ),
            (
                "command = \"toy app.toy\"",
                "command = \"\"",
                "command of the web process",
            ),
            (
                "modules = [\"toy.wasm\"]",
                "modules = []",
                "exports the dyno ABI",
            ),
            (
                "modules = [\"toy.wasm\"]",
                "modules = [\"/etc/passwd\"]",
                "without `..`",
            ),
            (
                "modules = [\"toy.wasm\"]",
                "modules = [\"other.wasm\"]",
                "no such file",
            ),
        ] {
            assert!(TEXT.contains(from), "{from}");
            let error = read(&TEXT.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(reason), "{to}: {error}");
        }
        for (lines, reason) in [
            ("name = \"../a\"\ndebian = \"a\"", "must be a file name"),
            ("name = \"a\"", "give either"),
            (
                "name = \"a\"\nurl = \"file:///etc/passwd\"",
                "begin with https",
            ),
            ("name = \"a\"\ndebian = \"../a\"", "without `..`"),
        ] {
            let digest = "0".repeat(64);
            let text =
                format!("{TEXT}[[source]]\n{lines}\nsha256 = \"{digest}\"\nlicence = \"MIT\"\n");
            let error = read(&text).unwrap_err().to_string();
            assert!(error.contains(reason), "{lines}: {error}");
        }
    }
}
