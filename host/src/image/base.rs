//! The memory of a pack's sample app, on which the patches of images are based: nearly all of it is that of any app.
//!
//! The file belongs to the pack and to no engine, so that patches stay valid when the engine is another one. It has the form `magic, length of the header, header (JSON), pages, BLAKE3 of all before`. Its last part is
//! the name by which patches refer to it.

use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;

use corundum_pack::image::PAGE;
use memmap2::Mmap;
use serde::{Deserialize, Serialize};

use super::pages::{MemoryShape, Page, PageRun, count, nonzero_pages, pages_of, runs_of};
use super::{ImageError, ImageSnapshot};
use crate::compiled::{self, digest_of};
use crate::native;

const MAGIC: &[u8; 8] = b"CORBASE1";
/// Bytes of a digest.
const DIGEST: usize = 32;
/// Bytes of the largest header.
const MAX_HEADER: usize = 16 << 20;

/// The memory of a pack's sample app.
pub(crate) struct BaseMemory {
    /// `None` if there is no such memory; patches then hold all pages.
    map: Option<Mmap>,
    header: BaseHeader,
    pages: Range<usize>,
    digest: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct BaseHeader {
    shape: MemoryShape,
    runs: Vec<PageRun>,
}

impl BaseMemory {
    /// Returns a memory without pages.
    pub(crate) fn empty() -> Self {
        let shape = MemoryShape::default();
        Self {
            map: None,
            header: BaseHeader {
                shape,
                runs: Vec::new(),
            },
            pages: 0..0,
            digest: String::new(),
        }
    }

    /// Opens the memory at `path` and checks it.
    ///
    /// # Errors
    ///
    /// Returns [`ImageError::Stale`] if the file is missing or damaged.
    pub(crate) fn open(path: &Path) -> Result<Self, ImageError> {
        let stale = |reason: &str| ImageError::Stale {
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        let map = native::map(path).map_err(|error| stale(&error.to_string()))?;
        let damaged = || stale("it is damaged");
        let end = map.len().checked_sub(DIGEST).ok_or_else(damaged)?;
        let (content, written) = map.split_at(end);
        let digest = digest_of(content);
        let hash = blake3::Hash::from_slice(written).map_err(|_| damaged())?;
        if hash.to_hex().as_str() != digest {
            return Err(damaged());
        }
        let rest = content.strip_prefix(MAGIC).ok_or_else(damaged)?;
        let (length, rest) = rest.split_first_chunk().ok_or_else(damaged)?;
        let length = u32::from_le_bytes(*length) as usize;
        let header = rest.get(..length.min(MAX_HEADER)).ok_or_else(damaged)?;
        let header: BaseHeader = serde_json::from_slice(header).map_err(|_| damaged())?;
        let start = MAGIC.len() + 4 + length;
        let expected = count(&header.runs).saturating_mul(PAGE as u64);
        if !header.shape.holds(&header.runs) || (end - start) as u64 != expected {
            return Err(damaged());
        }
        Ok(Self {
            map: Some(map),
            header,
            pages: start..end,
            digest,
        })
    }

    /// Writes the memory of a booted app to `path`, unless another process has written one meanwhile.
    ///
    /// # Errors
    ///
    /// Returns [`ImageError::Write`] if the snapshot cannot be an image or the disk fails.
    pub(crate) fn write(path: &Path, snapshot: &ImageSnapshot<'_>) -> Result<(), ImageError> {
        let failed = |reason: String| ImageError::Write {
            path: path.to_owned(),
            reason,
        };
        let pages = nonzero_pages(snapshot.memory);
        let header = BaseHeader {
            shape: snapshot.shape().map_err(failed)?,
            runs: runs_of(pages.iter().map(|(page, _)| *page)),
        };
        let header = serde_json::to_vec(&header).map_err(|error| failed(error.to_string()))?;
        let write = |file: &mut File| {
            let mut hashing = HashingWriter::new(file);
            hashing.write_all(MAGIC)?;
            hashing.write_all(&(header.len() as u32).to_le_bytes())?;
            hashing.write_all(&header)?;
            for (_, bytes) in pages {
                hashing.write_all(bytes)?;
            }
            hashing.finish()
        };
        match compiled::create(path, write) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other.map_err(|error| failed(error.to_string())),
        }
    }

    /// Returns the digest of the memory, by which patches refer to it.
    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }

    /// Returns the bytes of all pages, one page after the other.
    pub(super) fn bytes(&self) -> &[u8] {
        let map = self.map.as_deref().unwrap_or_default();
        map.get(self.pages.clone()).unwrap_or_default()
    }

    /// Returns the pages of the memory.
    pub(super) fn pages(&self) -> Vec<Page<'_>> {
        pages_of(&self.header.runs, self.bytes())
    }
}

/// A writer that hashes what it writes.
pub(super) struct HashingWriter<'a> {
    file: &'a mut File,
    hasher: blake3::Hasher,
}

impl<'a> HashingWriter<'a> {
    pub(super) fn new(file: &'a mut File) -> Self {
        Self {
            file,
            hasher: blake3::Hasher::new(),
        }
    }

    /// Writes the digest of everything that was written.
    pub(super) fn finish(self) -> io::Result<()> {
        self.file.write_all(self.hasher.finalize().as_bytes())
    }
}

impl Write for HashingWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.file.write_all(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_memory_is_rejected_and_an_existing_one_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("base.pages");
        let mut memory = vec![0; 2 << 16];
        memory[5 * PAGE] = 1;
        memory[9 * PAGE + 7] = 2;
        let snapshot = |memory| ImageSnapshot {
            memory,
            globals: vec![("m.g0".to_owned(), wasmtime::Val::I32(-5))],
        };
        BaseMemory::write(&path, &snapshot(&memory)).unwrap();
        let base = BaseMemory::open(&path).unwrap();
        assert_eq!(base.pages().len(), 2);
        assert_eq!(base.pages()[1], (9, &memory[9 * PAGE..10 * PAGE]));
        BaseMemory::write(&path, &snapshot(&[])).unwrap();
        assert_eq!(BaseMemory::open(&path).unwrap().digest(), base.digest());
        let whole = std::fs::read(&path).unwrap();
        for at in [0, 9, 14, whole.len() / 2, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[at] ^= 4;
            std::fs::write(&path, damaged).unwrap();
            assert!(BaseMemory::open(&path).is_err(), "byte {at}");
        }
        for length in [0, 31, 40, whole.len() - 1] {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(BaseMemory::open(&path).is_err(), "{length} bytes");
        }
    }
}
