//! Archives of the tree for builds in dynos, which see the app's files before the slug is written.

use std::io::Write;

use corundum_pack::archive::ArchiveWriter;

use crate::tree::{Tree, TreeError};

/// Writes an archive of the files whose paths satisfy `condition`, and returns the output.
pub(super) fn write<W: Write>(
    tree: &Tree,
    condition: impl Fn(&str) -> bool,
    output: W,
) -> Result<W, TreeError> {
    let mut writer = ArchiveWriter::new(output);
    for (path, entry) in tree.entries().filter(|(path, _)| condition(path)) {
        tree.archive_entry::<_, TreeError>(&mut writer, path, entry)?;
    }
    let mut output = writer.finish()?.output;
    output.flush()?;
    Ok(output)
}
