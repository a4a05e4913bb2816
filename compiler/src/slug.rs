//! A tree as a slug: one archive whose bytes depend on nothing but the tree and the pack's series.

use std::io::Write;

use corundum_sdk::archive::{ArchiveError, Finished, Mode, Writer};
use corundum_sdk::pack::ruby::Series;
use serde::{Deserialize, Serialize};

use crate::procfile::Processes;
use crate::tree::{Entry, Tree};

/// Where a slug says what it is.
pub const DESCRIPTION: &str = ".corundum/slug.json";

/// What a slug says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// The dyno ABI it was compiled for.
    pub abi: u32,
    /// The series of Ruby.
    pub ruby: Series,
    /// Commands by process type.
    pub processes: Processes,
}

/// A slug that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum SlugError {
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The tree.
    #[error("the app's tree could not be read: {0}")]
    Io(#[from] std::io::Error),
}

/// Writes the slug of `tree`.
///
/// # Errors
///
/// [`SlugError`].
pub fn write<W: Write>(
    tree: &Tree,
    description: &Description,
    output: W,
) -> Result<Finished<W>, SlugError> {
    let mut writer = Writer::new(output);
    let text = serde_json::to_vec(description).map_err(std::io::Error::from)?;
    let mut described = false;
    for (path, entry) in tree.entries() {
        if !described && path > DESCRIPTION {
            writer.add_file(DESCRIPTION, text.as_slice(), text.len() as u64, Mode::Plain)?;
            described = true;
        }
        match entry {
            Entry::File { length, mode, .. } => {
                if let Some(content) = tree.open(path)? {
                    writer.add_file(path, content, *length, *mode)?;
                }
            }
            Entry::Symlink(target) => writer.add_symlink(path, target)?,
        }
    }
    if !described {
        writer.add_file(DESCRIPTION, text.as_slice(), text.len() as u64, Mode::Plain)?;
    }
    Ok(writer.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)], mtime: u64) -> Tree {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, text) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(if mtime > 0 { 0o600 } else { 0o644 });
            header.set_mtime(mtime);
            header.set_uid(mtime);
            builder
                .append_data(&mut header, path, text.as_bytes())
                .unwrap();
        }
        Tree::read(builder.into_inner().unwrap().as_slice(), 1 << 20).unwrap()
    }

    fn digest(tree: &Tree) -> String {
        let description = Description {
            abi: 1,
            ruby: Series::DEFAULT,
            processes: Processes::new(),
        };
        write(tree, &description, Vec::new())
            .unwrap()
            .digest
            .to_string()
    }

    #[test]
    fn the_same_tree_gives_the_same_slug() {
        let one = tree(&[("a", "1"), (".b", "2")], 0);
        let same = tree(&[(".b", "2"), ("a", "1")], 99);
        let other = tree(&[("a", "1"), (".b", "3")], 0);
        assert_eq!(digest(&one), digest(&same));
        assert_ne!(digest(&one), digest(&other));
    }
}
