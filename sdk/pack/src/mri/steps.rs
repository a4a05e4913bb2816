//! The steps of a build: shell scripts, run in a directory of their own.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use super::command;
use super::error::MriError;
use super::recipe::{self, STEPS};

/// Bytes of C's stack, which recursion in C uses, and what keeps values for the collector to find. Pages that nothing
/// was written to cost nothing.
const STACK_SIZE: u32 = 16 << 20;
/// For one step; each takes a minute or two.
const TIMEOUT: Duration = Duration::from_secs(3600);
/// Lines of a log that an error shows.
const LINES: usize = 15;

/// What the steps share.
const PREAMBLE: &str = r#"
unpack() { # archive, directory
  rm -rf "$WORK/$2"
  mkdir -p "$WORK/$2"
  tar xf "$1" -C "$WORK/$2" --strip-components=1
}
export PATH="$TOOLS/bin:$PATH"
# When whoever runs this is killed, so is all that it has started.
( while kill -0 "$PARENT" 2>/dev/null; do sleep 1; done; kill -KILL -- -$$ ) &
trap "kill $! 2>/dev/null || true" EXIT
"#;

/// Programs that a build takes, and Debian's packages of them.
const TOOLS: [(&str, &str); 9] = [
    ("apt-get", "apt"),
    ("python3", "python3"),
    ("ruby", "ruby"),
    ("make", "make"),
    ("perl", "perl"),
    ("patch", "patch"),
    ("tar", "tar"),
    ("xz", "xz-utils"),
    ("bash", "bash"),
];

/// Whether all programs are there.
pub(super) fn check_tools() -> Result<(), MriError> {
    let path = env::var_os("PATH").unwrap_or_default();
    let installed = |name: &str| env::split_paths(&path).any(|folder| folder.join(name).is_file());
    let mut missing: Vec<(&str, &str)> = TOOLS
        .into_iter()
        .filter(|(name, _)| !installed(name))
        .collect();
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "--version"]);
    if installed("python3") && !command::run(pip, TIMEOUT)?.success {
        missing.push(("pip for python3", "python3-pip"));
    }
    if missing.is_empty() {
        return Ok(());
    }
    let (names, packages): (Vec<&str>, Vec<&str>) = missing.into_iter().unzip();
    let owned = |words: Vec<&str>| words.into_iter().map(str::to_owned).collect();
    Err(MriError::Tools(owned(names), owned(packages)))
}

/// Runs all steps that are not done yet. The libraries are built beside the configuration of MRI, which does not need
/// them yet.
pub(super) fn run(
    work: &Path,
    sources: &Path,
    wheel: &str,
    progress: &mut (dyn FnMut(String, usize) + Send),
) -> Result<(), MriError> {
    let place = |source| MriError::io(work, source);
    let recipe = work.join("recipe");
    recipe::unpack(&recipe).map_err(place)?;
    for directory in ["logs", "done", "tools", "prefix", "tmp"] {
        fs::create_dir_all(work.join(directory)).map_err(place)?;
    }
    let shop = Shop {
        work,
        sources,
        recipe,
        wheel,
        jobs: thread::available_parallelism().map_or(2, |count| count.get().min(16)),
        progress: Mutex::new(StepState {
            progress,
            running: Vec::new(),
            done: 0,
        }),
    };
    shop.steps(&["toolchain"])?;
    thread::scope(|scope| {
        let libraries = scope.spawn(|| shop.steps(&["zlib", "yaml", "openssl"]));
        let configured = shop.steps(&["sources", "configure"]);
        let libraries = libraries.join().unwrap_or(Ok(()));
        libraries.and(configured)
    })?;
    shop.steps(&["compile", "install"])
}

struct Shop<'a> {
    work: &'a Path,
    sources: &'a Path,
    recipe: PathBuf,
    wheel: &'a str,
    jobs: usize,
    progress: Mutex<StepState<'a>>,
}

struct StepState<'a> {
    progress: &'a mut (dyn FnMut(String, usize) + Send),
    running: Vec<&'static str>,
    done: usize,
}

impl StepState<'_> {
    fn say(&mut self) {
        if !self.running.is_empty() {
            (self.progress)(self.running.join(" and "), self.done);
        }
    }
}

impl Shop<'_> {
    fn steps(&self, names: &[&'static str]) -> Result<(), MriError> {
        for name in names {
            self.change(|state| state.running.push(name));
            let ended = self.step(name);
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
        state.say();
    }

    fn step(&self, name: &str) -> Result<(), MriError> {
        let mark = self.work.join("done").join(name);
        if mark.exists() {
            return Ok(());
        }
        let file = format!("steps/{name}.sh");
        let script = STEPS.iter().find(|(step, _)| *step == file);
        let script = format!("{PREAMBLE}{}", script.map_or("false", |(_, text)| text));
        let log = self.work.join("logs").join(format!("{name}.log"));
        let at = |source| MriError::io(&log, source);
        let tools = self.work.join("tools");
        let mut bash = Command::new("bash");
        bash.args(["-euo", "pipefail", "-c", &script])
            .current_dir(self.work)
            .env_clear()
            .envs(
                ["PATH", "HOME"]
                    .into_iter()
                    .filter_map(|name| Some((name, env::var_os(name)?))),
            )
            .env("LC_ALL", "C.UTF-8")
            .env("TMPDIR", self.work.join("tmp"))
            .env("WORK", self.work)
            .env("SOURCES", self.sources)
            .env("RECIPE", &self.recipe)
            .env("PREFIX", self.work.join("prefix"))
            .env("ZIG_WHEEL", self.wheel)
            .env("ZIG_GLOBAL_CACHE_DIR", tools.join("cache"))
            .env("ZIG_LOCAL_CACHE_DIR", tools.join("cache"))
            .env("TOOLS", tools)
            .env("PARENT", std::process::id().to_string())
            .env("JOBS", self.jobs.to_string())
            .env("STACK_SIZE", STACK_SIZE.to_string());
        let output = File::create(&log).map_err(at)?;
        let ended = command::run_into(bash, output, TIMEOUT);
        let reason = match ended {
            Ok(status) if status.success() => {
                return fs::write(&mark, "").map_err(|source| MriError::io(&mark, source));
            }
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        let said = fs::read(&log).unwrap_or_default();
        let said = String::from_utf8_lossy(&said).into_owned();
        let lines: Vec<&str> = said.lines().collect();
        Err(MriError::Step {
            step: name.to_owned(),
            reason,
            said: lines[lines.len().saturating_sub(LINES)..].join("\n"),
            log,
        })
    }
}
