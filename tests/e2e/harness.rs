//! A node of its own for each test, driven through the binary, git and HTTP. Benchmarks use it too.

#![allow(dead_code, reason = "tests and benchmarks each use a part of it")]

#[path = "../support/ports.rs"]
mod ports;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub(crate) use ports::free_port;

const CORUNDUM: &str = env!("CARGO_BIN_EXE_corundum");

/// Where Debian's `ruby-*` packages put gems.
const DEBIAN_GEMS: &str = "/usr/share/rubygems-integration/all";

/// Where script/debian13-gems puts those of Debian 13: Rack 3 and Sinatra 4.
const DEBIAN13_GEMS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../target/debian13/usr/share/rubygems-integration/all"
);

/// Debian 13's gems.
pub(crate) struct Debian13;

/// Debian 13's gems, if this machine has them. Where it must, a test fails without.
pub(crate) fn debian13() -> Option<Debian13> {
    if std::path::Path::new(DEBIAN13_GEMS).is_dir() {
        return Some(Debian13);
    }
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"));
    eprintln!("!! SKIPPED: Debian 13's gems are missing (script/debian13-gems)");
    None
}

impl Debian13 {
    /// A lockfile of gems in the versions that are there. The Gemfile names the first, which needs the others.
    pub(crate) fn lockfile(&self, names: &[&str]) -> String {
        let spec = |name: &&str| format!("    {name} ({})\n", self.version(name));
        let needed: String = names[1..]
            .iter()
            .map(|name| format!("      {name}\n"))
            .collect();
        let specs = spec(&names[0]) + &needed + &names[1..].iter().map(spec).collect::<String>();
        let name = names[0];
        format!("GEM\n  remote: x\n  specs:\n{specs}\nDEPENDENCIES\n  {name}\n")
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

/// What a command did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) success: bool,
    pub(crate) status: i32,
    /// Its output and errors.
    pub(crate) text: String,
}

impl Done {
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.stdin(Stdio::null()).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        Self {
            success: output.status.success(),
            status: output.status.code().unwrap_or(-1),
            text: String::from_utf8_lossy(&text).into_owned(),
        }
    }
}

/// A running node with a home directory of its own.
pub(crate) struct Node {
    cache: PathBuf,
    directory: tempfile::TempDir,
    http: u16,
    api: u16,
    admin: u16,
    server: Option<Child>,
    /// What the server is told beside its directory and its listeners.
    arguments: Vec<String>,
    /// Open files that it may have; as many as the machine lets it if none.
    files: Option<u32>,
}

/// A repository with the node's remote.
pub(crate) struct Repository {
    path: PathBuf,
    home: PathBuf,
}

/// Stops those who work until a flag is set, also when what they accompany fails: a scope of threads waits for all of them.
pub(crate) struct Stop<'a>(pub(crate) &'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Packs are prepared once on a machine, not once a test.
pub(crate) fn cache() -> PathBuf {
    let set = std::env::var_os("CORUNDUM_CACHE").map(PathBuf::from);
    set.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/corundum"))
}

/// The best pack of a series, which may not be prepared yet.
pub(crate) fn pack_of(series: corundum_pack::ruby::Series) -> PathBuf {
    corundum_pack::ruby::pack_path(series.best(), &cache())
}

impl Node {
    /// A node that takes gems from Debian's packages and fetches none.
    pub(crate) fn start() -> Self {
        let mut arguments = vec![
            "--gem-source",
            "http://127.0.0.1:9/",
            "--build-ruby",
            "false",
        ];
        for gems in [DEBIAN_GEMS, DEBIAN13_GEMS] {
            if std::path::Path::new(gems).is_dir() {
                arguments.extend(["--gems", gems]);
            }
        }
        Self::start_with(&arguments)
    }

    /// A node with these arguments.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        Self::start_in(cache(), arguments)
    }

    /// A node that may have `files` open.
    pub(crate) fn start_with_files(files: u32, arguments: &[&str]) -> Self {
        let mut node = Self::new(cache(), arguments);
        node.files = Some(files);
        node.restart();
        node
    }

    /// A node with a cache of its own.
    pub(crate) fn start_in(cache: PathBuf, arguments: &[&str]) -> Self {
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
            files: None,
        }
    }

    fn command(&self, program: &str) -> Command {
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
        let mut command = match self.files {
            None => self.command(CORUNDUM),
            Some(files) => {
                let mut shell = self.command("sh");
                let limited = format!("ulimit -n {files}; exec {CORUNDUM} \"$@\"");
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

    pub(crate) fn restart(&mut self) {
        let mut server = self.server().stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
        // It says where it listens once it does.
        let said = lines.find(|line| {
            line.as_ref()
                .map_or(true, |line| line.contains("API and git at"))
        });
        assert!(said.is_some(), "the node did not start");
        std::thread::spawn(move || lines.for_each(drop));
        self.server = Some(server);
    }

    /// Starts a second process that takes the node over; how the first ended.
    pub(crate) fn take_over(&mut self) -> std::process::ExitStatus {
        let mut old = self.server.take().unwrap();
        self.arguments.push("--takeover".to_owned());
        self.restart();
        self.arguments.pop();
        old.wait().unwrap()
    }

    /// Sends the node's process a signal.
    pub(crate) fn signal(&self, name: &str) {
        let mut kill = Command::new("kill");
        kill.args([format!("-{name}"), self.id().to_string()]);
        assert!(Done::of(&mut kill).success);
    }

    /// Waits for the node's process to end.
    pub(crate) fn wait(&mut self) -> std::process::ExitStatus {
        self.server.take().unwrap().wait().unwrap()
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    /// Ends the node and starts it with other arguments.
    pub(crate) fn restart_with(&mut self, arguments: &[&str]) {
        self.kill();
        self.arguments = arguments.iter().map(ToString::to_string).collect();
        self.restart();
    }

    pub(crate) fn kill_and_restart(&mut self) {
        self.kill();
        self.restart();
    }

    pub(crate) fn second_server(&self) -> Done {
        let data = self.directory.path().join("data");
        let mut command = self.command(CORUNDUM);
        command.arg("server").arg("--data-dir").arg(data);
        Done::of(command.args([
            "--http",
            "127.0.0.1:0",
            "--api",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
        ]))
    }

    pub(crate) fn damage_images(&self) {
        for image in std::fs::read_dir(self.directory.path().join("data/images")).unwrap() {
            let path = image.unwrap().path().join("image.cwasm");
            let mut bytes = std::fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0xff;
            std::fs::write(&path, bytes).unwrap();
        }
    }

    /// Its data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Where its apps are served.
    pub(crate) fn http(&self) -> u16 {
        self.http
    }

    /// A page of its admin listener; the status and the body.
    pub(crate) fn admin(&self, path: &str) -> (u16, String) {
        http(
            self.admin,
            &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        )
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.server.as_ref().unwrap().id()
    }

    /// Processes that the node has started, of git and of builds.
    pub(crate) fn processes(&self) -> usize {
        let data = self.directory.path().join("data");
        let socket = format!("CORUNDUM_HOOK_SOCKET={}", data.display());
        let is_ours = |process: &std::path::Path| {
            let environ = std::fs::read(process.join("environ")).unwrap_or_default();
            let builds = std::fs::read_link(process.join("cwd"));
            environ
                .split(|b| *b == 0)
                .any(|pair| pair.starts_with(socket.as_bytes()))
                || builds.is_ok_and(|directory| directory.starts_with(data.join("work")))
        };
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        processes.filter(|entry| is_ours(&entry.path())).count()
    }

    /// Files of builds that are not running.
    pub(crate) fn work_files(&self) -> usize {
        std::fs::read_dir(self.directory.path().join("data/work"))
            .unwrap()
            .count()
    }

    /// What the node keeps of an app's pushes: branches, and the names of slugs and images.
    pub(crate) fn kept(&self, app: &str) -> Vec<String> {
        let repository = self.data().join(format!("repos/{app}.git"));
        let refs = Done::of(
            Command::new("git")
                .arg("-C")
                .arg(&repository)
                .arg("for-each-ref"),
        );
        let mut kept = vec![refs.text];
        for directory in ["slugs", "images"] {
            kept.extend(names_in(&self.data().join(directory)));
        }
        kept.sort();
        kept
    }

    /// Waits until nothing is left of pushes that have ended: no process, no file of a build, no object in quarantine.
    pub(crate) fn assert_nothing_left(&self, app: &str) {
        let objects = self.data().join(format!("repos/{app}.git/objects"));
        let left = || {
            let mut left = names_in(&self.data().join("work"));
            left.extend(names_in(&objects).into_iter().filter(|n| n.len() > 4));
            left.extend(
                names_in(&objects.join("pack"))
                    .into_iter()
                    .filter(|n| n.contains("tmp")),
            );
            (left, self.processes())
        };
        for _ in 0..200 {
            if left() == (vec![], 0) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("left of a push: {:?}", left());
    }

    /// Kilobytes of the machine's memory that the node takes.
    pub(crate) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.unwrap()
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .unwrap()
    }

    /// The token that the command line has got.
    pub(crate) fn token(&self) -> String {
        self.cli(&["login"]);
        let netrc = self.directory.path().join("home/.netrc");
        let text = std::fs::read_to_string(netrc).unwrap();
        text.split_whitespace().last().unwrap().to_owned()
    }

    /// A request to the API; the status and the body.
    pub(crate) fn api(&self, line: &str, token: &str, headers: &str, body: &[u8]) -> (u16, String) {
        let mut stream = self.open_api(
            line,
            token,
            &format!("Content-Length: {}\r\n{headers}", body.len()),
        );
        // Whoever is refused early need not be read to the end.
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&joined(answer)).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }

    /// Sends the head of a request to the API.
    pub(crate) fn open_api(&self, line: &str, token: &str, headers: &str) -> TcpStream {
        let head = format!(
            "{line} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n{headers}\r\n"
        );
        let mut stream = TcpStream::connect(("127.0.0.1", self.api)).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(40)))
            .unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream
    }

    pub(crate) fn cli(&self, arguments: &[&str]) -> Done {
        Done::of(
            self.command(CORUNDUM)
                .args(arguments)
                .current_dir(self.directory.path()),
        )
    }

    /// Creates an app in a repository of its own.
    pub(crate) fn create(&self, name: &str) -> Repository {
        let path = self.directory.path().join(name);
        std::fs::create_dir(&path).unwrap();
        let repository = Repository {
            path,
            home: self.directory.path().join("home"),
        };
        assert!(Done::of(&mut repository.git(&["init", "--quiet"])).success);
        let created = Done::of(
            self.command(CORUNDUM)
                .args(["create", name])
                .current_dir(&repository.path),
        );
        assert!(created.success, "{}", created.text);
        repository
    }

    /// A request to an app; the status and the body.
    pub(crate) fn get(&self, app: &str, path: &str) -> (u16, String) {
        self.get_at(&format!("{app}.localhost"), path)
    }

    /// A request to whatever is served at a host name; the status and the body.
    pub(crate) fn get_at(&self, host: &str, path: &str) -> (u16, String) {
        let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        http(self.http, &head)
    }

    /// Any request; the whole answer.
    pub(crate) fn raw(&self, app: &str, line: &str, headers: &str, body: &str) -> String {
        let head =
            format!("{line} HTTP/1.1\r\nHost: {app}.localhost\r\nConnection: close\r\n{headers}");
        let length = body.len();
        answer(
            self.http,
            &format!("{head}Content-Length: {length}\r\n\r\n{body}"),
        )
    }

    /// Sends the head of a request; its body and its answer pass through what is returned.
    pub(crate) fn open(&self, app: &str, line: &str, headers: &str) -> TcpStream {
        let head = format!(
            "{line} HTTP/1.1\r\nHost: {app}.localhost\r\nConnection: close\r\n{headers}\r\n"
        );
        let mut stream = TcpStream::connect(("127.0.0.1", self.http)).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(40)))
            .unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream
    }

    pub(crate) fn api_status(&self, path: &str, authorization: &str) -> u16 {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {authorization}\r\nConnection: close\r\n\r\n"
        );
        http(self.api, &request).0
    }
}

/// The names in a directory, in order.
fn names_in(directory: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn http(port: u16, request: &str) -> (u16, String) {
    let answer = answer(port, request);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (
        head.split(' ').nth(1).unwrap().parse().unwrap(),
        body.to_owned(),
    )
}

fn answer(port: u16, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(40)))
        .unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&joined(answer)).into_owned()
}

/// The answer without chunks: on a busy machine a small body may come in some.
fn joined(answer: Vec<u8>) -> Vec<u8> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let (head, mut rest) = answer.split_at(end.map_or(answer.len(), |end| end + 4));
    let lower = head.to_ascii_lowercase();
    if !lower
        .windows(26)
        .any(|line| line == b"transfer-encoding: chunked")
    {
        return answer;
    }
    let mut joined = head.to_vec();
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&rest[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        joined.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[(end + 2 + size + 2).min(rest.len())..];
    }
    joined
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Repository {
    /// Where it is.
    pub(crate) fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// A command of the node's command line, in the repository.
    pub(crate) fn cli(&self, node: &Node, arguments: &[&str]) -> Done {
        Done::of(
            node.command(CORUNDUM)
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

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Copies a sample of the project.
    pub(crate) fn sample(&self, name: &str) {
        self.copy(&format!("{}/../samples/{name}", env!("CARGO_MANIFEST_DIR")));
    }

    /// Copies the files of a directory.
    pub(crate) fn copy(&self, directory: &str) {
        let mut cp = Command::new("cp");
        cp.args(["-r", &format!("{directory}/."), "."]);
        assert!(Done::of(cp.current_dir(&self.path)).success);
    }

    pub(crate) fn write_bytes(&self, path: &str, bytes: &[u8]) {
        std::fs::write(self.path.join(path), bytes).unwrap();
    }

    pub(crate) fn link(&self, path: &str, target: &str) {
        std::os::unix::fs::symlink(target, self.path.join(path)).unwrap();
    }

    pub(crate) fn remove(&self, path: &str) {
        std::fs::remove_file(self.path.join(path)).unwrap();
    }

    /// Another repository with the same remote and no common history.
    pub(crate) fn clone_as(&self, name: &str) -> Self {
        let path = self.path.parent().unwrap().join(name);
        std::fs::create_dir(&path).unwrap();
        let other = Self {
            path,
            home: self.home.clone(),
        };
        assert!(Done::of(&mut other.git(&["init", "--quiet"])).success);
        let url = Done::of(&mut self.git(&["remote", "get-url", "corundum"])).text;
        assert!(Done::of(&mut other.git(&["remote", "add", "corundum", url.trim()])).success);
        other
    }

    /// Runs git with `input`; what it prints, without the last newline.
    pub(crate) fn plumbing(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
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

    /// The same, as text.
    pub(crate) fn object(&self, arguments: &[&str], input: &[u8]) -> String {
        String::from_utf8(self.plumbing(arguments, input)).unwrap()
    }

    /// Commits a tree and pushes that to main, whatever was there.
    pub(crate) fn push_tree(&self, tree: &str) -> Done {
        let commit = self.object(&["commit-tree", tree, "-m", "Crafted"], b"");
        self.push_anything(&commit, "main")
    }

    /// Pushes any object to a branch, whatever was there.
    pub(crate) fn push_anything(&self, object: &str, to: &str) -> Done {
        Done::of(&mut self.git(&[
            "push",
            "--force",
            "corundum",
            &format!("{object}:refs/heads/{to}"),
        ]))
    }

    pub(crate) fn commit(&self) {
        assert!(Done::of(&mut self.git(&["add", "--all"])).success);
        Done::of(&mut self.git(&["commit", "--quiet", "--message", "Change"]));
    }

    pub(crate) fn push(&self, branch: &str) -> Done {
        self.push_ref(branch, branch)
    }

    /// Commits everything and pushes it.
    pub(crate) fn push_ref(&self, from: &str, to: &str) -> Done {
        self.commit();
        Done::of(&mut self.git(&["push", "corundum", &format!("{from}:{to}")]))
    }

    pub(crate) fn push_in_background(&self, branch: &str) -> Child {
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

    /// Whether the node has the branch as it is here.
    pub(crate) fn up_to_date(&self, branch: &str) -> bool {
        self.push(branch).text.contains("Everything up-to-date")
    }

    pub(crate) fn kill_group(&self, push: &mut Child) {
        let group = format!("-{}", push.id());
        assert!(Done::of(Command::new("kill").args(["-9", "--", &group])).success);
        push.wait().unwrap();
    }
}
