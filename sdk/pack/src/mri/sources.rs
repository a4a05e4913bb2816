//! Sources of the build, with their digests: archives of Debian's pool, and a compiler from the Python index.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::command::{self, CommandOutcome};
use super::error::MriError;

/// Environment variable with the URL of a mirror of Debian's archive [default: the mirror that apt uses].
const MIRROR: &str = "CORUNDUM_DEBIAN_MIRROR";
/// Python package of the compiler, which contains LLVM and wasi-libc.
const ZIG: &str = "ziglang==0.17.1";
/// Time limit for downloading one archive.
const TIMEOUT: Duration = Duration::from_secs(600);

/// A source archive in Debian's pool.
struct SourceArchive {
    /// Path in Debian's pool.
    path: &'static str,
    sha256: &'static str,
}

impl SourceArchive {
    /// Returns the file's name.
    fn name(&self) -> &'static str {
        self.path.rsplit('/').next().unwrap_or(self.path)
    }

    fn hash(&self, hasher: &mut blake3::Hasher) {
        hasher
            .update(self.path.as_bytes())
            .update(self.sha256.as_bytes());
    }
}

/// A series of MRI that this program can build.
pub struct MriRelease {
    /// The series, e.g. `3.4`.
    pub series: &'static str,
    /// The source, including MRI's tests.
    archive: SourceArchive,
}

/// All series that this program can build.
const RELEASES: [MriRelease; 2] = [
    MriRelease {
        series: "3.3",
        archive: SourceArchive {
            path: "r/ruby3.3/ruby3.3_3.3.8.orig.tar.xz",
            sha256: "e2e1233ad275b7623a05edf23a01192626d1da454bdfe353a28a87acd8ef015c",
        },
    },
    MriRelease {
        series: "3.4",
        archive: SourceArchive {
            path: "r/ruby3.4/ruby3.4_3.4.5.orig.tar.xz",
            sha256: "141fb3b0192b8196361b3b4d6c29fc9b10c0798dbe54ada1539d9f1c311bfcbf",
        },
    },
];

/// Returns the release of a series, if this program can build it.
pub fn release(series: &str) -> Option<&'static MriRelease> {
    RELEASES.iter().find(|release| release.series == series)
}

impl MriRelease {
    /// Returns the file name of the source.
    pub(super) fn file_name(&self) -> &'static str {
        self.archive.name()
    }
}

/// Sources of the libraries, which all series share.
const LIBRARIES: [SourceArchive; 4] = [
    SourceArchive {
        path: "c/ca-certificates/ca-certificates_20250419_all.deb",
        sha256: "ef590f89563aa4b46c8260d49d1cea0fc1b181d19e8df3782694706adf05c184",
    },
    SourceArchive {
        path: "o/openssl/openssl_3.5.5.orig.tar.gz",
        sha256: "b28c91532a8b65a1f983b4c28b7488174e4a01008e29ce8e69bd789f28bc2a89",
    },
    SourceArchive {
        path: "z/zlib/zlib_1.3.dfsg+really1.3.1.orig.tar.gz",
        sha256: "60dd315c07f616887caa029408308a018ace66e3d142726a97db164b3b8f69fb",
    },
    SourceArchive {
        path: "liby/libyaml/libyaml_0.2.5.orig.tar.gz",
        sha256: "fa240dbf262be053f3898006d502d514936c818e422afdcf33921c63bed9bf2e",
    },
];

/// Sources of the gems that are linked into MRI and that MRI's source lacks.
const GEMS: [SourceArchive; 2] = [
    SourceArchive {
        path: "r/ruby-bcrypt/ruby-bcrypt_3.1.20.orig.tar.gz",
        sha256: "e843496c838ea186f3b1568e67d65e1aa6848f42fcb2d21571f9969ed521755e",
    },
    SourceArchive {
        path: "r/ruby-commonmarker/ruby-commonmarker_0.23.10.orig.tar.gz",
        sha256: "3c3d6cfcf2b323467d747d2e383e6155a99f0d520a51aab4e92dc9076ac3190d",
    },
];

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

/// Adds the compiler and the sources of the libraries to a digest.
pub(super) fn hash_libraries(hasher: &mut blake3::Hasher) {
    hasher.update(ZIG.as_bytes());
    LIBRARIES.iter().for_each(|source| source.hash(hasher));
}

/// Adds the sources of MRI and its gems to a digest.
pub(super) fn hash_release(release: &MriRelease, hasher: &mut blake3::Hasher) {
    release.archive.hash(hasher);
    GEMS.iter().for_each(|source| source.hash(hasher));
}

/// Returns MRI's source and the compiler, on which the counts of a profile depend.
pub(super) fn profile_origin(release: &MriRelease) -> String {
    format!("{} with {ZIG}", release.file_name())
}

/// Number of files to download.
pub(super) const COUNT: usize = 1 + LIBRARIES.len() + GEMS.len() + 1;

/// Downloads the sources that are missing in `directory`, and returns the file name of the compiler's package.
///
/// Calls `progress` with each file's name before its download.
pub(super) fn fetch(
    directory: &Path,
    release: &MriRelease,
    mut progress: impl FnMut(&str),
) -> Result<String, MriError> {
    let mut mirror = None;
    for source in [&release.archive]
        .into_iter()
        .chain(&LIBRARIES)
        .chain(&GEMS)
    {
        progress(source.name());
        fetch_archive(directory, source, &mut mirror)?;
    }
    progress(ZIG);
    compiler(directory)
}

/// Downloads MRI's source alone, and returns its path.
pub(super) fn fetch_mri(directory: &Path, release: &MriRelease) -> Result<PathBuf, MriError> {
    fetch_archive(directory, &release.archive, &mut None)?;
    Ok(directory.join(release.file_name()))
}

/// Downloads an archive unless it is there; determines `mirror` when it is first needed.
fn fetch_archive(
    directory: &Path,
    source: &SourceArchive,
    mirror: &mut Option<String>,
) -> Result<(), MriError> {
    let name = source.name();
    let path = directory.join(name);
    if has(&path, source.sha256) {
        return Ok(());
    }
    fs::create_dir_all(directory).map_err(|source| MriError::io(directory, source))?;
    let mirror = match mirror {
        Some(mirror) => mirror,
        None => mirror.insert(find_mirror()?),
    };
    let part = directory.join(format!(".part-{name}"));
    let url = format!("{mirror}/pool/main/{}", source.path);
    let mut apt = Command::new("/usr/lib/apt/apt-helper");
    // apt's sandbox user, _apt, may lack permission to write to this directory.
    apt.args(["-o", "APT::Sandbox::User=root", "download-file", &url])
        .arg(&part)
        .arg(format!("SHA256:{}", source.sha256));
    let fetched = command::run(apt, TIMEOUT)?;
    keep(name, fetched, &part, &path, source.sha256)
}

/// Returns the URL of the configured mirror, or of the one that this machine's apt uses.
fn find_mirror() -> Result<String, MriError> {
    if let Some(mirror) = std::env::var_os(MIRROR).and_then(|mirror| mirror.into_string().ok()) {
        return Ok(mirror.trim_end_matches('/').to_owned());
    }
    let mut apt = Command::new("apt-get");
    apt.args(["indextargets", "--format", "$(REPO_URI)"]).args([
        "Origin: Debian",
        "Label: Debian",
        "Created-By: Packages",
    ]);
    let outcome = command::run(apt, TIMEOUT)?;
    let mirror = outcome.output.lines().next().unwrap_or_default();
    if !outcome.success || mirror.is_empty() {
        return Err(MriError::NoMirror);
    }
    Ok(mirror.trim_end_matches('/').to_owned())
}

/// Downloads the compiler's package unless it is there, and returns its file name.
fn compiler(directory: &Path) -> Result<String, MriError> {
    let machine = std::env::consts::ARCH;
    let known = COMPILERS.iter().find(|(name, _)| *name == machine);
    let (_, sha256) = known.ok_or(MriError::Machine(machine))?;
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
    let fetched = command::run(pip, TIMEOUT)?;
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
    wheel().ok_or(MriError::Digest(name))
}

/// Renames a downloaded file to its final name if its digest is right, and deletes it otherwise.
fn keep(
    name: &str,
    fetched: CommandOutcome,
    part: &PathBuf,
    path: &Path,
    sha256: &str,
) -> Result<(), MriError> {
    if !fetched.success {
        return Err(if fetched.output.contains("Hash Sum mismatch") {
            MriError::Digest(name.to_owned())
        } else {
            failed(name, &fetched)
        });
    }
    if !has(part, sha256) {
        let _ = fs::remove_file(part);
        return Err(MriError::Digest(name.to_owned()));
    }
    fs::rename(part, path).map_err(|source| MriError::io(path, source))
}

fn failed(name: &str, outcome: &CommandOutcome) -> MriError {
    let lines: Vec<&str> = outcome.output.lines().collect();
    let last = lines[lines.len().saturating_sub(4)..].join("\n");
    MriError::Fetch {
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
        let kept = keep("x.tar", fetched, &part, &path, LIBRARIES[0].sha256);
        assert!(matches!(kept, Err(MriError::Digest(name)) if name == "x.tar"));
        assert!(!part.exists() && !path.exists());
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        fs::write(&path, "").unwrap();
        assert!(has(&path, empty));
    }
}
