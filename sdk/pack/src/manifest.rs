//! What a pack says of itself, and the directory it lies in.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The manifest's file name.
pub(super) const MANIFEST: &str = "pack.json";

/// What a pack says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The dyno ABI it was made for.
    pub abi: u32,
    /// The language, `ruby`.
    pub language: String,
    /// The language's full version, `3.4.1`.
    pub version: String,
    /// The series that apps choose, `3.4`.
    pub series: String,
    /// Where the language's runtime comes from, `source`.
    pub origin: String,
    /// The digest of everything it is made from: a pack with another one is another pack.
    pub digest: String,
    /// Its modules in linking order; the last exports the dyno ABI.
    pub modules: Vec<Member>,
    /// The first memory of its modules.
    pub image: Member,
    /// Its root filesystem.
    pub root: Member,
    /// Libraries it carries, name to version: the language's default and bundled ones.
    pub gems: BTreeMap<String, String>,
    /// Those of them whose native part it carries.
    pub extensions: Vec<String>,
}

impl Manifest {
    /// All files of the pack.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.modules.iter().chain([&self.image, &self.root])
    }
}

/// A file of a pack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// What other modules import it as.
    pub name: String,
    /// The file's name in the pack's directory.
    pub file: String,
    /// The BLAKE3 digest of its bytes.
    pub blake3: String,
    /// Of a module: the indices of its functions that ask for the end of their time slice by themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub polling: Vec<u32>,
}

impl Member {
    /// Describes a file of these bytes.
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

/// A pack's directory that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PackDirError {
    /// A file of it cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// The manifest is no manifest.
    #[error("{} is not a pack's manifest: {reason}", path.display())]
    Manifest {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It was made for another version of the dyno ABI.
    #[error(
        "the pack at {} speaks version {found} of the dyno ABI, this program {}: prepare it anew",
        path.display(),
        corundum_abi::VERSION
    )]
    Abi {
        /// Which pack.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// A file's bytes are not those that the manifest names.
    #[error("{} is damaged", .0.display())]
    Damaged(PathBuf),
}

/// A prepared pack.
#[derive(Debug, Clone)]
pub struct PackDir {
    path: PathBuf,
    manifest: Manifest,
}

impl PackDir {
    /// Opens the pack at `path`. Its members are checked when they are read.
    ///
    /// # Errors
    ///
    /// [`PackDirError`].
    pub fn open(path: &Path) -> Result<Self, PackDirError> {
        let file = path.join(MANIFEST);
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
                return Err(bad(format!("\"{}\" is no file's name", member.file)));
            }
        }
        if manifest.modules.is_empty() {
            return Err(bad("it names no modules".to_owned()));
        }
        Ok(Self {
            path: path.to_owned(),
            manifest,
        })
    }

    /// Writes the manifest into a directory that holds the members already.
    pub(super) fn write(path: &Path, manifest: &Manifest) -> io::Result<()> {
        fs::write(path.join(MANIFEST), serde_json::to_vec_pretty(manifest)?)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Reads a member and checks it.
    ///
    /// # Errors
    ///
    /// [`PackDirError::Io`] and [`PackDirError::Damaged`].
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
