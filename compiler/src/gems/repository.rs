//! Fetcher of git repositories that a lockfile names, under the rules of gem servers.
//!
//! The operator allows the host, the build connects to an address that it has checked, no redirect is followed, and the
//! lockfile's revision, the digest of all files, decides what is installed. Git runs with the limits of [`git_command`].

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use corundum_pack::archive::FileMode;

use super::credentials::{self, GemCredentials};
use super::guarded_resolver::checked_addresses;
use super::server_url::GemServerUrl;
use crate::git_command;
use crate::lockfile::LockedRepository;
use crate::redact::without_credentials;

/// First version of git that connects to given addresses (`http.curloptResolve`).
const PINNING_VERSION: (u32, u32) = (2, 37);
/// Time for the fetch of one repository.
const FETCH_TIMEOUT: Duration = Duration::from_secs(180);
/// Time for a command that reads the fetched repository.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Interval between two looks at a running command.
const POLL: Duration = Duration::from_millis(20);
/// Bytes of all files of a repository at one revision, the same as for a gem.
const MAX_BYTES: u64 = 100 << 20;
/// Files of a repository.
const MAX_FILES: usize = 20_000;
/// Bytes of a list of files.
const MAX_LIST_BYTES: u64 = 16 << 20;
/// Bytes of git's error output in a message.
const MAX_ERROR_BYTES: u64 = 2000;
/// Levels of submodules.
const MAX_DEPTH: usize = 3;
/// Repositories of one build, submodules included.
const MAX_REPOSITORIES: usize = 100;

/// A repository that cannot be fetched.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RepositoryError {
    /// The URI is not one of HTTPS: the app's author changes it.
    #[error(
        "the repository {0} cannot be fetched; name it by an https:// URL without a password, run bundle lock, and commit Gemfile.lock"
    )]
    Uri(String),
    /// The operator does not allow the host.
    #[error(
        "the repository {uri} is on a host that this node does not fetch from; copy the gem into the app, and name the copy by path: in the Gemfile, or ask the node's operator to allow it with --gem-source {origin}/"
    )]
    NotAllowed {
        /// URI of the repository.
        uri: String,
        /// Scheme and host.
        origin: String,
    },
    /// The host has no address that a build may connect to.
    #[error("the host of the repository {0} cannot be reached; push again later")]
    Address(String),
    /// Git failed: the host, the network or the lockfile is at fault.
    #[error(
        "the repository {uri} cannot be fetched at revision {revision}: {reason}; if it is private, set its credentials (corundum config:set {variable}=USER:TOKEN)"
    )]
    Fetch {
        /// URI of the repository.
        uri: String,
        /// Digest of the commit.
        revision: String,
        /// Error output of git.
        reason: String,
        /// Config var for the credentials.
        variable: String,
    },
    /// The repository exceeds a limit.
    #[error("the repository {0} has more than {MAX_FILES} files or 100 MB; use a smaller one")]
    TooLarge(String),
    /// Git cannot be run: the node is at fault.
    #[error("git cannot be run on the node ({0}); ask the node's operator")]
    Git(String),
}

/// One file or link of a repository.
#[derive(Debug, Clone)]
pub(super) enum RepositoryEntry {
    /// Bytes and permissions of a file.
    File(Vec<u8>, FileMode),
    /// Target of a link.
    Symlink(String),
}

/// Files of a repository at one revision, by path.
pub(super) type RepositoryFiles = Vec<(String, RepositoryEntry)>;

/// Fetcher of the repositories of one build.
#[derive(Debug)]
pub struct RepositoryFetcher {
    allowed: Vec<GemServerUrl>,
    credentials: GemCredentials,
    scratch: PathBuf,
    /// Results by remote and revision: a repository may have many gems.
    known: Mutex<HashMap<(String, String), Arc<RepositoryFiles>>>,
}

impl RepositoryFetcher {
    /// Creates a fetcher for hosts that the operator allows. It works in `scratch`, which is removed with the build.
    pub fn new(
        allowed: impl IntoIterator<Item = GemServerUrl>,
        credentials: GemCredentials,
        scratch: &Path,
    ) -> Self {
        Self {
            allowed: allowed.into_iter().collect(),
            credentials,
            scratch: scratch.to_owned(),
            known: Mutex::default(),
        }
    }

    /// Fetches the files of a repository at its revision.
    pub(super) fn fetch(
        &self,
        repository: &LockedRepository,
    ) -> Result<Arc<RepositoryFiles>, RepositoryError> {
        let key = (repository.remote.clone(), repository.revision.clone());
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(files) = known().get(&key) {
            return Ok(files.clone());
        }
        let mut files = RepositoryFiles::new();
        let mut budget = FetchBudget {
            bytes: MAX_BYTES,
            repositories: MAX_REPOSITORIES,
        };
        self.add_files(repository, "", MAX_DEPTH, &mut budget, &mut files)?;
        let files = Arc::new(files);
        known().insert(key, files.clone());
        Ok(files)
    }

    fn add_files(
        &self,
        repository: &LockedRepository,
        prefix: &str,
        depth: usize,
        budget: &mut FetchBudget,
        files: &mut RepositoryFiles,
    ) -> Result<(), RepositoryError> {
        let uri = without_credentials(&repository.remote);
        if budget.repositories == 0 {
            return Err(RepositoryError::TooLarge(uri));
        }
        budget.repositories -= 1;
        let clone = self.clone_of(repository)?;
        let too_large = || RepositoryError::TooLarge(uri.clone());
        let list = clone.run(&["ls-tree", "-r", "-z", "--full-tree", &repository.revision])?;
        let list = String::from_utf8_lossy(&list).into_owned();
        let mut blobs = Vec::new();
        let mut submodules = Vec::new();
        for line in list.split('\0').filter(|line| !line.is_empty()) {
            let Some((head, path)) = line.split_once('\t') else {
                continue;
            };
            let words: Vec<&str> = head.split(' ').collect();
            let [mode, _, object] = words[..] else {
                continue;
            };
            match mode {
                "160000" => submodules.push((path, object)),
                _ => blobs.push((path, object, mode)),
            }
        }
        if files.len() + blobs.len() > MAX_FILES {
            return Err(too_large());
        }
        let contents = clone.contents(blobs.iter().map(|(_, object, _)| *object), budget)?;
        for ((path, _, mode), bytes) in blobs.into_iter().zip(contents) {
            let entry = match mode {
                "120000" => match String::from_utf8(bytes) {
                    Ok(target) => RepositoryEntry::Symlink(target),
                    Err(_) => continue,
                },
                "100755" => RepositoryEntry::File(bytes, FileMode::Executable),
                _ => RepositoryEntry::File(bytes, FileMode::Plain),
            };
            files.push((format!("{prefix}{path}"), entry));
        }
        if !repository.submodules || submodules.is_empty() {
            return Ok(());
        }
        if depth == 0 {
            return Err(too_large());
        }
        let urls = clone.submodule_urls(&repository.revision)?;
        drop(clone);
        for (path, object) in submodules {
            let Some(url) = urls.get(path) else { continue };
            let submodule = LockedRepository {
                remote: joined(&repository.remote, url),
                revision: object.to_owned(),
                submodules: true,
            };
            self.add_files(
                &submodule,
                &format!("{prefix}{path}/"),
                depth - 1,
                budget,
                files,
            )?;
        }
        Ok(())
    }

    /// Fetches the objects of a repository into a new directory.
    fn clone_of(&self, repository: &LockedRepository) -> Result<RepositoryClone, RepositoryError> {
        let LockedRepository {
            remote, revision, ..
        } = repository;
        let uri = without_credentials(remote);
        let url: GemServerUrl = remote
            .parse()
            .map_err(|_| RepositoryError::Uri(uri.clone()))?;
        if !self
            .allowed
            .iter()
            .any(|allowed| allowed.origin() == url.origin())
        {
            return Err(RepositoryError::NotAllowed {
                uri,
                origin: url.origin().to_owned(),
            });
        }
        let (host, port) = (url.host(), url.port());
        // With a proxy in the environment, the proxy resolves the names.
        let proxied = !url.is_loopback() && ureq::Proxy::try_from_env().is_some();
        let addresses = match proxied {
            true => Vec::new(),
            false => checked_addresses(host, port).unwrap_or_default(),
        };
        if addresses.is_empty() && !proxied {
            return Err(RepositoryError::Address(uri));
        }
        let git = |error: std::io::Error| RepositoryError::Git(error.to_string());
        let directory = tempfile::tempdir_in(&self.scratch).map_err(git)?;
        let is_safe = url.is_https() || url.is_loopback();
        let authorization = self.credentials.authorization(host).filter(|_| is_safe);
        let clone = RepositoryClone {
            directory,
            config: configuration(&url, host, port, &addresses, authorization),
            environment: match proxied {
                true => proxy_variables(),
                false => Vec::new(),
            },
        };
        clone.check_version()?;
        let failed = |reason: String| RepositoryError::Fetch {
            uri: uri.clone(),
            revision: revision.clone(),
            reason,
            variable: credentials::variable(host),
        };
        clone.run(&["init", "--quiet", "--bare"])?;
        // The URL of a gem server ends in a slash, which the path of a repository must not.
        let remote = url.as_str().trim_end_matches('/');
        let shallow = [
            "fetch",
            "--quiet",
            "--no-tags",
            "--depth=1",
            remote,
            revision,
        ];
        if clone.fetch(&shallow).is_ok() {
            return Ok(clone);
        }
        // Some servers send only what a branch or a tag names.
        let all = [
            "fetch",
            "--quiet",
            remote,
            "+refs/heads/*:refs/heads/*",
            "+refs/tags/*:refs/tags/*",
        ];
        clone.fetch(&all).map_err(failed)?;
        let commit = format!("{revision}^{{commit}}");
        match clone.run(&["rev-parse", "--quiet", "--verify", &commit]) {
            Ok(_) => Ok(clone),
            Err(_) => Err(failed("no branch and no tag contains it".to_owned())),
        }
    }
}

/// The remaining budget of one repository with its submodules.
struct FetchBudget {
    bytes: u64,
    repositories: usize,
}

/// Returns the configuration of git for one host.
fn configuration(
    url: &GemServerUrl,
    host: &str,
    port: u16,
    addresses: &[SocketAddr],
    authorization: Option<String>,
) -> Vec<(&'static str, String)> {
    let ips: Vec<String> = addresses
        .iter()
        .map(|address| address.ip().to_string())
        .collect();
    let protocol = match url.is_https() {
        true => "protocol.https.allow",
        false => "protocol.http.allow",
    };
    let mut config = vec![
        (protocol, "always".to_owned()),
        ("http.followRedirects", "false".to_owned()),
        (
            "http.curloptResolve",
            format!("{host}:{port}:{}", ips.join(",")),
        ),
        ("http.lowSpeedLimit", "1000".to_owned()),
        ("http.lowSpeedTime", "30".to_owned()),
        ("credential.helper", String::new()),
        // Nothing but the contents of files is read, and old repositories have harmless faults.
        ("fetch.fsckObjects", "false".to_owned()),
        ("transfer.fsckObjects", "false".to_owned()),
    ];
    if !ips.is_empty() {
        let pin = format!("{host}:{port}:{}", ips.join(","));
        config.push(("http.curloptResolve", pin));
    }
    if let Some(value) = authorization {
        config.push(("http.extraHeader", format!("Authorization: {value}")));
    }
    config
}

/// A fetched repository in a directory of the build.
struct RepositoryClone {
    directory: tempfile::TempDir,
    config: Vec<(&'static str, String)>,
    /// Variables that name the proxy.
    environment: Vec<(&'static str, OsString)>,
}

/// Returns the variables of the environment that name the proxy, which libcurl reads as the gem client does.
fn proxy_variables() -> Vec<(&'static str, OsString)> {
    let names = [
        "HTTPS_PROXY",
        "https_proxy",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
        "NO_PROXY",
        "no_proxy",
    ];
    let set = names
        .into_iter()
        .filter_map(|name| Some((name, std::env::var_os(name)?)));
    set.collect()
}

impl RepositoryClone {
    fn command(&self, arguments: &[&str]) -> Command {
        let config: Vec<(&str, &str)> = self
            .config
            .iter()
            .map(|(key, value)| (*key, value.as_str()))
            .collect();
        let mut git = git_command::configured(&config);
        git.args(arguments)
            .current_dir(self.directory.path())
            .env("GIT_DIR", self.directory.path())
            .env("TMPDIR", self.directory.path())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        git
    }

    /// Checks that git can be told the addresses to connect to.
    fn check_version(&self) -> Result<(), RepositoryError> {
        let text = String::from_utf8_lossy(&self.run(&["version"])?).into_owned();
        let version = text.split_ascii_whitespace().nth(2).unwrap_or_default();
        let mut numbers = version
            .split('.')
            .map(|part| part.parse::<u32>().unwrap_or(0));
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if version >= PINNING_VERSION {
            return Ok(());
        }
        let (major, minor) = PINNING_VERSION;
        Err(RepositoryError::Git(format!(
            "gems from repositories need git {major}.{minor} or newer"
        )))
    }

    /// Fetches, and returns git's error output if that fails.
    fn fetch(&self, arguments: &[&str]) -> Result<(), String> {
        let output = run(self.command(arguments), FETCH_TIMEOUT)?;
        drop(output);
        Ok(())
    }

    /// Runs a command and returns its output.
    fn run(&self, arguments: &[&str]) -> Result<Vec<u8>, RepositoryError> {
        run(self.command(arguments), READ_TIMEOUT).map_err(RepositoryError::Git)
    }

    /// Returns the bytes of objects, in their order.
    fn contents<'a>(
        &self,
        objects: impl Iterator<Item = &'a str>,
        budget: &mut FetchBudget,
    ) -> Result<Vec<Vec<u8>>, RepositoryError> {
        let git = |error: std::io::Error| RepositoryError::Git(error.to_string());
        let names: Vec<&str> = objects.collect();
        let mut command = self.command(&["cat-file", "--batch"]);
        command.stdin(Stdio::piped()).stderr(Stdio::null());
        let mut process = GroupGuard(command.spawn().map_err(git)?);
        let no_pipe = || RepositoryError::Git("no pipe".to_owned());
        let mut input = process.0.stdin.take().ok_or_else(no_pipe)?;
        let output = process.0.stdout.take().ok_or_else(no_pipe)?;
        let mut output = BufReader::new(output);
        let mut contents = Vec::new();
        for name in names {
            // Git answers each name before it reads the next, so neither side waits for the other.
            writeln!(input, "{name}")
                .and_then(|()| input.flush())
                .map_err(git)?;
            let mut head = String::new();
            output.read_line(&mut head).map_err(git)?;
            let length = head
                .trim_end()
                .rsplit(' ')
                .next()
                .and_then(|length| length.parse().ok());
            let length: u64 =
                length.ok_or_else(|| RepositoryError::Git("an object is missing".to_owned()))?;
            budget.bytes = budget
                .bytes
                .checked_sub(length)
                .ok_or_else(|| RepositoryError::TooLarge(name.to_owned()))?;
            let mut bytes = Vec::new();
            (&mut output)
                .take(length)
                .read_to_end(&mut bytes)
                .map_err(git)?;
            let mut newline = [0];
            output.read_exact(&mut newline).map_err(git)?;
            contents.push(bytes);
        }
        Ok(contents)
    }

    /// Returns the URLs of the submodules by their paths.
    fn submodule_urls(&self, revision: &str) -> Result<HashMap<String, String>, RepositoryError> {
        let blob = format!("--blob={revision}:.gitmodules");
        let list = self.run(&["config", &blob, "-z", "--list"])?;
        let list = String::from_utf8_lossy(&list).into_owned();
        let mut paths = HashMap::new();
        let mut urls = HashMap::new();
        for entry in list.split('\0') {
            let Some((key, value)) = entry.split_once('\n') else {
                continue;
            };
            let Some((name, setting)) = key
                .strip_prefix("submodule.")
                .and_then(|key| key.rsplit_once('.'))
            else {
                continue;
            };
            match setting {
                "path" => drop(paths.insert(name.to_owned(), value.to_owned())),
                "url" => drop(urls.insert(name.to_owned(), value.to_owned())),
                _ => {}
            }
        }
        let by_path = paths
            .into_iter()
            .filter_map(|(name, path)| Some((path, urls.remove(&name)?)));
        Ok(by_path.collect())
    }
}

/// Kills the process group of a command when it is dropped.
struct GroupGuard(Child);

impl Drop for GroupGuard {
    fn drop(&mut self) {
        let group = self.0.id().cast_signed();
        if let Some(group) = rustix::process::Pid::from_raw(group) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.0.wait();
    }
}

/// Runs a command to its end, and returns its output, or the start of its error output if it fails.
fn run(mut command: Command, timeout: Duration) -> Result<Vec<u8>, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut process = GroupGuard(command.spawn().map_err(text)?);
    let output = reader(process.0.stdout.take(), MAX_LIST_BYTES);
    let errors = reader(process.0.stderr.take(), MAX_ERROR_BYTES);
    let deadline = Instant::now() + timeout;
    let status = loop {
        match process.0.try_wait().map_err(text)? {
            Some(status) => break status,
            None if Instant::now() > deadline => {
                return Err(format!("it took longer than {} s", timeout.as_secs()));
            }
            None => std::thread::sleep(POLL),
        }
    };
    let output = output.join().unwrap_or_default();
    if status.success() {
        return Ok(output);
    }
    let errors = errors.join().unwrap_or_default();
    let errors = String::from_utf8_lossy(&errors);
    let last = errors.lines().map(str::trim).rfind(|line| !line.is_empty());
    Err(last.map_or_else(
        || format!("git ended with {status}"),
        |line| without_credentials(line.trim_start_matches("fatal: ")),
    ))
}

/// Reads the start of a pipe in a thread, and the rest of it without keeping it.
fn reader(
    pipe: Option<impl Read + Send + 'static>,
    limit: u64,
) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = (&mut pipe).take(limit).read_to_end(&mut bytes);
            let _ = std::io::copy(&mut pipe, &mut std::io::sink());
        }
        bytes
    })
}

/// Resolves the URL of a submodule, which may be relative to its repository's.
fn joined(remote: &str, url: &str) -> String {
    if !url.starts_with("./") && !url.starts_with("../") {
        return url.to_owned();
    }
    let mut base = remote.trim_end_matches('/');
    let mut rest = url;
    loop {
        if let Some(after) = rest.strip_prefix("../") {
            base = base.rsplit_once('/').map_or(base, |(before, _)| before);
            rest = after;
        } else if let Some(after) = rest.strip_prefix("./") {
            rest = after;
        } else {
            return format!("{base}/{rest}");
        }
    }
}

/// Returns the name of the directory that Bundler expects the repository in.
pub(super) fn directory_name(repository: &LockedRepository) -> String {
    let remote = repository.remote.trim_end_matches('/');
    let base = remote.rsplit(['/', ':']).next().unwrap_or(remote);
    let base = base.strip_suffix(".git").unwrap_or(base);
    let revision = &repository.revision;
    let short = &revision[..revision.len().min(12)];
    format!("{base}-{short}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_url_of_a_submodule_is_resolved() {
        let remote = "https://example.com/a/b.git";
        assert_eq!(joined(remote, "../c.git"), "https://example.com/a/c.git");
        assert_eq!(joined(remote, "../../c/d"), "https://example.com/c/d");
        assert_eq!(joined(remote, "./c"), "https://example.com/a/b.git/c");
        assert_eq!(joined(remote, "https://x/y"), "https://x/y");
    }

    #[test]
    fn directory_is_named_as_by_bundler() {
        for (remote, name) in [
            ("https://example.com/a/shop.git", "shop-0123456789ab"),
            ("https://example.com/shop/", "shop-0123456789ab"),
        ] {
            let repository = LockedRepository {
                remote: remote.to_owned(),
                revision: "0123456789abcdef".to_owned(),
                submodules: false,
            };
            assert_eq!(directory_name(&repository), name);
        }
    }
}
