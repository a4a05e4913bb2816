//! Execution of the recipes, in parallel where libraries do not need each other.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

use super::error::SysrootError;
use super::libraries::{self, Sources, SysrootLibrary};
use super::{lock_file, tree};
use crate::download::SourceArchive;
use crate::mri;
use crate::script::{self, ScriptFailure};
use crate::toolchain::{self, COMPILE_FLAGS, Toolchain};

/// Shell functions of all recipes.
const COMMON: &str = include_str!("../../../sysroot/common.sh");

impl Sources {
    /// Returns the archives to download.
    pub(super) fn archives(&self) -> Vec<&SourceArchive> {
        match self {
            Self::Toolchain => Vec::new(),
            Self::Original(original) => vec![original],
            Self::Patched(original, patches) => vec![original, patches],
        }
    }
}

/// Returns the digest of all inputs of a library.
pub(super) fn digest(library: &SysrootLibrary) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(toolchain::digest().as_bytes());
    mri::hash_headers(&mut hasher);
    for text in [COMMON, library.name, library.version, library.recipe] {
        hasher.update(text.as_bytes()).update(&[0]);
    }
    for flag in COMPILE_FLAGS {
        hasher.update(flag.as_bytes()).update(&[0]);
    }
    for archive in library.sources.archives() {
        archive.hash(&mut hasher);
    }
    for need in library
        .needs
        .iter()
        .filter_map(|need| libraries::find(need))
    {
        hasher.update(digest(need).as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// Returns the directory that keeps a library, which exists once the library is built.
pub(super) fn place(parts: &Path, library: &SysrootLibrary) -> PathBuf {
    parts.join(format!("{}-{}", library.name, &digest(library)[..16]))
}

/// Progress of all libraries.
struct Schedule<'a> {
    progress: &'a mut (dyn FnMut(&str, usize) + Send),
    waiting: Vec<&'static SysrootLibrary>,
    running: Vec<&'static str>,
    built: usize,
    failure: Option<SysrootError>,
}

impl Schedule<'_> {
    /// Removes a library from the waiting ones whose needs are built, and returns it.
    fn next(&mut self) -> Option<&'static SysrootLibrary> {
        let blocked = |name: &&str| {
            self.running.contains(name) || self.waiting.iter().any(|other| other.name == *name)
        };
        let ready = |library: &&'static SysrootLibrary| {
            let needs = libraries::closure(&[library]);
            !needs
                .iter()
                .any(|need| need.name != library.name && blocked(&need.name))
        };
        let index = self.waiting.iter().position(ready)?;
        Some(self.waiting.remove(index))
    }

    fn report(&mut self) {
        if !self.running.is_empty() {
            let running = self.running.join(", ");
            (self.progress)(&format!("building {running}"), self.built);
        }
    }
}

/// Directories of a build.
pub(super) struct Builder<'a> {
    pub(super) toolchain: &'a Toolchain,
    pub(super) downloads: &'a Path,
    pub(super) parts: &'a Path,
}

impl Builder<'_> {
    /// Builds libraries, and calls `progress` with the running ones and the number of finished ones.
    pub(super) fn build(
        &self,
        missing: &[&'static SysrootLibrary],
        progress: &mut (dyn FnMut(&str, usize) + Send),
    ) -> Result<(), SysrootError> {
        let processors = thread::available_parallelism().map_or(2, |count| count.get().min(16));
        let schedule = Mutex::new(Schedule {
            progress,
            waiting: missing.to_vec(),
            running: Vec::new(),
            built: 0,
            failure: None,
        });
        let changed = Condvar::new();
        thread::scope(|scope| {
            for _ in 0..processors.min(missing.len()) {
                scope.spawn(|| self.work(&schedule, &changed, processors));
            }
        });
        let schedule = schedule.into_inner();
        match schedule.unwrap_or_else(PoisonError::into_inner).failure {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    /// Builds one library after the other until none is left, or one fails.
    fn work(&self, schedule: &Mutex<Schedule<'_>>, changed: &Condvar, jobs: usize) {
        let mut state = schedule.lock().unwrap_or_else(PoisonError::into_inner);
        while state.failure.is_none() && !state.waiting.is_empty() {
            let Some(library) = state.next() else {
                state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.running.push(library.name);
            state.report();
            drop(state);
            let built = self.library(library, jobs);
            state = schedule.lock().unwrap_or_else(PoisonError::into_inner);
            state.running.retain(|running| *running != library.name);
            state.built += 1;
            if let Err(failure) = built {
                state.failure.get_or_insert(failure);
            }
            state.report();
            changed.notify_all();
        }
    }

    /// Builds one library unless another process has done so meanwhile.
    fn library(&self, library: &'static SysrootLibrary, jobs: usize) -> Result<(), SysrootError> {
        let place = place(self.parts, library);
        let _lock = lock_file(&place.with_extension("lock"))?;
        if place.exists() {
            return Ok(());
        }
        let work = place.with_extension("work");
        let at = |source| SysrootError::io(&work, source);
        let _ = fs::remove_dir_all(&work);
        let (result, root) = (work.join("result"), work.join("root"));
        for directory in [&result, &root] {
            fs::create_dir_all(directory).map_err(at)?;
        }
        for need in libraries::closure(&[library]) {
            if need.name != library.name {
                tree::link(&self::place(self.parts, need), &root).map_err(at)?;
            }
        }
        mri::unpack_headers(&work.join("recipe")).map_err(at)?;
        let archive = |index: usize| {
            let archives = library.sources.archives();
            let path = archives.get(index).map(|archive| archive.name());
            path.map_or_else(Default::default, |name| self.downloads.join(name).into())
        };
        let includes = toolchain::include_directories(self.toolchain.directory());
        let includes = includes.map(|directory| format!("-isystem '{}'", directory.display()));
        let log = work.join("log");
        let variables = [
            ("NAME", library.name.into()),
            ("VERSION", library.version.into()),
            ("ORIG", archive(0)),
            ("DEBIAN", archive(1)),
            ("TOOLCHAIN", self.toolchain.directory().into()),
            ("ZIG", self.toolchain.zig().into()),
            (
                "COMPILE_FLAGS",
                format!("{} {}", COMPILE_FLAGS.join(" "), includes.join(" ")).into(),
            ),
            ("RECIPE", work.join("recipe").into()),
            ("ROOT", root.into()),
            ("PREFIX", result.clone().into()),
            ("TOOLS", work.clone().into()),
            ("JOBS", jobs.to_string().into()),
            ("TMPDIR", work.join("tmp").into()),
            // Only programs that run on this machine need a cache.
            ("ZIG_GLOBAL_CACHE_DIR", work.join("cache").into()),
            ("ZIG_LOCAL_CACHE_DIR", work.join("cache").into()),
        ];
        let text = format!("{COMMON}\n{}", library.recipe);
        let ended = script::run(&text, &work, &log, variables);
        if let Err(ScriptFailure { reason, output }) =
            ended.map_err(|source| SysrootError::io(&log, source))?
        {
            return Err(SysrootError::Recipe {
                library: library.name,
                reason,
                output,
                log,
            });
        }
        fs::rename(&result, &place).map_err(|source| SysrootError::io(&place, source))?;
        let _ = fs::remove_dir_all(&work);
        Ok(())
    }
}
