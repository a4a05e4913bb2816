//! The archive of a backup: a tar file, compressed with zstd, whose last entry lists the digests of all others.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

/// The name of the last entry.
pub(super) const MANIFEST: &str = "manifest.json";
/// The version of the format. The second one has directories; a store of the first has none.
pub(super) const FORMAT: u32 = 2;
/// The oldest version of the format that can be restored.
pub(super) const OLDEST_FORMAT: u32 = 1;
/// Bytes of a manifest, with some hundred for each file.
pub(super) const MAX_MANIFEST: u64 = 1 << 30;

/// The content of an archive.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct BackupManifest {
    /// [`FORMAT`].
    pub(super) format: u32,
    /// The version of corundum that made the backup.
    pub(super) corundum: String,
    /// RFC 3339.
    pub(super) created_at: String,
    /// The files by their paths in the data directory.
    pub(super) files: BTreeMap<String, BackedUpFile>,
}

/// A file of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BackedUpFile {
    /// Its length in bytes.
    pub(super) bytes: u64,
    /// The BLAKE3 of its content in hexadecimal.
    pub(super) blake3: String,
}

/// Counts and hashes the bytes that pass.
pub(super) struct Hashing<T> {
    inner: T,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl<T> Hashing<T> {
    pub(super) fn new(inner: T) -> Self {
        Self {
            inner,
            hasher: blake3::Hasher::new(),
            bytes: 0,
        }
    }

    /// Returns the wrapped value, and what has passed.
    pub(super) fn finish(self) -> (T, BackedUpFile) {
        let file = BackedUpFile {
            bytes: self.bytes,
            blake3: self.hasher.finalize().to_hex().to_string(),
        };
        (self.inner, file)
    }

    fn pass(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
    }
}

impl<T: Read> Read for Hashing<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.pass(&buffer[..count]);
        Ok(count)
    }
}

/// Writes an archive.
pub(super) struct BackupWriter<W: Write> {
    tar: tar::Builder<zstd::Encoder<'static, W>>,
    files: BTreeMap<String, BackedUpFile>,
}

impl<W: Write> BackupWriter<W> {
    pub(super) fn new(output: W) -> io::Result<Self> {
        let mut encoder = zstd::Encoder::new(output, zstd::DEFAULT_COMPRESSION_LEVEL)?;
        encoder.include_checksum(true)?;
        Ok(Self {
            tar: tar::Builder::new(encoder),
            files: BTreeMap::new(),
        })
    }

    /// Adds a file under a path of the data directory.
    pub(super) fn add(&mut self, path: &str, file: File) -> io::Result<()> {
        let bytes = file.metadata()?.len();
        let mut content = Hashing::new(file.take(bytes));
        self.append(path, bytes, &mut content)?;
        let (_, added) = content.finish();
        if added.bytes != bytes {
            return Err(io::Error::other(format!("{path} changes while it is read")));
        }
        self.files.insert(path.to_owned(), added);
        Ok(())
    }

    /// Adds the manifest and returns the output with the number of files and their bytes.
    pub(super) fn finish(mut self) -> io::Result<(W, u64, u64)> {
        let files = std::mem::take(&mut self.files);
        let (count, bytes) = (
            files.len() as u64,
            files.values().map(|file| file.bytes).sum(),
        );
        let manifest = serde_json::to_vec(&BackupManifest {
            format: FORMAT,
            corundum: env!("CARGO_PKG_VERSION").to_owned(),
            created_at: corundum_store::now(),
            files,
        })?;
        self.append(MANIFEST, manifest.len() as u64, &mut manifest.as_slice())?;
        let output = self.tar.into_inner()?.finish()?;
        Ok((output, count, bytes))
    }

    fn append(&mut self, path: &str, bytes: u64, content: &mut impl Read) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes);
        header.set_mode(0o600);
        header.set_entry_type(tar::EntryType::Regular);
        self.tar.append_data(&mut header, path, content)
    }
}

/// Returns the path of an entry as text if it stays within the directory that it is extracted into.
pub(super) fn plain_path(path: &Path) -> Option<&str> {
    let mut components = path.components();
    let plain = components.all(|component| matches!(component, Component::Normal(_)));
    path.to_str().filter(|text| plain && !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_leave_the_directory_are_not_plain() {
        for path in [
            "slugs/a.tar",
            "corundum.sqlite",
            "repos/a.git/objects/ab/cd",
        ] {
            assert_eq!(plain_path(Path::new(path)), Some(path));
        }
        for path in ["", "/etc/passwd", "../x", "slugs/../../x"] {
            assert_eq!(plain_path(Path::new(path)), None, "{path}");
        }
    }
}
