//! Compilers for a build in a dyno: carries out its command lines in a jail.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use corundum_pack::archive::Archive;
use corundum_pack::extension::PackSymbols;
use corundum_pack::toolchain::driver::{self, DriverPaths, guest_text};
use serde::{Deserialize, Serialize};

use super::{files_below, headers, pkg_config};
use crate::jail::Jail;
use crate::sandbox::CommandTools;

/// Time of one compilation. The largest generated parsers take half a minute.
const DEADLINE: Duration = Duration::from_secs(300);
/// Most bytes of a file that goes back to the dyno.
const MAX_RESULT: u64 = 64 << 20;
/// Status of a command that the driver refuses.
const REFUSED: i32 = 2;

/// Compilers and the files that they work on.
pub(super) struct ExtensionTools {
    /// Stands for the dyno's `/`.
    work: PathBuf,
    /// The same, through which no link leads out.
    root: Dir,
    toolchain: PathBuf,
    sysroot: PathBuf,
    /// Directory of Ruby's headers, which stands for `/usr`.
    ruby: PathBuf,
    /// File with the names that the pack provides.
    provided: PathBuf,
}

/// A request of the dyno: a line of JSON, then the bytes of the files.
#[derive(Deserialize)]
struct ToolRequest {
    command: Vec<String>,
    directory: String,
    files: Vec<(String, usize)>,
}

/// An answer: a line of JSON, then output, messages, and the bytes of the files.
#[derive(Serialize)]
struct ToolAnswer {
    status: i32,
    output: usize,
    errors: usize,
    files: Vec<(String, usize)>,
}

/// Result of a command.
struct ToolResult {
    status: i32,
    output: String,
    errors: String,
    /// Files for the dyno, by their paths there.
    files: Vec<(String, Vec<u8>)>,
}

impl ToolResult {
    fn failed(message: &str) -> Self {
        Self {
            status: REFUSED,
            output: String::new(),
            errors: format!("{message}\n"),
            files: Vec::new(),
        }
    }
}

impl ExtensionTools {
    /// Prepares the directory `work`, which is empty. `root` is the pack's root filesystem, with Ruby's headers.
    pub(super) fn new(
        work: &Path,
        toolchain: &Path,
        sysroot: &Path,
        root: &Archive,
        symbols: &PackSymbols,
    ) -> io::Result<Self> {
        let (guest, ruby) = (work.join("guest"), work.join("ruby"));
        for folder in ["app", "tmp"] {
            fs::create_dir_all(guest.join(folder))?;
        }
        for (path, bytes) in files_below(root, "usr/include") {
            let path = ruby.join("include").join(path);
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::write(path, bytes)?;
        }
        headers::write(&ruby.join("include"))?;
        let functions = symbols.functions.keys().chain(symbols.variables.keys());
        let names = functions
            .map(String::as_str)
            .chain(driver::TAGS.iter().copied());
        let names: String = names.map(|name| format!("{name}\n")).collect();
        let provided = work.join("provided");
        fs::write(&provided, names)?;
        Ok(Self {
            root: Dir::open_ambient_dir(&guest, ambient_authority())?,
            work: guest,
            toolchain: toolchain.to_owned(),
            sysroot: sysroot.to_owned(),
            ruby,
            provided,
        })
    }

    /// Copies the files of a gem, whose directory is below the dyno's `/app`.
    pub(super) fn add_sources(&self, directory: &str, files: &Archive) -> io::Result<()> {
        for (path, bytes) in files_below(files, directory) {
            self.write(&Path::new("app").join(directory).join(path), bytes)?;
        }
        Ok(())
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            self.root.create_dir_all(folder)?;
        }
        self.root.write(path, bytes)
    }

    fn run(&self, request: &[u8]) -> Result<ToolResult, String> {
        let end = request
            .iter()
            .position(|byte| *byte == b'\n')
            .ok_or("no line in the request")?;
        let (head, mut rest) = (&request[..end], &request[end + 1..]);
        let request: ToolRequest =
            serde_json::from_slice(head).map_err(|error| error.to_string())?;
        for (path, size) in &request.files {
            let (bytes, after) = rest.split_at_checked(*size).ok_or("a file is cut off")?;
            rest = after;
            let path = inside(path).ok_or_else(|| format!("{path}: not a path of a build"))?;
            self.write(&path, bytes)
                .map_err(|error| format!("{}: {error}", path.display()))?;
        }
        let (program, arguments) = request.command.split_first().ok_or("no command")?;
        if program == "pkg-config" {
            let (status, text) = pkg_config::run(arguments, &self.sysroot);
            let (output, errors) = if status == 0 {
                (text, String::new())
            } else {
                (String::new(), text)
            };
            return Ok(ToolResult {
                status,
                output,
                errors,
                files: Vec::new(),
            });
        }
        self.compile(&request)
    }

    fn compile(&self, request: &ToolRequest) -> Result<ToolResult, String> {
        let current = inside(&request.directory).ok_or("not a directory of a build")?;
        self.root
            .create_dir_all(&current)
            .map_err(|error| error.to_string())?;
        let paths = DriverPaths {
            toolchain: &self.toolchain,
            sysroot: Some(&self.sysroot),
            ruby: &self.ruby,
            work: &self.work,
            current: &request.directory,
            provided: Some(&self.provided),
        };
        let plan = driver::plan(&request.command, &paths).map_err(|error| error.to_string())?;
        let jail = Jail {
            readable: vec![
                self.toolchain.clone(),
                self.sysroot.clone(),
                self.ruby.clone(),
                self.provided.clone(),
            ],
            writable: self.work.clone(),
            directory: self.work.join(&current),
            deadline: DEADLINE,
        };
        let started = SystemTime::now() - Duration::from_millis(20);
        let mut result = ToolResult {
            status: 0,
            output: String::new(),
            errors: String::new(),
            files: Vec::new(),
        };
        for command in &plan.commands {
            let Some((program, arguments)) = command.split_first() else {
                continue;
            };
            let ended = jail
                .run(Path::new(program), arguments)
                .map_err(|error| error.to_string())?;
            result
                .output
                .push_str(&guest_text(&String::from_utf8_lossy(&ended.output), &paths));
            result
                .errors
                .push_str(&guest_text(&String::from_utf8_lossy(&ended.errors), &paths));
            result.status = ended.status;
            if ended.status != 0 {
                break;
            }
        }
        for path in &plan.temporary {
            // The jailed program may have replaced it by anything; a link is removed, not followed.
            let _ = path
                .strip_prefix(&self.work)
                .map(|path| self.root.remove_file(path));
        }
        if result.status == 0 {
            result.files = self
                .made(&current, &request.command, started)
                .map_err(|error| error.to_string())?;
        }
        Ok(result)
    }

    /// Returns the files that a command has made: below its directory, and the one that `-o` names.
    fn made(
        &self,
        current: &Path,
        command: &[String],
        started: SystemTime,
    ) -> io::Result<Vec<(String, Vec<u8>)>> {
        let mut paths: Vec<PathBuf> = Vec::new();
        for entry in self.root.read_dir(current)? {
            paths.push(current.join(entry?.file_name()));
        }
        let named = command
            .windows(2)
            .filter(|pair| pair[0] == "-o")
            .map(|pair| pair[1].as_str());
        let archives = command
            .iter()
            .filter(|word| word.ends_with(".a"))
            .map(String::as_str);
        for path in named.chain(archives) {
            let absolute = Path::new("/").join(current).join(path);
            paths.extend(inside(&absolute.to_string_lossy()));
        }
        paths.sort();
        paths.dedup();
        let mut made = Vec::new();
        for path in paths {
            let Ok(metadata) = self.root.symlink_metadata(&path) else {
                continue;
            };
            let is_new = metadata
                .modified()
                .is_ok_and(|time| time.into_std() >= started);
            if !metadata.is_file() || !is_new || metadata.len() > MAX_RESULT {
                continue;
            }
            made.push((format!("/{}", path.display()), self.root.read(&path)?));
        }
        Ok(made)
    }
}

impl CommandTools for ExtensionTools {
    fn run(&self, request: &[u8]) -> Vec<u8> {
        let result =
            Self::run(self, request).unwrap_or_else(|message| ToolResult::failed(&message));
        let head = ToolAnswer {
            status: result.status,
            output: result.output.len(),
            errors: result.errors.len(),
            files: result
                .files
                .iter()
                .map(|(path, bytes)| (path.clone(), bytes.len()))
                .collect(),
        };
        let mut answer = serde_json::to_vec(&head).unwrap_or_default();
        answer.push(b'\n');
        answer.extend_from_slice(result.output.as_bytes());
        answer.extend_from_slice(result.errors.as_bytes());
        result
            .files
            .iter()
            .for_each(|(_, bytes)| answer.extend_from_slice(bytes));
        answer
    }
}

/// Returns an absolute path of the dyno as one below its root, if a build may write there.
fn inside(path: &str) -> Option<PathBuf> {
    let mut parts = Vec::new();
    for part in Path::new(path).components() {
        match part {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(part) => parts.push(part),
            Component::ParentDir => drop(parts.pop()?),
            Component::Prefix(_) => return None,
        }
    }
    let is_open = parts
        .first()
        .is_some_and(|first| *first == "app" || *first == "tmp");
    (path.starts_with('/') && is_open).then(|| parts.iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_a_build_stay_inside() {
        assert_eq!(inside("/app/a/../b"), Some(PathBuf::from("app/b")));
        assert_eq!(inside("/tmp"), Some(PathBuf::from("tmp")));
        for path in [
            "app/a",
            "/etc/passwd",
            "/app/../etc/passwd",
            "/../app",
            "/",
            "",
        ] {
            assert_eq!(inside(path), None, "{path}");
        }
    }
}
