//! Makes a pack of a directory with a `pack.toml`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::files::PackedFiles;
use super::installed::{self, KeepError};
use super::recipe::{PackRecipe, RecipeError};
use crate::archive::ArchiveError;
use crate::download::{self, DownloadError};
use crate::image::{ImageGlobal, write_image};
use crate::manifest::{Manifest, Member, PackDir};
use crate::preemption::{PreemptionError, functions_named};
use crate::process::ProgramError;
use crate::script::{self, MissingTools, ScriptFailure};
use crate::split::{SplitError, SplitMemory, split};
use crate::sysroot::{self, SysrootError};
use crate::toolchain::{self, ToolchainError};
use crate::validate::validate_guest;

/// Revision of the preparation; increment it whenever the same modules would yield a different pack.
const REVISION: u32 = 1;
/// Shell code before each script.
const COMMON: &str = include_str!("common.sh");
/// Programs that all scripts need, with their Debian packages.
const TOOLS: [(&str, &str); 4] = [
    ("apt-get", "apt"),
    ("python3", "python3"),
    ("tar", "tar"),
    ("bash", "bash"),
];
/// Bytes of the largest module; that of MRI has 12 MiB.
const MAX_MODULE: u64 = 256 << 20;

/// Failure to build a pack.
#[derive(Debug, thiserror::Error)]
pub enum PackBuildError {
    /// The description is invalid.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// Programs are missing. Holds their names, and the Debian packages that contain them.
    #[error("programs for building the pack are missing: {}\nOn Debian: apt-get install {}", .0.join(", "), .1.join(" "))]
    Tools(Vec<String>, Vec<String>),
    /// A program cannot be run.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The compiler cannot be installed.
    #[error(transparent)]
    Toolchain(#[from] ToolchainError),
    /// A library cannot be built.
    #[error(transparent)]
    Sysroot(#[from] SysrootError),
    /// A source cannot be downloaded.
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// The script failed.
    #[error("{script}: {reason}. Last lines of the output:\n{output}\nFull output: {}", log.display())]
    Script {
        /// The script.
        script: String,
        /// Exit status, or reason for aborting it.
        reason: String,
        /// Last lines of the output.
        output: String,
        /// File with the full output.
        log: PathBuf,
    },
    /// The script has not written a module, or the module is too large.
    #[error("{module}: {reason}")]
    Module {
        /// The file.
        module: String,
        /// The problem, and what to do.
        reason: String,
    },
    /// A module cannot be separated into code and memory.
    #[error("{module}: {error}")]
    Split {
        /// The file.
        module: String,
        /// The problem.
        error: SplitError,
    },
    /// A function in the list of polling functions is missing. The list is at fault.
    #[error("pack.toml: code.polling: {0}; link without --strip-all, or correct the name")]
    Polling(PreemptionError),
    /// The files of the root or of the probe app do not fit an archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The finished pack cannot be kept.
    #[error(transparent)]
    Keep(#[from] KeepError),
    /// The disk fails.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Cause of the failure.
        source: io::Error,
    },
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> PackBuildError + '_ {
    move |source| PackBuildError::Io {
        path: path.to_owned(),
        source,
    }
}

/// Builds the pack whose source is in `directory`, and keeps it below `cache` as the one of its series that was built last.
///
/// `progress` is called before each part that takes seconds, with a text for display. If the build is interrupted, it leaves
/// no pack that can be opened.
///
/// # Errors
///
/// [`PackBuildError`].
pub fn build(
    directory: &Path,
    cache: &Path,
    progress: &mut (dyn FnMut(&str) + Send),
) -> Result<PackDir, PackBuildError> {
    let directory = fs::canonicalize(directory).map_err(at(directory))?;
    let recipe = PackRecipe::read(&directory)?;
    let packs = cache.join("packs");
    fs::create_dir_all(&packs).map_err(at(&packs))?;
    let work = tempfile::Builder::new()
        .prefix(".preparing-")
        .tempdir_in(&packs)
        .map_err(at(&packs))?;
    let output = match &recipe.build.script {
        Some(script) => match run_script(&recipe, script, cache, work.path(), progress) {
            Ok(output) => output,
            Err(error) => {
                // The full output is in the directory, which goes with other unused parts of the cache.
                let _ = work.keep();
                return Err(error);
            }
        },
        None => directory.clone(),
    };
    progress("separating code and memory");
    let pack = work.path().join("pack");
    fs::create_dir(&pack).map_err(at(&pack))?;
    let manifest = write(&recipe, &output, &pack)?;
    PackDir::write(&pack, &manifest).map_err(at(&pack))?;
    Ok(installed::keep(cache, &pack)?)
}

/// Runs the script of a pack, and returns the directory with its results.
fn run_script(
    recipe: &PackRecipe,
    script: &str,
    cache: &Path,
    work: &Path,
    progress: &mut (dyn FnMut(&str) + Send),
) -> Result<PathBuf, PackBuildError> {
    let build = &recipe.build;
    let mut tools = TOOLS.to_vec();
    tools.extend(
        build
            .tools
            .iter()
            .map(|(program, package)| (&**program, &**package)),
    );
    if let Some(MissingTools { programs, packages }) = script::check_tools(&tools)? {
        return Err(PackBuildError::Tools(programs, packages));
    }
    let compiler = toolchain::install(cache, &mut |activity| progress(activity))?;
    let libraries: Vec<&str> = build.libraries.iter().map(String::as_str).collect();
    let root = match libraries.is_empty() {
        true => work.join("no-libraries"),
        false => {
            let sysroot =
                sysroot::prepare(cache, &libraries, &mut |step| progress(&step.activity))?;
            sysroot.directory().to_owned()
        }
    };
    let sources = work.join("sources");
    fs::create_dir(&sources).map_err(at(&sources))?;
    let (downloads, mut mirror) = (cache.join("downloads"), None);
    for source in &recipe.sources {
        progress(&format!("downloading {}", source.name));
        let found = download::pinned(&downloads, source, &mut mirror)?;
        let named = sources.join(&source.name);
        fs::hard_link(&found, &named)
            .or_else(|_| fs::copy(&found, &named).map(drop))
            .map_err(at(&named))?;
    }
    progress(&format!("running {script}"));
    let path = recipe.directory.join(script);
    let text = fs::read_to_string(&path).map_err(at(&path))?;
    let output = work.join("out");
    let jobs = std::thread::available_parallelism().map_or(2, |count| count.get().min(16));
    let compiled = toolchain::compiled_library(cache);
    let variables = [
        ("LANGUAGE", recipe.series.language().into()),
        ("SERIES", recipe.series.series().into()),
        ("VERSION", recipe.version.as_str().into()),
        ("RECIPE", recipe.directory.clone().into()),
        ("SOURCES", sources.into()),
        ("OUT", output.clone().into()),
        ("ROOT", root.into()),
        ("ZIG", compiler.zig().into()),
        ("TOOLS", work.to_owned().into()),
        ("JOBS", jobs.to_string().into()),
        ("TMPDIR", work.join("tmp").into()),
        ("ZIG_GLOBAL_CACHE_DIR", compiled.clone().into()),
        ("ZIG_LOCAL_CACHE_DIR", compiled.into()),
    ];
    let log = work.join("log");
    let ended =
        script::run(&format!("{COMMON}\n{text}"), work, &log, variables).map_err(at(&log))?;
    match ended {
        Ok(()) => Ok(output),
        Err(ScriptFailure { reason, output }) => Err(PackBuildError::Script {
            script: script.to_owned(),
            reason,
            output,
            log,
        }),
    }
}

/// Writes the files of a pack into `pack`, and returns the manifest that describes them.
fn write(recipe: &PackRecipe, output: &Path, pack: &Path) -> Result<Manifest, PackBuildError> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&REVISION.to_le_bytes());
    let mut member = |name: &str, file: &str, bytes: &[u8]| {
        let path = pack.join(file);
        fs::write(&path, bytes).map_err(at(&path))?;
        let member = Member::of(name, file, bytes);
        hasher
            .update(name.as_bytes())
            .update(member.blake3.as_bytes());
        Ok::<_, PackBuildError>(member)
    };
    let parts = PackModules::read(recipe, output)?;
    let mut modules = Vec::new();
    for (name, code) in &parts.code {
        modules.push(member(name, &format!("{name}.wasm"), code)?);
    }
    let runs = parts.memory.segments.iter();
    let runs = runs.map(|(offset, bytes)| (*offset, bytes.as_slice()));
    let (minimum, maximum) = (parts.memory.minimum, parts.memory.maximum);
    let image = write_image(minimum, maximum, &parts.globals, runs);
    let image = member("image", "base.wasm", &image)?;
    let mut files = PackedFiles::default();
    let roots = recipe
        .build
        .root
        .iter()
        .map(|root| recipe.directory.join(root));
    for root in roots
        .chain([output.join("root")])
        .filter(|root| root.is_dir())
    {
        files.add(&root).map_err(at(&root))?;
    }
    let root = member("root", "root.tar", &files.archive()?)?;
    let probe = match &recipe.probe {
        Some(probe) => {
            let folder = recipe.directory.join(probe);
            let mut files = PackedFiles::default();
            files.add(&folder).map_err(at(&folder))?;
            Some(member("probe", "probe.tar", &files.archive()?)?)
        }
        None => None,
    };
    if let Some(last) = modules.last_mut() {
        last.polling = parts.polling;
    }
    let about = (&recipe.series, &recipe.version, &recipe.profile);
    hasher.update(&serde_json::to_vec(&about).unwrap_or_default());
    for member in &modules {
        member.polling.iter().for_each(|function| {
            hasher.update(&function.to_le_bytes());
        });
    }
    Ok(Manifest {
        abi: corundum_abi::VERSION,
        language: recipe.series.language().to_owned(),
        version: recipe.version.clone(),
        series: recipe.series.series().to_owned(),
        origin: "pack".to_owned(),
        digest: hasher.finalize().to_hex().to_string(),
        modules,
        symbols: None,
        image,
        root,
        gems: BTreeMap::new(),
        extensions: Vec::new(),
        profile: Some(recipe.profile.clone()),
        probe,
    })
}

/// The modules of a pack, separated into code and memory.
struct PackModules {
    /// Code by name, in linking order.
    code: Vec<(String, Vec<u8>)>,
    memory: SplitMemory,
    globals: Vec<ImageGlobal>,
    /// Functions of the last module that poll by themselves.
    polling: Vec<u32>,
}

impl PackModules {
    fn read(recipe: &PackRecipe, output: &Path) -> Result<Self, PackBuildError> {
        let (mut code, mut globals, mut memory) = (Vec::new(), Vec::new(), None);
        let mut polling = Vec::new();
        for (index, file) in recipe.build.modules.iter().enumerate() {
            let bad = |reason: String| PackBuildError::Module {
                module: file.clone(),
                reason,
            };
            let path = output.join(file);
            let length = fs::metadata(&path).map_or(0, |metadata| metadata.len());
            if length == 0 {
                return Err(bad(
                    "the build has made no such module; write it to $OUT".to_owned()
                ));
            }
            if length > MAX_MODULE {
                return Err(bad(format!("larger than {} MiB", MAX_MODULE >> 20)));
            }
            let wasm = fs::read(&path).map_err(at(&path))?;
            validate_guest(&wasm).map_err(|error| bad(error.to_string()))?;
            let is_last = index + 1 == recipe.build.modules.len();
            let name = match is_last {
                true => "code".to_owned(),
                false => module_name(file),
            };
            if is_last {
                let names = recipe.polling.iter().map(String::as_str);
                polling = functions_named(&wasm, names).map_err(PackBuildError::Polling)?;
            }
            let part = split(&name, &wasm, &[]).map_err(|error| PackBuildError::Split {
                module: file.clone(),
                error,
            })?;
            if let Some(own) = part.memory
                && memory.replace(own).is_some()
            {
                return Err(bad(
                    "two modules define a memory; all but one must import it".to_owned(),
                ));
            }
            globals.extend(part.globals);
            code.push((name, part.code));
        }
        let memory = memory.ok_or_else(|| PackBuildError::Module {
            module: recipe.build.modules.join(", "),
            reason: "no module defines a memory".to_owned(),
        })?;
        Ok(Self {
            code,
            memory,
            globals,
            polling,
        })
    }
}

/// Returns the name by which other modules import a file: the name of the file without its ending.
fn module_name(file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.strip_suffix(".wasm").unwrap_or(name).to_owned()
}
