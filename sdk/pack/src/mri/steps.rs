//! Execution of the build's steps, which are shell scripts, in a directory of their own.

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::thread;

use super::error::MriError;
use super::recipe;
use super::sources::MriRelease;
use super::{MriProfile, ProfileUse};
use crate::script::{self, ScriptFailure};

/// Size of C's stack in bytes.
///
/// Recursion in C uses it, and frames in which functions store pointers for the collector. Pages to which nothing was
/// written cost nothing.
const STACK_SIZE: u32 = 16 << 20;
/// Words of the compiler's warning about a function whose control flow is not that of its profile.
const CHANGED: &str = "(hash mismatch)";
/// Number of functions, of some ten thousand, that patches may change before the profile must be recorded again.
const MAX_CHANGED: usize = 100;
/// Programs that a build needs, with their Debian packages.
const TOOLS: [(&str, &str); 10] = [
    ("apt-get", "apt"),
    ("dpkg-deb", "dpkg"),
    ("python3", "python3"),
    ("ruby", "ruby"),
    ("make", "make"),
    ("perl", "perl"),
    ("patch", "patch"),
    ("tar", "tar"),
    ("xz", "xz-utils"),
    ("bash", "bash"),
];

/// Checks that all programs are installed.
pub(super) fn check_tools() -> Result<(), MriError> {
    match script::check_tools(&TOOLS)? {
        Some(missing) => Err(MriError::Tools(missing.programs, missing.packages)),
        None => Ok(()),
    }
}

/// Directories and files of a build.
pub(super) struct BuildPlaces<'a> {
    /// Directory of the compiler and the libraries.
    pub(super) libraries: &'a Path,
    /// Directory of MRI's build.
    pub(super) work: &'a Path,
    /// Directory of the downloads.
    pub(super) sources: &'a Path,
    /// File name of the compiler's package.
    pub(super) wheel: &'a str,
}

/// Runs all unfinished steps.
///
/// The libraries are built in parallel with the configuration of MRI, which does not need them yet.
pub(super) fn run(
    places: &BuildPlaces<'_>,
    release: &MriRelease,
    profile: ProfileUse,
    progress: &mut (dyn FnMut(String, usize) + Send),
) -> Result<(), MriError> {
    for root in [places.libraries, places.work] {
        let at = |source| MriError::io(root, source);
        recipe::unpack(&root.join("recipe")).map_err(at)?;
        for directory in ["logs", "done", "tmp"] {
            fs::create_dir_all(root.join(directory)).map_err(at)?;
        }
    }
    let recorded = recipe::profile(release.series).filter(|_| profile == ProfileUse::Apply);
    let profile_flags = match (profile, recorded) {
        (ProfileUse::Record, _) => "-fprofile-generate -DRB_WASM_PROFILE".to_owned(),
        (ProfileUse::Apply, None) => String::new(),
        (ProfileUse::Apply, Some(recorded)) => {
            let path = places.work.join("mri.profdata");
            let written = fs::write(&path, MriProfile::read(recorded)?.indexed());
            written.map_err(|source| MriError::io(&path, source))?;
            format!("-fprofile-use={}", path.display())
        }
    };
    let environment = BuildEnvironment {
        places,
        profile_flags,
        release,
        jobs: thread::available_parallelism().map_or(2, |count| count.get().min(16)),
        progress: Mutex::new(StepState {
            progress,
            running: Vec::new(),
            done: 0,
        }),
    };
    let libraries = |names| environment.steps(places.libraries, names);
    let mri = |names| environment.steps(places.work, names);
    libraries(&["toolchain", "posix", "net"])?;
    thread::scope(|scope| {
        let built = scope.spawn(|| libraries(&["zlib", "yaml", "openssl", "certificates"]));
        let configured = mri(&["sources", "configure"]);
        let built = built.join().unwrap_or(Ok(()));
        built.and(configured)
    })?;
    mri(&["compile"])?;
    check_generated(places.work)?;
    mri(&["install"])?;
    if recorded.is_some() {
        report_changed_functions(&places.work.join("logs/compile.log"));
    }
    Ok(())
}

/// Checks that no file of the archive hides one that the build has generated, with the patches' changes, from the patched source.
///
/// C looks for an included file beside the including one first.
fn check_generated(work: &Path) -> Result<(), MriError> {
    let build = work.join("build");
    let io = |source| MriError::io(&build, source);
    for entry in fs::read_dir(&build).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        let is_included = Path::new(&name)
            .extension()
            .is_some_and(|kind| kind == "inc");
        if is_included && work.join("source").join(&name).exists() {
            return Err(MriError::Hidden(name.to_string_lossy().into_owned()));
        }
    }
    Ok(())
}

/// Warns if the compiler has ignored the counts of many functions, whose control flow has changed since they were recorded.
fn report_changed_functions(log: &Path) {
    let log = fs::read(log).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let changed = log.lines().filter(|line| line.contains(CHANGED)).count();
    if changed > MAX_CHANGED {
        tracing::warn!(
            functions = changed,
            "Ruby's profile is out of date, which makes Ruby slower: run script/ruby-profile"
        );
    } else {
        tracing::info!(functions = changed, "functions without a valid profile");
    }
}

/// Removes from the libraries' directory what the build of another series makes again in seconds. Failures are ignored: they
/// cost only space.
pub(super) fn trim(libraries: &Path) {
    // Without its mark, the step runs again.
    let _ = fs::remove_file(libraries.join("done/toolchain"));
    let entries = fs::read_dir(libraries).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        if name != "prefix" && name != "done" {
            let path = entry.path();
            let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
        }
    }
}

/// Paths and settings of a build, and the progress of its steps.
struct BuildEnvironment<'a> {
    places: &'a BuildPlaces<'a>,
    profile_flags: String,
    release: &'a MriRelease,
    jobs: usize,
    progress: Mutex<StepState<'a>>,
}

/// Progress of the steps.
struct StepState<'a> {
    progress: &'a mut (dyn FnMut(String, usize) + Send),
    running: Vec<&'static str>,
    done: usize,
}

impl StepState<'_> {
    fn report(&mut self) {
        if !self.running.is_empty() {
            (self.progress)(self.running.join(" and "), self.done);
        }
    }
}

impl BuildEnvironment<'_> {
    /// Runs steps in the directory `work`.
    fn steps(&self, work: &Path, names: &[&'static str]) -> Result<(), MriError> {
        for name in names {
            self.change(|state| state.running.push(name));
            let ended = self.step(work, name);
            self.change(|state| {
                state.running.retain(|running| running != name);
                state.done += 1;
            });
            ended?;
        }
        Ok(())
    }

    fn change(&self, change: impl FnOnce(&mut StepState<'_>)) {
        let mut state = self
            .progress
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        change(&mut state);
        state.report();
    }

    fn step(&self, work: &Path, name: &str) -> Result<(), MriError> {
        let mark = work.join("done").join(name);
        if mark.exists() {
            return Ok(());
        }
        let text = recipe::step(name).unwrap_or("false");
        let log = work.join("logs").join(format!("{name}.log"));
        let at = |source| MriError::io(&log, source);
        let libraries = self.places.libraries;
        let tools = libraries.join("tools");
        let variables = [
            ("TMPDIR", work.join("tmp").into()),
            ("SOURCES", self.places.sources.into()),
            ("RECIPE", work.join("recipe").into()),
            ("PREFIX", libraries.join("prefix").into()),
            ("SERIES", self.release.series.into()),
            ("PROFILE_FLAGS", self.profile_flags.as_str().into()),
            ("MRI", self.release.file_name().into()),
            ("ZIG_WHEEL", self.places.wheel.into()),
            ("ZIG_GLOBAL_CACHE_DIR", tools.join("cache").into()),
            ("ZIG_LOCAL_CACHE_DIR", tools.join("cache").into()),
            ("TOOLS", tools.into()),
            ("JOBS", self.jobs.to_string().into()),
            ("STACK_SIZE", STACK_SIZE.to_string().into()),
        ];
        match script::run(text, work, &log, variables).map_err(at)? {
            Ok(()) => fs::write(&mark, "").map_err(|source| MriError::io(&mark, source)),
            Err(ScriptFailure { reason, output }) => Err(MriError::Step {
                step: name.to_owned(),
                reason,
                output,
                log,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_of_the_archive_that_hides_a_generated_one_fails_the_build() {
        let work = tempfile::tempdir().unwrap();
        for directory in ["build", "source"] {
            fs::create_dir(work.path().join(directory)).unwrap();
        }
        let write = |path: &str| fs::write(work.path().join(path), "").unwrap();
        write("build/vm.inc");
        write("build/main.o");
        write("source/main.o");
        write("source/known_errors.inc");
        check_generated(work.path()).unwrap();
        write("source/vm.inc");
        let error = check_generated(work.path()).unwrap_err();
        assert!(matches!(error, MriError::Hidden(name) if name == "vm.inc"));
    }
}
