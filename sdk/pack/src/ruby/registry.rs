//! Files of npm packages, fetched by the `npm` client and checked against a pinned digest.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use sha2::{Digest, Sha512};

/// A package takes seconds; a registry that does not answer within this time is given up.
const TIMEOUT: Duration = Duration::from_secs(300);
/// Bytes of one file taken out of a package: several times the largest.
const MAX_FILE: u64 = 256 << 20;

/// A package that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum NpmError {
    /// There is no `npm`.
    #[error("npm is not installed: it fetches the Ruby packages (on Debian: apt-get install npm)")]
    Missing,
    /// It failed, or took too long.
    #[error("npm could not fetch {package}: {reason}")]
    Fetch {
        /// Name and version.
        package: String,
        /// What npm said.
        reason: String,
    },
    /// What came is not what this program was made for.
    #[error("{package} has another digest than this program expects: it was not used")]
    Integrity {
        /// Name and version.
        package: String,
    },
    /// The package lacks a file.
    #[error("{package} does not hold {file}")]
    File {
        /// Name and version.
        package: String,
        /// The file.
        file: String,
    },
    /// The disk, or a damaged archive.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// A package with the SHA-512 of its archive, as the registry's `integrity` gives it in base64.
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

    /// Fetches the package and returns the bytes of `files`, in their order.
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
            reason: "it left no archive".to_owned(),
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
                    return Err(failed("the registry did not answer in time".to_owned()));
                }
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}
