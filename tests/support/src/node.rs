//! A `corundum server` with its own data and home directories, driven by the CLI, git and HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::http1;
use crate::memory_group::MemoryGroup;
use crate::ports::free_port;
use crate::process::skip;
use crate::wait::poll;

/// Gem directory of Debian's `ruby-*` packages.
const DEBIAN_GEMS: &str = "/usr/share/rubygems-integration/all";

/// Gem directory that `script/debian13-gems` fills with Rack 3 and Sinatra 4 of Debian 13.
const DEBIAN13_GEMS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../target/debian13/usr/share/rubygems-integration/all"
);

/// Returns the path of the `corundum` binary that cargo built for this test or benchmark.
pub fn corundum() -> PathBuf {
    if let Some(path) = std::env::var_os("CARGO_BIN_EXE_corundum") {
        return path.into();
    }
    // Outside of cargo: test executables are in target/PROFILE/deps, binaries one directory above.
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    profile.join("corundum")
}

/// The gems of Debian 13.
#[derive(Debug)]
pub struct Debian13Gems;

/// Returns the gems of Debian 13. Without them, the test is skipped.
///
/// # Panics
///
/// Panics if they are missing and `CI=true`.
pub fn debian13_gems() -> Option<Debian13Gems> {
    if Path::new(DEBIAN13_GEMS).is_dir() {
        return Some(Debian13Gems);
    }
    skip("the gems of Debian 13 are missing: run script/debian13-gems");
    None
}

impl Debian13Gems {
    /// Returns a `Gemfile.lock` of `names` in their available versions.
    ///
    /// The Gemfile names the first gem, which depends on the others.
    pub fn lockfile(&self, names: &[&str]) -> String {
        let spec = |name: &&str| format!("    {name} ({})\n", self.version(name));
        let needed: String = names[1..]
            .iter()
            .map(|name| format!("      {name}\n"))
            .collect();
        let specs = spec(&names[0]) + &needed + &names[1..].iter().map(spec).collect::<String>();
        let name = names[0];
        format!("GEM\n  remote: https://rubygems.org/\n  specs:\n{specs}\nDEPENDENCIES\n  {name}\n")
    }

    fn version(&self, name: &str) -> String {
        let files = std::fs::read_dir(format!("{DEBIAN13_GEMS}/specifications")).unwrap();
        let version = |file: String| {
            let version = file
                .strip_prefix(name)?
                .strip_prefix('-')?
                .strip_suffix(".gemspec")?;
            version
                .starts_with(|c: char| c.is_ascii_digit())
                .then(|| version.to_owned())
        };
        files
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .find_map(version)
            .unwrap()
    }
}

/// Result of a command that ended.
#[derive(Debug)]
pub struct ProcessOutput {
    /// `true` if the exit status is 0.
    pub success: bool,
    /// The exit status, -1 if a signal ended the command.
    pub status: i32,
    /// Standard output, then standard error.
    pub text: String,
}

impl ProcessOutput {
    /// Runs `command` to its end.
    pub fn of(command: &mut Command) -> Self {
        let output = command.stdin(Stdio::null()).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        Self {
            success: output.status.success(),
            status: output.status.code().unwrap_or(-1),
            text: String::from_utf8_lossy(&text).into_owned(),
        }
    }

    /// Asserts that the command succeeded.
    ///
    /// # Panics
    ///
    /// Panics with the output if the command failed.
    pub fn assert_success(&self) {
        assert!(self.success, "{}", self.text);
    }

    /// Asserts that the command failed with `reason` in its output.
    ///
    /// # Panics
    ///
    /// Panics with the output if the command succeeded, or failed for another reason.
    pub fn assert_failure(&self, reason: &str) {
        assert!(
            !self.success && self.text.contains(reason),
            "{reason:?} is not the reason: {}",
            self.text
        );
    }
}

/// A running node with its own home directory. It is killed when the value is dropped.
#[derive(Debug)]
pub struct TestNode {
    cache: PathBuf,
    directory: tempfile::TempDir,
    http: u16,
    api: u16,
    admin: u16,
    server: Option<Child>,
    /// Arguments of the server beside its data directory and its listeners.
    arguments: Vec<String>,
    /// Command of the shell that runs before the server, such as a limit.
    prologue: Option<String>,
}

/// A process that takes a node over. It is killed when the value is dropped, unless the node continues with it.
#[derive(Debug)]
pub struct Successor {
    command: Command,
    process: Option<Child>,
}

impl Successor {
    /// Starts the process.
    pub fn spawn(&mut self) {
        self.process = Some(self.command.spawn().unwrap());
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// A git repository of an app with the node as its remote.
#[derive(Debug)]
pub struct Repository {
    path: PathBuf,
    home: PathBuf,
}

/// Sets a flag when it is dropped.
///
/// Threads that work until the flag is set then end even if the test fails: a scope of threads joins all of them.
#[derive(Debug)]
pub struct StopOnDrop<'a>(pub &'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Returns the pack cache of this machine. All tests share it, since preparing a pack takes minutes.
pub fn pack_cache() -> PathBuf {
    let folder = |name| std::env::var_os(name).map(PathBuf::from);
    let shared = || folder("XDG_CACHE_HOME").map(|cache| cache.join("corundum"));
    let own = || folder("HOME").unwrap().join(".cache/corundum");
    folder("CORUNDUM_CACHE").or_else(shared).unwrap_or_else(own)
}

impl TestNode {
    /// Starts a node that takes gems from Debian's packages and downloads none.
    pub fn start() -> Self {
        let mut arguments = vec![
            "--gem-source",
            "http://127.0.0.1:9/",
            "--build-ruby",
            "false",
        ];
        for gems in [DEBIAN_GEMS, DEBIAN13_GEMS] {
            if Path::new(gems).is_dir() {
                arguments.extend(["--gems", gems]);
            }
        }
        Self::start_with(&arguments)
    }

    /// Starts a node with these arguments.
    pub fn start_with(arguments: &[&str]) -> Self {
        Self::start_with_cache(pack_cache(), arguments)
    }

    /// Starts a node that may open at most `open_files` files.
    pub fn start_with_open_files(open_files: u32, arguments: &[&str]) -> Self {
        let mut node = Self::new(pack_cache(), arguments);
        node.prologue = Some(format!("ulimit -n {open_files}"));
        node.restart();
        node
    }

    /// Starts a node in a control group. The group must live longer than the node.
    pub fn start_in_memory_group(group: &MemoryGroup) -> Self {
        let mut node = Self::new(pack_cache(), &["--build-ruby", "false"]);
        node.prologue = Some(format!("echo $$ > {}", group.join_file().display()));
        node.restart();
        node
    }

    /// Starts a node that may open at most `open_files` files and has to exit. Returns its output.
    ///
    /// # Panics
    ///
    /// Panics if the node still runs after 20 s.
    pub fn failed_start_with_open_files(open_files: u32) -> ProcessOutput {
        let mut node = Self::new(pack_cache(), &["--build-ruby", "false"]);
        node.prologue = Some(format!("ulimit -n {open_files}"));
        let mut server = node.server();
        server.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut server = server.spawn().unwrap();
        let ended = poll(Duration::from_secs(20), || server.try_wait().unwrap());
        let _ = server.kill();
        let output = server.wait_with_output().unwrap();
        assert!(ended.is_some(), "the node runs with {open_files} files");
        ProcessOutput {
            success: output.status.success(),
            status: output.status.code().unwrap_or(-1),
            text: String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        }
    }

    /// Starts a node with its own pack cache.
    pub fn start_with_cache(cache: PathBuf, arguments: &[&str]) -> Self {
        let mut node = Self::new(cache, arguments);
        node.restart();
        node
    }

    fn new(cache: PathBuf, arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().join("home");
        std::fs::create_dir(&home).unwrap();
        let git =
            "[user]\n\tname = Test\n\temail = test@localhost\n[init]\n\tdefaultBranch = main\n";
        std::fs::write(home.join(".gitconfig"), git).unwrap();
        Self {
            directory,
            cache,
            http: free_port(),
            api: free_port(),
            admin: free_port(),
            server: None,
            arguments: arguments
                .iter()
                .map(|argument| (*argument).to_owned())
                .collect(),
            prologue: None,
        }
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env("HOME", self.directory.path().join("home"))
            .env("CORUNDUM_CACHE", &self.cache)
            .env("CORUNDUM_API", format!("http://127.0.0.1:{}", self.api))
            .env("GIT_TERMINAL_PROMPT", "0")
            .env_remove("CORUNDUM_APP");
        command
    }

    fn server(&self) -> Command {
        let mut command = match &self.prologue {
            None => self.command(corundum()),
            Some(prologue) => {
                let mut shell = self.command("sh");
                let corundum = corundum();
                let limited = format!("{prologue}; exec {} \"$@\"", corundum.display());
                shell.args(["-c", &limited, "sh"]);
                shell
            }
        };
        command
            .arg("server")
            .arg("--data-dir")
            .arg(self.directory.path().join("data"));
        command.args(["--http", &format!("127.0.0.1:{}", self.http)]);
        command.args(["--api", &format!("127.0.0.1:{}", self.api)]);
        command.args(["--admin", &format!("127.0.0.1:{}", self.admin)]);
        command.args(&self.arguments);
        command
    }

    /// Starts the server process and waits until it listens.
    pub fn restart(&mut self) {
        let mut server = self.server().stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
        // The server prints its addresses once it listens.
        let listening = lines.find(|line| {
            line.as_ref()
                .map_or(true, |line| line.contains("API and git at"))
        });
        assert!(listening.is_some(), "the node did not start");
        std::thread::spawn(move || lines.for_each(drop));
        self.server = Some(server);
    }

    /// Starts the server process and waits until it listens.
    ///
    /// # Errors
    ///
    /// Returns what the process has written to standard error if it does not start.
    pub fn try_restart(&mut self) -> Result<(), String> {
        let path = self.directory.path().join("stderr");
        let errors = std::fs::File::create(&path).unwrap();
        let mut command = self.server();
        let mut server = command
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
        let listens = lines.any(|line| line.is_ok_and(|line| line.contains("API and git at")));
        if listens {
            std::thread::spawn(move || lines.for_each(drop));
            self.server = Some(server);
            return Ok(());
        }
        server.wait().unwrap();
        Err(std::fs::read_to_string(path).unwrap())
    }

    /// Starts a second process that takes the node over. Returns the exit status of the first.
    pub fn take_over(&mut self) -> std::process::ExitStatus {
        let mut old = self.server.take().unwrap();
        self.arguments.push("--takeover".to_owned());
        self.restart();
        self.arguments.pop();
        old.wait().unwrap()
    }

    /// Prepares a second process that takes the node over, for a caller that uses the node meanwhile.
    pub fn successor(&self) -> Successor {
        let mut command = self.server();
        command.arg("--takeover").stdout(Stdio::null());
        Successor {
            command,
            process: None,
        }
    }

    /// Continues with the process that has taken the node over. Waits for the end of the first one.
    pub fn replaced_by(&mut self, mut successor: Successor) {
        let mut old = self.server.take().unwrap();
        assert!(old.wait().unwrap().success());
        self.server = successor.process.take();
    }

    /// Sends a signal, such as `HUP`, to the server process.
    pub fn signal(&self, name: &str) {
        let mut kill = Command::new("kill");
        kill.args([format!("-{name}"), self.id().to_string()]);
        assert!(ProcessOutput::of(&mut kill).success);
    }

    /// Waits until the server process ends.
    pub fn wait(&mut self) -> std::process::ExitStatus {
        self.server.take().unwrap().wait().unwrap()
    }

    /// Kills the server process, if it runs.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    /// Kills the server process and starts it with other arguments.
    pub fn restart_with(&mut self, arguments: &[&str]) {
        self.kill();
        self.arguments = arguments.iter().map(ToString::to_string).collect();
        self.restart();
    }

    /// Kills the server process and starts it with other arguments.
    ///
    /// # Errors
    ///
    /// Returns what the process has written to standard error if it does not start.
    pub fn try_restart_with(&mut self, arguments: &[&str]) -> Result<(), String> {
        self.kill();
        self.arguments = arguments.iter().map(ToString::to_string).collect();
        self.try_restart()
    }

    /// Kills the server process and starts it again.
    pub fn kill_and_restart(&mut self) {
        self.kill();
        self.restart();
    }

    /// Runs a second server on the same data directory, which has to exit.
    pub fn second_server(&self) -> ProcessOutput {
        let data = self.directory.path().join("data");
        let mut command = self.command(corundum());
        command.arg("server").arg("--data-dir").arg(data);
        ProcessOutput::of(command.args([
            "--http",
            "127.0.0.1:0",
            "--api",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
        ]))
    }

    /// Flips a byte in the middle of each image's patch, and removes its full file.
    pub fn damage_images(&self) {
        for image in std::fs::read_dir(self.data().join("images")).unwrap() {
            for patch in std::fs::read_dir(image.unwrap().path()).unwrap() {
                flip_byte(&patch.unwrap().path());
            }
        }
        for full in std::fs::read_dir(self.data().join("full-images")).unwrap() {
            std::fs::remove_file(full.unwrap().path()).unwrap();
        }
    }

    /// Returns the data directory.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Returns the port that apps are served on.
    pub fn http(&self) -> u16 {
        self.http
    }

    /// Returns the port of the API.
    pub fn api_port(&self) -> u16 {
        self.api
    }

    /// Returns the port of the admin listener.
    pub fn admin_port(&self) -> u16 {
        self.admin
    }

    /// Requests `path` from the admin listener. Returns the status and the body.
    pub fn admin(&self, path: &str) -> (u16, String) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        http1::status_and_body(&http1::exchange(self.admin, &request))
    }

    /// Returns the ID of the server process.
    pub fn id(&self) -> u32 {
        self.server.as_ref().unwrap().id()
    }

    /// Counts the processes of git and of builds that the node has started.
    pub fn processes(&self) -> usize {
        let data = self.directory.path().join("data");
        let socket = format!("CORUNDUM_HOOK_SOCKET={}", data.display());
        let is_ours = |process: &Path| {
            let environ = std::fs::read(process.join("environ")).unwrap_or_default();
            let builds = std::fs::read_link(process.join("cwd"));
            environ
                .split(|b| *b == 0)
                .any(|pair| pair.starts_with(socket.as_bytes()))
                || builds.is_ok_and(|directory| directory.starts_with(&data))
        };
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        processes.filter(|entry| is_ours(&entry.path())).count()
    }

    /// Returns the peak resident memory in KiB of a process of git or of a build that the node has started and that runs now:
    /// that of the largest.
    pub fn processes_memory(&self) -> u64 {
        let data = self.directory.path().join("data");
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let memory = processes.filter_map(|entry| {
            let process = entry.path();
            let directory = std::fs::read_link(process.join("cwd")).ok()?;
            let status = std::fs::read_to_string(process.join("status")).ok()?;
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("VmHWM:"))?;
            let kib: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
            directory.starts_with(&data).then_some(kib)
        });
        memory.max().unwrap_or(0)
    }

    /// Counts the files in the directory of unfinished builds.
    pub fn work_files(&self) -> usize {
        std::fs::read_dir(self.directory.path().join("data/work"))
            .unwrap()
            .count()
    }

    /// Returns what the node stores for pushes to `app`: its branches, and the names of all slugs and images.
    pub fn push_results(&self, app: &str) -> Vec<String> {
        let repository = self.data().join(format!("repos/{app}.git"));
        let refs = ProcessOutput::of(
            Command::new("git")
                .arg("-C")
                .arg(&repository)
                .arg("for-each-ref"),
        );
        let mut results = vec![refs.text];
        for directory in ["slugs", "images"] {
            results.extend(names_in(&self.data().join(directory)));
        }
        results.sort();
        results
    }

    /// Waits until pushes that ended have left nothing behind: no process, no file of a build, no quarantined object.
    ///
    /// # Panics
    ///
    /// Panics if something is left after 10 s.
    pub fn assert_pushes_cleaned_up(&self, app: &str) {
        let objects = self.data().join(format!("repos/{app}.git/objects"));
        let left = || {
            let mut left = names_in(&self.data().join("work"));
            // Object directories have two letters, `info` and `pack` four: longer names are quarantines.
            left.extend(names_in(&objects).into_iter().filter(|n| n.len() > 4));
            left.extend(
                names_in(&objects.join("pack"))
                    .into_iter()
                    .filter(|n| n.contains("tmp")),
            );
            (left, self.processes())
        };
        let clean = poll(Duration::from_secs(10), || {
            (left() == (vec![], 0)).then_some(())
        });
        assert!(clean.is_some(), "left of a push: {:?}", left());
    }

    /// Returns the resident memory of the server process in KiB.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.unwrap()
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .unwrap()
    }

    /// Logs in and returns the token that the CLI stored.
    pub fn token(&self) -> String {
        self.cli(&["login"]);
        let netrc = self.directory.path().join("home/.netrc");
        let text = std::fs::read_to_string(netrc).unwrap();
        text.split_whitespace().last().unwrap().to_owned()
    }

    /// Sends a request to the API. Returns the status and the body.
    pub fn api(&self, line: &str, token: &str, headers: &str, body: &[u8]) -> (u16, String) {
        let mut stream = self.open_api(
            line,
            token,
            &format!("Content-Length: {}\r\n{headers}", body.len()),
        );
        // The server may refuse the request and close the connection before it has read the whole body.
        let _ = stream.write_all(body);
        let mut response = Vec::new();
        let _ = stream.read_to_end(&mut response);
        http1::status_and_body(&String::from_utf8_lossy(&http1::join_chunks(response)))
    }

    /// Sends the head of a request to the API. The caller sends the body and reads the response.
    pub fn open_api(&self, line: &str, token: &str, headers: &str) -> TcpStream {
        let head = format!(
            "{line} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n{headers}\r\n"
        );
        http1::open(self.api, &head)
    }

    /// Sends a request without a token to the API. The caller reads the response.
    pub fn open_public_api(&self, line: &str) -> TcpStream {
        let head = format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        http1::open(self.api, &head)
    }

    /// Sends a request without a token to the API. Returns the status and the body.
    pub fn public_api(&self, line: &str) -> (u16, String) {
        let mut response = Vec::new();
        self.open_public_api(line)
            .read_to_end(&mut response)
            .unwrap();
        http1::status_and_body(&String::from_utf8_lossy(&http1::join_chunks(response)))
    }

    /// Runs a command of the CLI outside of any repository.
    pub fn cli(&self, arguments: &[&str]) -> ProcessOutput {
        ProcessOutput::of(self.cli_from(corundum()).args(arguments))
    }

    /// Returns a command of a program that runs the CLI, or of the CLI itself.
    pub fn cli_from(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = self.command(program);
        command.current_dir(self.directory.path());
        command
    }

    /// Creates an app, and a repository with the node as its remote.
    pub fn create(&self, name: &str) -> Repository {
        let path = self.directory.path().join(name);
        std::fs::create_dir(&path).unwrap();
        let repository = Repository {
            path,
            home: self.directory.path().join("home"),
        };
        assert!(ProcessOutput::of(&mut repository.git(&["init", "--quiet"])).success);
        let created = ProcessOutput::of(
            self.command(corundum())
                .args(["create", name])
                .current_dir(&repository.path),
        );
        created.assert_success();
        repository
    }

    /// Creates an app and deploys `config_ru` to it.
    ///
    /// # Panics
    ///
    /// Panics with the output of the push if the push fails.
    pub fn deploy(&self, name: &str, config_ru: &str) -> Repository {
        let app = self.create(name);
        app.deploy(config_ru);
        app
    }

    /// Creates an app and deploys the sample of the same name to it.
    ///
    /// # Panics
    ///
    /// Panics with the output of the push if the push fails.
    pub fn deploy_sample(&self, name: &str) -> Repository {
        let app = self.create(name);
        app.copy_sample(name);
        app.assert_pushed();
        app
    }

    /// Waits until the log of `app` contains `text`, and returns the log.
    ///
    /// # Panics
    ///
    /// Panics with the log if it does not contain `text` within 20 s.
    pub fn wait_for_log(&self, app: &str, text: &str) -> String {
        let log = || self.cli(&["logs", "--app", app, "-n", "1500"]).text;
        let found = poll(Duration::from_secs(20), || {
            Some(log()).filter(|log| log.contains(text))
        });
        found.unwrap_or_else(|| panic!("{text:?} is missing in:\n{}", log()))
    }

    /// Requests `path` from an app. Returns the status and the body.
    pub fn get(&self, app: &str, path: &str) -> (u16, String) {
        self.get_at(&format!("{app}.localhost"), path)
    }

    /// Requests `path` at a host name. Returns the status and the body.
    pub fn get_at(&self, host: &str, path: &str) -> (u16, String) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        http1::status_and_body(&http1::exchange(self.http, &request))
    }

    /// Sends a request with a body to an app. Returns the whole response.
    pub fn raw(&self, app: &str, line: &str, headers: &str, body: &str) -> String {
        let head =
            format!("{line} HTTP/1.1\r\nHost: {app}.localhost\r\nConnection: close\r\n{headers}");
        let length = body.len();
        let request = format!("{head}Content-Length: {length}\r\n\r\n{body}");
        http1::exchange(self.http, &request)
    }

    /// Sends the head of a request to an app. The caller sends the body and reads the response.
    pub fn open(&self, app: &str, line: &str, headers: &str) -> TcpStream {
        let head = format!(
            "{line} HTTP/1.1\r\nHost: {app}.localhost\r\nConnection: close\r\n{headers}\r\n"
        );
        http1::open(self.http, &head)
    }

    /// Requests `path` from the API with a value of `Authorization`. Returns the status.
    pub fn api_status(&self, path: &str, authorization: &str) -> u16 {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {authorization}\r\nConnection: close\r\n\r\n"
        );
        http1::status_and_body(&http1::exchange(self.api, &request)).0
    }
}

/// Returns the sorted names in a directory.
fn names_in(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Damages a file: flips all bits of the byte in its middle.
pub fn flip_byte(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(path, bytes).unwrap();
}

impl Drop for TestNode {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Repository {
    /// Returns the directory of the work tree.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs a command of the CLI in the repository.
    pub fn cli(&self, node: &TestNode, arguments: &[&str]) -> ProcessOutput {
        ProcessOutput::of(
            node.command(corundum())
                .args(arguments)
                .current_dir(&self.path),
        )
    }

    fn git(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        command
            .args(arguments)
            .current_dir(&self.path)
            .env("HOME", &self.home)
            .env("GIT_TERMINAL_PROMPT", "0");
        command
    }

    /// Writes a file, and makes its directories.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.path.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Copies a sample of the project into the work tree.
    pub fn copy_sample(&self, name: &str) {
        self.copy(&format!(
            "{}/../../samples/{name}",
            env!("CARGO_MANIFEST_DIR")
        ));
    }

    /// Copies the files of a directory into the work tree.
    pub fn copy(&self, directory: &str) {
        let mut cp = Command::new("cp");
        cp.args(["-r", &format!("{directory}/."), "."]);
        assert!(ProcessOutput::of(cp.current_dir(&self.path)).success);
    }

    /// Writes a file of any bytes.
    pub fn write_bytes(&self, path: &str, bytes: &[u8]) {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// Makes a symbolic link.
    pub fn link(&self, path: &str, target: &str) {
        std::os::unix::fs::symlink(target, self.path.join(path)).unwrap();
    }

    /// Removes a file.
    pub fn remove(&self, path: &str) {
        std::fs::remove_file(self.path.join(path)).unwrap();
    }

    /// Makes another repository with the same remote and no common history.
    pub fn unrelated(&self, name: &str) -> Self {
        let path = self.path.parent().unwrap().join(name);
        std::fs::create_dir(&path).unwrap();
        let other = Self {
            path,
            home: self.home.clone(),
        };
        assert!(ProcessOutput::of(&mut other.git(&["init", "--quiet"])).success);
        let url = ProcessOutput::of(&mut self.git(&["remote", "get-url", "corundum"])).text;
        assert!(
            ProcessOutput::of(&mut other.git(&["remote", "add", "corundum", url.trim()])).success
        );
        other
    }

    /// Runs git with `input`. Returns its output without the last newline.
    ///
    /// # Panics
    ///
    /// Panics if git fails.
    pub fn git_output(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let mut git = self.git(arguments);
        let mut git = git
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = git.stdin.take().unwrap();
        stdin.write_all(input).unwrap();
        drop(stdin);
        let output = git.wait_with_output().unwrap();
        assert!(output.status.success(), "git {arguments:?}");
        output
            .stdout
            .strip_suffix(b"\n")
            .unwrap_or(&output.stdout)
            .to_vec()
    }

    /// Runs git with `input`. Returns its output as text, such as the name of an object.
    pub fn git_text(&self, arguments: &[&str], input: &[u8]) -> String {
        String::from_utf8(self.git_output(arguments, input)).unwrap()
    }

    /// Commits a tree object and force-pushes the commit to main.
    pub fn push_tree(&self, tree: &str) -> ProcessOutput {
        let commit = self.git_text(&["commit-tree", tree, "-m", "Crafted"], b"");
        self.push_object(&commit, "main")
    }

    /// Force-pushes any object to a branch.
    pub fn push_object(&self, object: &str, to: &str) -> ProcessOutput {
        ProcessOutput::of(&mut self.git(&[
            "push",
            "--force",
            "corundum",
            &format!("{object}:refs/heads/{to}"),
        ]))
    }

    /// Runs git and returns its exit status and output.
    pub fn run_git(&self, arguments: &[&str]) -> ProcessOutput {
        ProcessOutput::of(&mut self.git(arguments))
    }

    /// Commits all files.
    pub fn commit(&self) {
        assert!(ProcessOutput::of(&mut self.git(&["add", "--all"])).success);
        ProcessOutput::of(&mut self.git(&["commit", "--quiet", "--message", "Change"]));
    }

    /// Commits all files and pushes a branch.
    pub fn push(&self, branch: &str) -> ProcessOutput {
        self.push_ref(branch, branch)
    }

    /// Commits all files and pushes the branch `from` to the branch `to`.
    pub fn push_ref(&self, from: &str, to: &str) -> ProcessOutput {
        self.commit();
        ProcessOutput::of(&mut self.git(&["push", "corundum", &format!("{from}:{to}")]))
    }

    /// Commits all files and pushes main.
    ///
    /// # Panics
    ///
    /// Panics with the output of the push if the push fails.
    pub fn assert_pushed(&self) -> ProcessOutput {
        let push = self.push("main");
        push.assert_success();
        push
    }

    /// Writes `config.ru`, commits all files and pushes main.
    ///
    /// # Panics
    ///
    /// Panics with the output of the push if the push fails.
    pub fn deploy(&self, config_ru: &str) -> ProcessOutput {
        self.write("config.ru", config_ru);
        self.assert_pushed()
    }

    /// Commits all files and starts a push in its own process group.
    pub fn push_in_background(&self, branch: &str) -> Child {
        self.commit();
        let mut command = Command::new("git");
        command
            .args(["push", "corundum", branch])
            .current_dir(&self.path)
            .env("HOME", &self.home);
        command
            .process_group(0)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Pushes a branch. Returns whether the node already had it.
    pub fn up_to_date(&self, branch: &str) -> bool {
        self.push(branch).text.contains("Everything up-to-date")
    }

    /// Kills a push started in the background with all processes of its group.
    pub fn kill_group(&self, push: &mut Child) {
        let group = format!("-{}", push.id());
        assert!(ProcessOutput::of(Command::new("kill").args(["-9", "--", &group])).success);
        push.wait().unwrap();
    }
}
