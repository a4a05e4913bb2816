//! Index of an archive's entries, over bytes that stay in place.

use std::fmt;
use std::io::{Cursor, Read};
use std::ops::Range;

use super::{ArchiveError, check_path};

/// Index of a node within its [`Archive`]; the root is [`Archive::ROOT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeId(u32);

impl NodeId {
    /// Returns a number that is unique within the archive, e.g. for inode numbers.
    pub fn index(self) -> u32 {
        self.0
    }
}

/// A file, directory or symbolic link.
#[derive(Debug)]
pub enum ArchiveNode {
    /// A file.
    File {
        /// Range of the file's bytes within the archive.
        range: Range<usize>,
        /// True if the file's mode is 0755.
        executable: bool,
    },
    /// A directory.
    Directory {
        /// Names and nodes, sorted by name.
        entries: Vec<(Box<str>, NodeId)>,
    },
    /// A symbolic link; the reader does not follow it.
    Symlink {
        /// The target as written in the archive.
        target: Box<str>,
    },
}

/// An indexed archive, which owns its bytes: a memory-mapped file or a vector.
pub struct Archive {
    data: Box<dyn AsRef<[u8]> + Send + Sync>,
    nodes: Vec<ArchiveNode>,
}

impl Archive {
    /// The root directory.
    pub const ROOT: NodeId = NodeId(0);

    /// Indexes `data`, in time and memory proportional to the number of entries, not to their size.
    ///
    /// # Errors
    ///
    /// Returns [`ArchiveError`] for data that [`super::ArchiveWriter`] does not write, including a damaged archive.
    pub fn new(data: impl AsRef<[u8]> + Send + Sync + 'static) -> Result<Self, ArchiveError> {
        let mut nodes = vec![ArchiveNode::Directory {
            entries: Vec::new(),
        }];
        let bytes = data.as_ref();
        let mut tar = tar::Archive::new(Cursor::new(bytes));
        for entry in tar.entries()? {
            let mut entry = entry?;
            let path = String::from_utf8(entry.path_bytes().into_owned())
                .map_err(|error| ArchiveError::Path(error.to_string()))?;
            let path = path.strip_suffix('/').unwrap_or(&path);
            check_path(path)?;
            let node = match entry.header().entry_type() {
                tar::EntryType::Regular => {
                    let cut_off = || ArchiveError::CutOff(path.to_owned());
                    let start =
                        usize::try_from(entry.raw_file_position()).map_err(|_| cut_off())?;
                    let length = usize::try_from(entry.size()).map_err(|_| cut_off())?;
                    let end = start.checked_add(length).filter(|end| *end <= bytes.len());
                    let range = start..end.ok_or_else(cut_off)?;
                    ArchiveNode::File {
                        range,
                        executable: entry.header().mode()? & 0o100 != 0,
                    }
                }
                tar::EntryType::Directory => ArchiveNode::Directory {
                    entries: Vec::new(),
                },
                tar::EntryType::Symlink => {
                    let target = entry.link_name_bytes().unwrap_or_default();
                    let target = String::from_utf8_lossy(&target).into_owned();
                    ArchiveNode::Symlink {
                        target: target.into(),
                    }
                }
                _ => return Err(ArchiveError::Kind(path.to_owned())),
            };
            // Reads nothing of the content: the iterator seeks past it to the next header.
            let _ = entry.read(&mut [])?;
            insert(&mut nodes, path, node)?;
        }
        Ok(Self {
            data: Box::new(data),
            nodes,
        })
    }

    /// Returns the node of `id`, which must come from this archive.
    pub fn node(&self, id: NodeId) -> &ArchiveNode {
        &self.nodes[id.0 as usize]
    }

    /// Returns the node of an index ([`NodeId::index`]), if the archive has so many.
    pub fn node_id(&self, index: u32) -> Option<NodeId> {
        ((index as usize) < self.nodes.len()).then_some(NodeId(index))
    }

    /// Returns the number of nodes; every [`NodeId::index`] is less than it.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Tells whether the archive has no node except its root.
    pub fn is_empty(&self) -> bool {
        self.nodes.len() == 1
    }

    /// Finds the entry `name` of directory `id`.
    pub fn child(&self, id: NodeId, name: &str) -> Option<NodeId> {
        let ArchiveNode::Directory { entries } = self.node(id) else {
            return None;
        };
        let at = entries
            .binary_search_by(|(entry, _)| (**entry).cmp(name))
            .ok()?;
        Some(entries[at].1)
    }

    /// Finds the node at `path`, relative to the root, without following symbolic links.
    pub fn lookup(&self, path: &str) -> Option<NodeId> {
        path.split('/')
            .try_fold(Self::ROOT, |at, part| self.child(at, part))
    }

    /// Returns the bytes of a file, and an empty slice for any other node.
    pub fn content(&self, id: NodeId) -> &[u8] {
        match self.node(id) {
            ArchiveNode::File { range, .. } => &(*self.data).as_ref()[range.clone()],
            _ => &[],
        }
    }
}

/// All bytes of the archive, into which the ranges of files point.
impl AsRef<[u8]> for Archive {
    fn as_ref(&self) -> &[u8] {
        (*self.data).as_ref()
    }
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archive")
            .field("nodes", &self.nodes.len())
            .finish_non_exhaustive()
    }
}

/// Inserts `node` at `path` and creates missing parent directories.
fn insert(nodes: &mut Vec<ArchiveNode>, path: &str, node: ArchiveNode) -> Result<(), ArchiveError> {
    let mut parts = path.split('/').peekable();
    let mut at = 0usize;
    let mut node = Some(node);
    while let Some(part) = parts.next() {
        let next = u32::try_from(nodes.len()).map_err(|_| ArchiveError::Order(path.to_owned()))?;
        let ArchiveNode::Directory { entries } = &mut nodes[at] else {
            return Err(ArchiveError::NotADirectory(path.to_owned()));
        };
        let last = parts.peek().is_none();
        match entries.binary_search_by(|(entry, _)| (**entry).cmp(part)) {
            Ok(_) if last => return Err(ArchiveError::Order(path.to_owned())),
            Ok(found) => at = entries[found].1.0 as usize,
            Err(place) => {
                entries.insert(place, (part.into(), NodeId(next)));
                let new = if last { node.take() } else { None };
                nodes.push(new.unwrap_or(ArchiveNode::Directory {
                    entries: Vec::new(),
                }));
                at = next as usize;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{ArchiveWriter, FileMode};
    use super::*;

    fn sample() -> Vec<u8> {
        let mut writer = ArchiveWriter::new(Vec::new());
        writer
            .add_file("a/b.txt", &b"hello"[..], 5, FileMode::Plain)
            .unwrap();
        writer
            .add_file("a/run", &b"#!"[..], 2, FileMode::Executable)
            .unwrap();
        writer.add_symlink("c", "a/b.txt").unwrap();
        writer.add_dir("empty").unwrap();
        let long = format!("long/{}/{}", "x".repeat(150), "y".repeat(150));
        writer
            .add_file(&long, &b"!"[..], 1, FileMode::Plain)
            .unwrap();
        writer.finish().unwrap().output
    }

    #[test]
    fn written_entries_are_found_by_path() {
        let archive = Archive::new(sample()).unwrap();
        let file = archive.lookup("a/b.txt").unwrap();
        assert_eq!(archive.content(file), b"hello");
        assert!(matches!(
            archive.node(file),
            ArchiveNode::File {
                executable: false,
                ..
            }
        ));
        let run = archive.lookup("a/run").unwrap();
        assert!(matches!(
            archive.node(run),
            ArchiveNode::File {
                executable: true,
                ..
            }
        ));
        let link = archive.lookup("c").unwrap();
        assert!(
            matches!(archive.node(link), ArchiveNode::Symlink { target } if &**target == "a/b.txt")
        );
        assert!(archive.lookup("empty").is_some());
        assert!(archive.lookup("a/missing").is_none());
        let long = format!("long/{}/{}", "x".repeat(150), "y".repeat(150));
        assert_eq!(archive.content(archive.lookup(&long).unwrap()), b"!");
    }

    #[test]
    fn targets_of_links_are_kept_to_the_byte() {
        let long = "t/".repeat(100);
        let exact = "x".repeat(100);
        for target in [
            "/etc/passwd",
            "../..",
            "a//b",
            "a/",
            "./a",
            " ",
            &long,
            &exact,
        ] {
            let mut writer = ArchiveWriter::new(Vec::new());
            writer.add_symlink("link", target).unwrap();
            writer
                .add_file("next", &b"x"[..], 1, FileMode::Plain)
                .unwrap();
            let archive = Archive::new(writer.finish().unwrap().output).unwrap();
            let link = archive.node(archive.lookup("link").unwrap());
            assert!(matches!(link, ArchiveNode::Symlink { target: kept } if **kept == *target));
            assert!(archive.lookup("next").is_some());
        }
    }

    #[test]
    fn invalid_and_unsorted_paths_are_rejected() {
        for bad in ["/a", "a/../b", "./a", "", "a//b", "a/", "a\0b"] {
            let mut writer = ArchiveWriter::new(Vec::new());
            let result = writer.add_file(bad, &b""[..], 0, FileMode::Plain);
            assert!(matches!(result, Err(ArchiveError::Path(_))), "{bad:?}");
        }
        let mut writer = ArchiveWriter::new(Vec::new());
        writer.add_dir("b").unwrap();
        assert!(matches!(writer.add_dir("b"), Err(ArchiveError::Order(_))));
        assert!(matches!(writer.add_dir("a"), Err(ArchiveError::Order(_))));
    }

    #[test]
    fn file_shorter_than_its_declared_length_is_rejected() {
        let mut writer = ArchiveWriter::new(Vec::new());
        let result = writer.add_file("a", &b"12"[..], 3, FileMode::Plain);
        assert!(matches!(result, Err(ArchiveError::CutOff(_))));
    }

    #[test]
    fn truncated_archive_causes_no_panic() {
        let whole = sample();
        for cut in [1, 511, 513, 700, 1024] {
            let _ = Archive::new(whole[..cut].to_vec());
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_cause_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
            let _ = Archive::new(bytes);
        }

        #[test]
        fn changed_byte_causes_no_panic(at in 0usize..2048, value in any::<u8>()) {
            let mut bytes = sample();
            let at = at % bytes.len();
            bytes[at] = value;
            if let Ok(archive) = Archive::new(bytes) {
                for index in 0..archive.len() {
                    let _ = archive.content(NodeId(index as u32));
                }
            }
        }
    }
}
