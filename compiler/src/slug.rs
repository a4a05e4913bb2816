//! A tree as a slug: one archive whose bytes depend on nothing but the tree and the pack's series.

use std::io::Write;

use corundum_abi::app_options::{Isolation, WarmUp};
use corundum_abi::names::ProcessType;
use corundum_pack::archive::{ArchiveError, ArchiveWriter, FileMode, FinishedArchive};
use corundum_pack::ruby::Series;
use serde::{Deserialize, Serialize};

use crate::assets::Serving;
use crate::procfile::Processes;
use crate::report::human_size;
use crate::tree::{Entry, Tree};

/// Where a slug says what it is.
pub const DESCRIPTION: &str = ".corundum/slug.json";

/// What runs an app that declares no web process.
pub const WEB_COMMAND: &str = "rackup";

/// What a slug says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// The dyno ABI it was compiled for.
    pub abi: u32,
    /// The series of Ruby.
    pub ruby: Series,
    /// Commands by process type.
    pub processes: Processes,
    /// What one request may leave behind for the next.
    #[serde(default)]
    pub isolation: Isolation,
    /// Whether its image is to be warm.
    #[serde(default)]
    pub warm_up: WarmUp,
    /// How the files in `public/` are served.
    #[serde(default)]
    pub serving: Serving,
}

impl Description {
    /// The command of the web process; without a Procfile it is the rackup file's.
    pub fn web_command(&self) -> &str {
        let declared = self.processes.get(&ProcessType::web());
        declared.map_or(WEB_COMMAND, String::as_str)
    }
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
    /// More than a slug may be: its size and the limit, in bytes.
    #[error("Compiled slug size: {} is too large (max is {}M).\nList what a running app does not need in .slugignore.", human_size(*.0), .1 >> 20)]
    Size(u64, u64),
}

/// Writes the slug of `tree`, of at most `limit` bytes.
///
/// # Errors
///
/// [`SlugError`].
pub fn write<W: Write>(
    tree: &Tree,
    description: &Description,
    limit: u64,
    output: W,
) -> Result<FinishedArchive<W>, SlugError> {
    let mut writer = ArchiveWriter::new(output);
    let text = serde_json::to_vec(description).map_err(std::io::Error::from)?;
    let mut described = false;
    for (path, entry) in tree.entries() {
        if !described && path > DESCRIPTION {
            writer.add_file(
                DESCRIPTION,
                text.as_slice(),
                text.len() as u64,
                FileMode::Plain,
            )?;
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
        writer.add_file(
            DESCRIPTION,
            text.as_slice(),
            text.len() as u64,
            FileMode::Plain,
        )?;
    }
    let finished = writer.finish()?;
    if finished.length > limit {
        return Err(SlugError::Size(finished.length, limit));
    }
    Ok(finished)
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
            isolation: Isolation::App,
            warm_up: WarmUp::Requests,
            serving: Serving::default(),
        };
        write(tree, &description, 1 << 20, Vec::new())
            .unwrap()
            .digest
            .to_string()
    }

    #[test]
    fn a_slug_over_the_limit_is_refused_with_its_size() {
        let about = Description {
            abi: 1,
            ruby: Series::DEFAULT,
            processes: Processes::new(),
            isolation: Isolation::App,
            warm_up: WarmUp::Requests,
            serving: Serving::default(),
        };
        let large = "x".repeat(1_200_000);
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(large.len() as u64);
        header.set_mode(0o644);
        builder
            .append_data(&mut header, "a", large.as_bytes())
            .unwrap();
        let tree = Tree::read(builder.into_inner().unwrap().as_slice(), 2 << 20).unwrap();
        let error = write(&tree, &about, 1 << 20, Vec::new()).unwrap_err();
        let start = "Compiled slug size: 1.1M is too large (max is 1M).";
        assert!(error.to_string().starts_with(start), "{error}");
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
