//! Archives of the tree for builds in dynos, which see the app's files before the slug is written.

use std::io::{self, Write};

use corundum_pack::archive::{ArchiveError, ArchiveWriter};

use crate::tree::{Tree, TreeEntry, TreeError};

/// Writes an archive of the files whose paths satisfy `condition`, and returns the output.
pub(super) fn write<W: Write>(
    tree: &Tree,
    condition: impl Fn(&str) -> bool,
    output: W,
) -> Result<W, TreeError> {
    let mut writer = ArchiveWriter::new(output);
    for (path, entry) in tree.entries().filter(|(path, _)| condition(path)) {
        match entry {
            TreeEntry::Symlink(target) => writer.add_symlink(path, target).map_err(archive)?,
            TreeEntry::File { length, mode, .. } => {
                if let Some(reader) = tree.open(path)? {
                    writer
                        .add_file(path, reader, *length, *mode)
                        .map_err(archive)?;
                }
            }
        }
    }
    let mut output = writer.finish().map_err(archive)?.output;
    output.flush()?;
    Ok(output)
}

fn archive(error: ArchiveError) -> TreeError {
    TreeError::Io(io::Error::other(error))
}
