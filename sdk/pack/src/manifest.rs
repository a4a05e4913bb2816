//! Manifest of a pack, and the directory that holds the pack's files.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::cache_usage;
use crate::language::LanguageProfile;
use crate::ruby;

/// File name of the manifest.
pub(super) const MANIFEST: &str = "pack.json";

/// Description of a pack, stored as JSON in its directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the dyno ABI that the pack implements.
    pub abi: u32,
    /// The language, e.g. `ruby`.
    pub language: String,
    /// The language's full version, e.g. `3.4.1`.
    pub version: String,
    /// The series that apps choose, e.g. `3.4`.
    pub series: String,
    /// Origin of the language's runtime, e.g. `source`.
    pub origin: String,
    /// Digest of all inputs; packs with different digests are different packs.
    pub digest: String,
    /// The modules in linking order; the last one exports the dyno ABI.
    pub modules: Vec<Member>,
    /// The functions and variables that native extensions may use. A pack without them loads no extensions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbols: Option<Member>,
    /// The initial memory of the modules.
    pub image: Member,
    /// The root filesystem.
    pub root: Member,
    /// Libraries in the pack, by name with their versions: the language's default and bundled ones.
    pub gems: BTreeMap<String, String>,
    /// Libraries whose native extension the pack includes.
    pub extensions: Vec<String>,
    /// The profile of the language. Packs of Ruby have none: this program brings it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<LanguageProfile>,
    /// The probe app of the conformance kit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Member>,
}

impl Manifest {
    /// Returns all files of the pack.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        let others = [&self.image, &self.root].into_iter().chain(&self.symbols);
        self.modules.iter().chain(others).chain(&self.probe)
    }

    /// Returns the profile of the pack's language.
    pub fn profile(&self) -> &LanguageProfile {
        match &self.profile {
            Some(profile) => profile,
            None if self.language == ruby::LANGUAGE => ruby::profile(),
            None => LanguageProfile::unnamed(),
        }
    }

    /// Returns whether the native extension of a gem is linked into the pack.
    pub fn links(&self, gem: &str) -> bool {
        self.extensions.iter().any(|known| known == gem)
    }
}

/// A file of a pack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Name under which other modules import it.
    pub name: String,
    /// File name in the pack's directory.
    pub file: String,
    /// BLAKE3 digest of the bytes.
    pub blake3: String,
    /// Indices of a module's functions that poll for the end of their time slice themselves.
    ///
    /// See [`crate::preemption`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub polling: Vec<u32>,
}

impl Member {
    /// Describes a file with these bytes.
    pub fn of(name: &str, file: &str, bytes: &[u8]) -> Self {
        let blake3 = blake3::hash(bytes).to_hex().to_string();
        Self {
            name: name.to_owned(),
            file: file.to_owned(),
            blake3,
            polling: Vec::new(),
        }
    }
}

/// Failure to open a pack or to read one of its files.
#[derive(Debug, thiserror::Error)]
pub enum PackDirError {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Cause of the failure.
        source: io::Error,
    },
    /// The manifest is invalid.
    #[error("{}: invalid pack manifest: {reason}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// Reason for rejecting it.
        reason: String,
    },
    /// The pack implements another version of the dyno ABI.
    #[error(
        "{}: the pack implements version {found} of the dyno ABI, this program requires {}: prepare the pack again",
        path.display(),
        corundum_abi::VERSION
    )]
    Abi {
        /// The pack's directory.
        path: PathBuf,
        /// The pack's version of the ABI.
        found: u32,
    },
    /// A file's bytes do not match the manifest's digest.
    #[error("{}: the file is damaged: prepare or import the pack again", .0.display())]
    Damaged(PathBuf),
}

/// The directory of a prepared pack.
#[derive(Debug, Clone)]
pub struct PackDir {
    path: PathBuf,
    manifest: Manifest,
    #[expect(
        dead_code,
        reason = "the lock keeps the directory while the pack is used"
    )]
    lock: Option<Arc<File>>,
}

impl PackDir {
    /// Opens the pack at `path`; the digests of its files are checked only when they are read.
    ///
    /// # Errors
    ///
    /// Returns [`PackDirError`] if the manifest cannot be read, is invalid, or has another version of the ABI.
    pub fn open(path: &Path) -> Result<Self, PackDirError> {
        let file = path.join(MANIFEST);
        let lock = cache_usage::lock_used(path);
        let text = fs::read(&file).map_err(|source| PackDirError::Io {
            path: file.clone(),
            source,
        })?;
        let bad = |reason: String| PackDirError::Manifest {
            path: file.clone(),
            reason,
        };
        let manifest: Manifest =
            serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
        if manifest.abi != corundum_abi::VERSION {
            return Err(PackDirError::Abi {
                path: path.to_owned(),
                found: manifest.abi,
            });
        }
        for member in manifest.members() {
            let plain = |text: &str| {
                !text.is_empty()
                    && text
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
            };
            if !plain(&member.file) || !plain(&member.name) || member.file.starts_with('.') {
                return Err(bad(format!("\"{}\" is not a valid file name", member.file)));
            }
        }
        if manifest.modules.is_empty() {
            return Err(bad("modules are missing".to_owned()));
        }
        cache_usage::mark_used(path);
        Ok(Self {
            path: path.to_owned(),
            manifest,
            lock,
        })
    }

    /// Writes the manifest into a directory, after all other files are there.
    pub(super) fn write(path: &Path, manifest: &Manifest) -> io::Result<()> {
        fs::write(path.join(MANIFEST), serde_json::to_vec_pretty(manifest)?)
    }

    /// Returns the pack's directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the pack's manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Reads a file and checks its digest.
    ///
    /// # Errors
    ///
    /// Returns [`PackDirError::Io`] if the file cannot be read, [`PackDirError::Damaged`] if its digest is wrong.
    pub fn read(&self, member: &Member) -> Result<Vec<u8>, PackDirError> {
        let path = self.path.join(&member.file);
        let bytes = fs::read(&path).map_err(|source| PackDirError::Io {
            path: path.clone(),
            source,
        })?;
        if blake3::hash(&bytes).to_hex().as_str() != member.blake3 {
            return Err(PackDirError::Damaged(path));
        }
        Ok(bytes)
    }
}
