//! Archives of directories of a pack's source.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::archive::{ArchiveError, ArchiveWriter, FileMode};

/// An entry of an archive.
enum PackedFile {
    File(std::path::PathBuf, FileMode),
    Symlink(String),
}

/// Files of one or more directories, by their paths in the archive. Later directories replace files of earlier ones.
#[derive(Default)]
pub(super) struct PackedFiles(BTreeMap<String, PackedFile>);

impl PackedFiles {
    /// Adds the files below a directory.
    ///
    /// # Errors
    ///
    /// The directory cannot be read, or a name is not UTF-8.
    pub(super) fn add(&mut self, directory: &Path) -> io::Result<()> {
        self.add_below(directory, "")
    }

    fn add_below(&mut self, directory: &Path, below: &str) -> io::Result<()> {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let path = entry.path();
            let name = entry.file_name().into_string().map_err(|name| {
                io::Error::other(format!("{}: the name is not UTF-8", name.display()))
            })?;
            let inside = match below {
                "" => name,
                below => format!("{below}/{name}"),
            };
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.add_below(&path, &inside)?;
            } else if kind.is_symlink() {
                let target = fs::read_link(&path)?;
                let target = target.to_string_lossy().into_owned();
                self.0.insert(inside, PackedFile::Symlink(target));
            } else if kind.is_file() {
                let mode = match entry.metadata()?.permissions().mode() & 0o100 {
                    0 => FileMode::Plain,
                    _ => FileMode::Executable,
                };
                self.0.insert(inside, PackedFile::File(path, mode));
            }
        }
        Ok(())
    }

    /// Returns the archive's bytes.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or has a name that no archive holds.
    pub(super) fn archive(self) -> Result<Vec<u8>, ArchiveError> {
        let mut writer = ArchiveWriter::new(Vec::new());
        for (path, file) in self.0 {
            match file {
                PackedFile::File(from, mode) => {
                    let bytes = fs::read(from)?;
                    writer.add_file(&path, bytes.as_slice(), bytes.len() as u64, mode)?;
                }
                PackedFile::Symlink(target) => writer.add_symlink(&path, &target)?,
            }
        }
        Ok(writer.finish()?.output)
    }
}
