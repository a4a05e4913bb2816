//! Execution of shell scripts that build something from source, each with a log of its own.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::process::{self, ProgramError};

/// Time limit for one script; each takes a minute or two.
const TIMEOUT: Duration = Duration::from_secs(3600);
/// Number of lines of a log that a failure includes.
const LOG_LINES: usize = 15;

/// Shell code that precedes each script.
///
/// It includes a watchdog that kills the script's process group when the process that runs this build is gone.
const PREAMBLE: &str = r#"
unpack() { # archive, directory
  rm -rf "$WORK/$2"
  mkdir -p "$WORK/$2"
  tar xf "$1" -C "$WORK/$2" --strip-components=1
}
export PATH="$TOOLS/bin:$PATH"
# Kills this process group when the parent is killed.
( while kill -0 "$PARENT" 2>/dev/null; do sleep 1; done; kill -KILL -- -$$ ) &
trap "kill $! 2>/dev/null || true" EXIT
"#;

/// Failure of a script.
pub(crate) struct ScriptFailure {
    /// Exit status, or reason for aborting the script.
    pub(crate) reason: String,
    /// Last lines of the script's output.
    pub(crate) output: String,
}

/// Runs a script in the directory `work`, with its output in the file `log`.
///
/// The script sees `PATH` and `HOME` of this process, `WORK`, `PARENT`, and `variables`, which must include `TOOLS`.
pub(crate) fn run<'a>(
    text: &str,
    work: &Path,
    log: &Path,
    variables: impl IntoIterator<Item = (&'a str, OsString)>,
) -> io::Result<Result<(), ScriptFailure>> {
    let inherited = ["PATH", "HOME"].into_iter();
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", &format!("{PREAMBLE}{text}")])
        .current_dir(work)
        .env_clear()
        .envs(inherited.filter_map(|name| Some((name, env::var_os(name)?))))
        .env("LC_ALL", "C.UTF-8")
        .env("WORK", work)
        .env("PARENT", std::process::id().to_string())
        .envs(variables);
    let output = File::create(log)?;
    let reason = match process::run_into(bash, output, TIMEOUT) {
        Ok(status) if status.success() => return Ok(Ok(())),
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    Ok(Err(ScriptFailure {
        reason,
        output: lines[lines.len().saturating_sub(LOG_LINES)..].join("\n"),
    }))
}

/// Names of programs that are not installed, and the Debian packages that contain them.
pub(crate) struct MissingTools {
    pub(crate) programs: Vec<String>,
    pub(crate) packages: Vec<String>,
}

/// Checks that programs, given with their Debian packages, and pip for Python are installed.
pub(crate) fn check_tools(tools: &[(&str, &str)]) -> Result<Option<MissingTools>, ProgramError> {
    let path = env::var_os("PATH").unwrap_or_default();
    let installed = |name: &str| env::split_paths(&path).any(|folder| folder.join(name).is_file());
    let mut missing: Vec<(&str, &str)> = tools
        .iter()
        .copied()
        .filter(|(name, _)| !installed(name))
        .collect();
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "--version"]);
    if installed("python3") && !process::run(pip, TIMEOUT)?.success {
        missing.push(("pip for python3", "python3-pip"));
    }
    let owned = |word: &str| word.to_owned();
    let (programs, packages) = missing
        .into_iter()
        .map(|(program, package)| (owned(program), owned(package)))
        .unzip();
    let found = MissingTools { programs, packages };
    Ok((!found.programs.is_empty()).then_some(found))
}
