//! Download of sources with pinned digests: archives of Debian's pool, and a compiler from the Python index.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::language::source::PinnedSource;
use crate::process::{self, CommandOutcome, ProgramError};

/// Environment variable with the URL of a mirror of Debian's archive [default: the mirror that apt uses].
const MIRROR: &str = "CORUNDUM_DEBIAN_MIRROR";
/// Python package of the compiler, which contains LLVM and wasi-libc.
pub(crate) const ZIG: &str = "ziglang==0.17.1";
/// Time limit for downloading one archive.
const TIMEOUT: Duration = Duration::from_secs(600);

/// Failure to download a source.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The compiler does not exist for this machine's processor.
    #[error(
        "no compiler for {0} processors: build on another machine, and transfer the pack with `corundum pack export` and `corundum pack import`"
    )]
    Machine(&'static str),
    /// The URL of Debian's archive is unknown.
    #[error(
        "no mirror of Debian found in apt's configuration: run `apt-get update`, or set CORUNDUM_DEBIAN_MIRROR to a mirror's URL"
    )]
    NoMirror,
    /// A program cannot be run.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The client of the archive or of the index fails.
    #[error(
        "cannot download {name}:\n{reason}\nFinished downloads are kept: try again when the registry responds"
    )]
    Fetch {
        /// The file or package.
        name: String,
        /// Last lines of the client's output.
        reason: String,
    },
    /// A source's digest differs from the one in the recipe.
    #[error(
        "{0}: digest mismatch: the file differs from the one that the recipe was written for, and was discarded. Check the mirror, the index and any proxy in between"
    )]
    Digest(String),
    /// The disk fails.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Cause of the failure.
        source: io::Error,
    },
}

impl DownloadError {
    fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}

/// A source archive in Debian's pool.
pub(crate) struct SourceArchive {
    /// Path in Debian's pool.
    pub(crate) path: &'static str,
    pub(crate) sha256: &'static str,
}

impl SourceArchive {
    /// Returns the file's name.
    pub(crate) fn name(&self) -> &'static str {
        self.path.rsplit('/').next().unwrap_or(self.path)
    }

    /// Adds the archive to a digest.
    pub(crate) fn hash(&self, hasher: &mut blake3::Hasher) {
        hasher
            .update(self.path.as_bytes())
            .update(self.sha256.as_bytes());
    }
}

/// SHA-256 digests of the compiler's package, by processor. The compiler's output does not depend on the processor.
const COMPILERS: [(&str, &str); 2] = [
    (
        "x86_64",
        "ea6cc5d87b033cf0aedfbc8f9549a908cae6c50ac31f1698188fa48a74524b54",
    ),
    (
        "aarch64",
        "b7c5f02fccd40f89b999ee16a1f5ddced56e6182370f8affe494bcf8a28cf07e",
    ),
];

/// Downloads an archive unless it is there; determines `mirror` when it is first needed.
pub(crate) fn archive(
    directory: &Path,
    source: &SourceArchive,
    mirror: &mut Option<String>,
) -> Result<(), DownloadError> {
    let name = source.name();
    let path = directory.join(name);
    if has(&path, source.sha256) {
        return Ok(());
    }
    let _lock = lock(directory)?;
    if has(&path, source.sha256) {
        return Ok(());
    }
    let mirror = match mirror {
        Some(mirror) => mirror,
        None => mirror.insert(find_mirror()?),
    };
    let part = directory.join(format!(".part-{name}"));
    let url = format!("{mirror}/pool/main/{}", source.path);
    let fetched = process::run(apt_helper(&url, &part, source.sha256), TIMEOUT)?;
    keep(name, fetched, &part, &path, source.sha256)
}

/// Downloads a source of a pack unless it is there, and returns its path; determines `mirror` when it is first needed.
pub(crate) fn pinned(
    directory: &Path,
    source: &PinnedSource,
    mirror: &mut Option<String>,
) -> Result<PathBuf, DownloadError> {
    let name = format!("{}-{}", &source.sha256[..16], source.name);
    let path = directory.join(&name);
    if has(&path, &source.sha256) {
        return Ok(path);
    }
    let _lock = lock(directory)?;
    if has(&path, &source.sha256) {
        return Ok(path);
    }
    let url = match (&source.debian, &source.url) {
        (Some(path), _) => {
            let mirror = match mirror {
                Some(mirror) => mirror,
                None => mirror.insert(find_mirror()?),
            };
            format!("{mirror}/pool/main/{path}")
        }
        (None, url) => url.clone().unwrap_or_default(),
    };
    let part = directory.join(format!(".part-{name}"));
    let fetched = process::run(apt_helper(&url, &part, &source.sha256), TIMEOUT)?;
    keep(&source.name, fetched, &part, &path, &source.sha256)?;
    Ok(path)
}

/// Returns the command that downloads a file with apt's client.
fn apt_helper(url: &str, part: &Path, sha256: &str) -> Command {
    let mut apt = Command::new("/usr/lib/apt/apt-helper");
    // apt's sandbox user, _apt, may lack permission to write to this directory.
    apt.args(["-o", "APT::Sandbox::User=root", "download-file", url])
        .arg(part)
        .arg(format!("SHA256:{sha256}"));
    apt
}

/// Creates the directory, and waits until no other process downloads into it.
fn lock(directory: &Path) -> Result<File, DownloadError> {
    fs::create_dir_all(directory).map_err(|source| DownloadError::io(directory, source))?;
    let path = directory.join(".lock");
    File::create(&path)
        .and_then(|file| file.lock().map(|()| file))
        .map_err(|source| DownloadError::io(&path, source))
}

/// Returns the URL of the configured mirror, or of the one that this machine's apt uses.
fn find_mirror() -> Result<String, DownloadError> {
    if let Some(mirror) = std::env::var_os(MIRROR).and_then(|mirror| mirror.into_string().ok()) {
        return Ok(mirror.trim_end_matches('/').to_owned());
    }
    let mut apt = Command::new("apt-get");
    apt.args(["indextargets", "--format", "$(REPO_URI)"]).args([
        "Origin: Debian",
        "Label: Debian",
        "Created-By: Packages",
    ]);
    let outcome = process::run(apt, TIMEOUT)?;
    let mirror = outcome.output.lines().next().unwrap_or_default();
    if !outcome.success || mirror.is_empty() {
        return Err(DownloadError::NoMirror);
    }
    Ok(mirror.trim_end_matches('/').to_owned())
}

/// Downloads the compiler's package unless it is there, and returns its file name.
pub(crate) fn compiler(directory: &Path) -> Result<String, DownloadError> {
    let machine = std::env::consts::ARCH;
    let known = COMPILERS.iter().find(|(name, _)| *name == machine);
    let (_, sha256) = known.ok_or(DownloadError::Machine(machine))?;
    let wheel = || {
        let names = fs::read_dir(directory).into_iter().flatten().flatten();
        let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names
            .filter(|name| name.starts_with("ziglang-") && name.ends_with(".whl"))
            .find(|name| has(&directory.join(name), sha256))
    };
    if let Some(name) = wheel() {
        return Ok(name);
    }
    let _lock = lock(directory)?;
    if let Some(name) = wheel() {
        return Ok(name);
    }
    let part = directory.join(".part-compiler");
    let _ = fs::remove_dir_all(&part);
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--quiet", "--no-deps"])
        .args([
            "--disable-pip-version-check",
            "--only-binary=:all:",
            "--dest",
        ])
        .arg(&part)
        .arg(ZIG);
    let fetched = process::run(pip, TIMEOUT)?;
    let found = fs::read_dir(&part).into_iter().flatten().flatten().next();
    let Some(found) = found.filter(|_| fetched.success) else {
        return Err(failed(ZIG, &fetched));
    };
    let name = found.file_name().to_string_lossy().into_owned();
    keep(
        &name,
        fetched,
        &found.path(),
        &directory.join(&name),
        sha256,
    )?;
    let _ = fs::remove_dir_all(&part);
    wheel().ok_or(DownloadError::Digest(name))
}

/// Renames a downloaded file to its final name if its digest is right, and deletes it otherwise.
fn keep(
    name: &str,
    fetched: CommandOutcome,
    part: &PathBuf,
    path: &Path,
    sha256: &str,
) -> Result<(), DownloadError> {
    if !fetched.success {
        return Err(if fetched.output.contains("Hash Sum mismatch") {
            DownloadError::Digest(name.to_owned())
        } else {
            failed(name, &fetched)
        });
    }
    if !has(part, sha256) {
        let _ = fs::remove_file(part);
        return Err(DownloadError::Digest(name.to_owned()));
    }
    fs::rename(part, path).map_err(|source| DownloadError::io(path, source))
}

fn failed(name: &str, outcome: &CommandOutcome) -> DownloadError {
    let lines: Vec<&str> = outcome.output.lines().collect();
    let last = lines[lines.len().saturating_sub(4)..].join("\n");
    DownloadError::Fetch {
        name: name.to_owned(),
        reason: last.chars().take(1000).collect(),
    }
}

/// Tells whether a file exists and has this digest.
fn has(path: &Path, sha256: &str) -> bool {
    let Ok(mut file) = File::open(path) else {
        return false;
    };
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => hasher.update(&buffer[..read]),
            Err(_) => return false,
        }
    }
    let digest: String = hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    digest == sha256
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn download_with_wrong_digest_is_discarded() {
        let directory = tempfile::tempdir().unwrap();
        let (part, path) = (
            directory.path().join("part"),
            directory.path().join("whole"),
        );
        fs::write(&part, "other").unwrap();
        let fetched = CommandOutcome {
            success: true,
            output: String::new(),
        };
        let kept = keep("x.tar", fetched, &part, &path, "0000");
        assert!(matches!(kept, Err(DownloadError::Digest(name)) if name == "x.tar"));
        assert!(!part.exists() && !path.exists());
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        fs::write(&path, "").unwrap();
        assert!(has(&path, empty));
    }
}
