//! Download of npm packages by the `npm` client, with a check against a pinned digest.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use sha2::{Digest, Sha512};

/// Time limit for a download, which normally takes seconds.
const TIMEOUT: Duration = Duration::from_secs(300);
/// Maximum size of a file in a package in bytes, several times that of the largest one.
const MAX_FILE: u64 = 256 << 20;

/// Failure to obtain an npm package.
#[derive(Debug, thiserror::Error)]
pub enum NpmError {
    /// The `npm` client is missing.
    #[error("npm not found: install it to download Ruby packages (on Debian: apt-get install npm)")]
    Missing,
    /// The download fails or times out.
    #[error("npm: cannot download {package}: {reason}")]
    Fetch {
        /// Name and version.
        package: String,
        /// Exit status of npm and its error output.
        reason: String,
    },
    /// The package's digest differs from the pinned one.
    #[error(
        "{package}: digest mismatch: the package was not used; check the registry and any proxy in between"
    )]
    Integrity {
        /// Name and version.
        package: String,
    },
    /// The package lacks a file.
    #[error("{package}: file {file} not found")]
    File {
        /// Name and version.
        package: String,
        /// Path of the file.
        file: String,
    },
    /// The disk fails, or the archive is damaged.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// An npm package, with the SHA-512 of its archive in base64 as in the registry's `integrity` field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NpmPackage {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    pub(super) sha512: &'static str,
}

impl NpmPackage {
    fn label(self) -> String {
        format!("{}@{}", self.name, self.version)
    }

    /// Downloads the package, and returns the contents of `files` in the same order.
    pub(super) fn fetch(self, work: &Path, files: &[&str]) -> Result<Vec<Vec<u8>>, NpmError> {
        let package = self.label();
        self.download(work)?;
        let archive = std::fs::read_dir(work)?
            .filter_map(Result::ok)
            .map(|entry| entry.path());
        let archive = archive
            .into_iter()
            .find(|path| path.extension().is_some_and(|e| e == "tgz"));
        let archive = archive.ok_or_else(|| NpmError::Fetch {
            package: package.clone(),
            reason: "npm wrote no archive".to_owned(),
        })?;
        let bytes = std::fs::read(&archive)?;
        if BASE64_STANDARD.encode(Sha512::digest(&bytes)) != self.sha512 {
            return Err(NpmError::Integrity { package });
        }
        let mut found: Vec<Option<Vec<u8>>> = vec![None; files.len()];
        let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(bytes.as_slice()));
        for entry in tar.entries()? {
            let entry = entry?;
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            if let Some(index) = files
                .iter()
                .position(|file| path == format!("package/{file}"))
            {
                let mut content = Vec::new();
                entry.take(MAX_FILE).read_to_end(&mut content)?;
                found[index] = Some(content);
            }
        }
        let file = |(content, file): (Option<Vec<u8>>, &&str)| {
            let missing = || NpmError::File {
                package: self.label(),
                file: (*file).to_owned(),
            };
            content.ok_or_else(missing)
        };
        found.into_iter().zip(files).map(file).collect()
    }

    fn download(self, work: &Path) -> Result<(), NpmError> {
        let package = self.label();
        let failed = |reason: String| NpmError::Fetch {
            package: package.clone(),
            reason,
        };
        let log = std::fs::File::create(work.join("npm.log"))?;
        let child = Command::new("npm")
            .args(["pack", "--silent", "--ignore-scripts", &package])
            .current_dir(work)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(NpmError::Missing);
            }
            Err(error) => return Err(failed(error.to_string())),
        };
        let started = Instant::now();
        loop {
            match child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    let log = std::fs::read_to_string(work.join("npm.log")).unwrap_or_default();
                    let lines: Vec<&str> =
                        log.lines().filter(|line| line.contains("error")).collect();
                    return Err(failed(format!("{status}: {}", lines.join("; "))));
                }
                None if started.elapsed() > TIMEOUT => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(failed("timed out".to_owned()));
                }
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}
