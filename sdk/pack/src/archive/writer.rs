//! Writer of archives whose bytes depend on the file tree alone.

use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};

use super::{ArchiveError, check_path};
use corundum_abi::names::SlugDigest;

/// Bytes of a link's target that a header holds.
const LINK_FIELD: usize = 100;

/// Writes an archive.
///
/// Callers add entries in ascending byte order of their paths. Parent directories need no entry of their own.
pub struct ArchiveWriter<W: Write> {
    tar: tar::Builder<DigestWriter<W>>,
    last: String,
}

/// A completely written archive.
#[derive(Debug)]
pub struct FinishedArchive<W> {
    /// The writer's output, not yet flushed to disk.
    pub output: W,
    /// The SHA-256 of all bytes.
    pub digest: SlugDigest,
    /// The length in bytes.
    pub length: u64,
}

impl<W: Write> ArchiveWriter<W> {
    /// Starts an archive on `output`, which should be buffered.
    pub fn new(output: W) -> Self {
        Self {
            tar: tar::Builder::new(DigestWriter {
                output,
                hash: Sha256::new(),
                length: 0,
            }),
            last: String::new(),
        }
    }

    /// Adds a file of exactly `length` bytes.
    ///
    /// # Errors
    ///
    /// Returns [`ArchiveError::Path`] or [`ArchiveError::Order`] for an unsuitable path, [`ArchiveError::CutOff`] if
    /// `content` has less than `length` bytes, and [`ArchiveError::Io`] if reading or writing fails.
    pub fn add_file(
        &mut self,
        path: &str,
        content: impl Read,
        length: u64,
        mode: FileMode,
    ) -> Result<(), ArchiveError> {
        self.advance(path)?;
        let mut header = header(tar::EntryType::Regular, length, mode);
        let mut content = ExactReader {
            content,
            left: length,
        };
        self.tar.append_data(&mut header, path, &mut content)?;
        if content.left > 0 {
            return Err(ArchiveError::CutOff(path.to_owned()));
        }
        Ok(())
    }

    /// Adds a directory, which is necessary only for an empty one.
    ///
    /// # Errors
    ///
    /// The same as for [`ArchiveWriter::add_file`].
    pub fn add_dir(&mut self, path: &str) -> Result<(), ArchiveError> {
        self.advance(path)?;
        let mut header = header(tar::EntryType::Directory, 0, FileMode::Executable);
        Ok(self.tar.append_data(&mut header, path, io::empty())?)
    }

    /// Adds a symbolic link. The writer does not check its target; readers of the archive must confine it.
    ///
    /// # Errors
    ///
    /// The same as for [`ArchiveWriter::add_file`].
    pub fn add_symlink(&mut self, path: &str, target: &str) -> Result<(), ArchiveError> {
        self.advance(path)?;
        let mut header = header(tar::EntryType::Symlink, 0, FileMode::Executable);
        // The tar crate's own setter would shorten a target such as `a//b` or `a/`.
        if target.len() > LINK_FIELD {
            let length = target.len() as u64 + 1;
            let mut long = tar::Header::new_gnu();
            long.set_entry_type(tar::EntryType::GNULongLink);
            long.set_size(length);
            long.set_path("././@LongLink")?;
            long.set_cksum();
            self.tar.append(&long, target.as_bytes().chain(&[0][..]))?;
            header.set_link_name_literal(&target.as_bytes()[..LINK_FIELD])?;
        } else {
            header.set_link_name_literal(target)?;
        }
        Ok(self.tar.append_data(&mut header, path, io::empty())?)
    }

    /// Finishes the archive.
    ///
    /// # Errors
    ///
    /// Returns [`ArchiveError::Io`] if writing fails.
    pub fn finish(self) -> Result<FinishedArchive<W>, ArchiveError> {
        let hashing = self.tar.into_inner()?;
        let digest = format!("{:x}", hashing.hash.finalize());
        let digest = digest.parse().map_err(|_| ArchiveError::Path(digest))?;
        Ok(FinishedArchive {
            output: hashing.output,
            digest,
            length: hashing.length,
        })
    }

    fn advance(&mut self, path: &str) -> Result<(), ArchiveError> {
        check_path(path)?;
        if path <= self.last.as_str() {
            return Err(ArchiveError::Order(path.to_owned()));
        }
        self.last.clear();
        self.last.push_str(path);
        Ok(())
    }
}

/// A file's permission bits; archives have two kinds of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileMode {
    /// Mode 0644.
    Plain,
    /// Mode 0755.
    Executable,
}

fn header(kind: tar::EntryType, length: u64, mode: FileMode) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_size(length);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mode(match mode {
        FileMode::Plain => 0o644,
        FileMode::Executable => 0o755,
    });
    header
}

/// Reads at most `left` bytes, so that a file that grows during the read cannot shift later entries.
struct ExactReader<R> {
    content: R,
    left: u64,
}

impl<R: Read> Read for ExactReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.content.read(&mut buffer[..most])?;
        self.left -= read as u64;
        Ok(read)
    }
}

/// Passes bytes to `output`, and computes their digest and number.
struct DigestWriter<W> {
    output: W,
    hash: Sha256,
    length: u64,
}

impl<W: Write> Write for DigestWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.output.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}
