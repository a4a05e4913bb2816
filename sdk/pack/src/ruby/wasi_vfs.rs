//! Reader of the file tree that `wasi-vfs` embeds in a module's data.
//!
//! `ruby+stdlib.wasm` contains Ruby's standard library in this form: linked records in linear memory, with the layout of
//! the C structures. A *link* is (parent link, node). A *node* is (is directory, length, pointer); the pointer refers
//! to a file's bytes or to the first *entry* of a directory. An entry is (link, name, next entry). No symbol gives the
//! root's address. Since every link refers to its parent, records can be told from other data: the root is the link
//! without a parent whose whole tree is consistent.

use crate::split::SplitMemory;

/// Maximum depth of directories; deeper data is not a file tree.
const MAX_DEPTH: usize = 64;
/// Maximum number of entries, for the same reason.
const MAX_ENTRIES: usize = 100_000;

/// A file of the tree: path without a leading slash, and bytes.
pub(super) type EmbeddedFile = (String, Vec<u8>);

/// Returns the files embedded in a module with this memory, sorted by path; an empty list if it contains no tree.
pub(super) fn embedded_files(memory: &SplitMemory) -> Vec<EmbeddedFile> {
    let flat = FlatMemory::new(memory);
    let candidates = (0..flat.bytes.len().saturating_sub(8)).step_by(4);
    let mut files = Vec::new();
    for root in candidates {
        // A root link has no parent, and its node is a directory.
        if flat.word(root) != Some(0) {
            continue;
        }
        let mut tree = EmbeddedTree {
            flat: &flat,
            files: Vec::new(),
            entries: 0,
        };
        let found = tree.walk(root as u32, "", 0).is_some();
        if found && tree.files.len() > files.len() {
            files = tree.files;
        }
    }
    files.sort();
    files
}

/// Memory with the data segments applied.
struct FlatMemory {
    bytes: Vec<u8>,
}

impl FlatMemory {
    fn new(memory: &SplitMemory) -> Self {
        let end = memory
            .segments
            .iter()
            .map(|(offset, bytes)| offset + bytes.len())
            .max();
        // A module with a segment beyond its memory would not start.
        let limit = usize::try_from(memory.minimum << 16).unwrap_or(usize::MAX);
        let mut flat = vec![0; end.unwrap_or(0).min(limit)];
        for (offset, bytes) in &memory.segments {
            if let Some(place) = flat.get_mut(*offset..offset + bytes.len()) {
                place.copy_from_slice(bytes);
            }
        }
        Self { bytes: flat }
    }

    fn word(&self, at: usize) -> Option<u32> {
        let bytes = self.bytes.get(at..at.checked_add(4)?)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    }

    /// Reads a pointer to a record, which must be aligned and not null.
    fn pointer(&self, at: usize) -> Option<usize> {
        let pointer = self.word(at)? as usize;
        (pointer != 0 && pointer.is_multiple_of(4) && pointer < self.bytes.len()).then_some(pointer)
    }

    fn name(&self, at: usize) -> Option<&str> {
        let start = self.word(at)? as usize;
        let bytes = self.bytes.get(start..(start + 256).min(self.bytes.len()))?;
        let end = bytes.iter().position(|byte| *byte == 0)?;
        let name = std::str::from_utf8(&bytes[..end]).ok()?;
        let plain = !name.is_empty() && name != "." && name != ".." && !name.contains('/');
        (plain && !name.contains(char::is_control)).then_some(name)
    }
}

struct EmbeddedTree<'a> {
    flat: &'a FlatMemory,
    files: Vec<EmbeddedFile>,
    entries: usize,
}

impl EmbeddedTree<'_> {
    /// Walks the directory at `link`; returns `None` if the data is not a directory.
    fn walk(&mut self, link: u32, path: &str, depth: usize) -> Option<()> {
        let node = self.flat.pointer(link as usize + 4)?;
        if depth > MAX_DEPTH || *self.flat.bytes.get(node)? != 1 {
            return None;
        }
        let mut entry = self.flat.pointer(node + 8);
        if depth == 0 && entry.is_none() {
            return None;
        }
        while let Some(at) = entry {
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return None;
            }
            let child = self.flat.pointer(at)?;
            if self.flat.word(child)? != link {
                return None;
            }
            let name = self.flat.name(at + 4)?;
            let path = if path.is_empty() {
                name.to_owned()
            } else {
                format!("{path}/{name}")
            };
            let node = self.flat.pointer(child + 4)?;
            match *self.flat.bytes.get(node)? {
                0 => {
                    let length = self.flat.word(node + 4)? as usize;
                    let start = self.flat.word(node + 8)? as usize;
                    let bytes = match length {
                        0 => &[],
                        _ => self.flat.bytes.get(start..start.checked_add(length)?)?,
                    };
                    self.files.push((path, bytes.to_vec()));
                }
                1 => self.walk(child as u32, &path, depth + 1)?,
                _ => return None,
            }
            entry = match self.flat.word(at + 8)? {
                0 => None,
                _ => Some(self.flat.pointer(at + 8)?),
            };
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Builds a memory with records like those of `wasi-vfs`.
    fn memory() -> SplitMemory {
        let mut bytes = vec![0u8; 4096];
        let mut put = |at: usize, words: &[u32]| {
            for (index, word) in words.iter().enumerate() {
                bytes[at + 4 * index..at + 4 * index + 4].copy_from_slice(&word.to_le_bytes());
            }
        };
        put(100, &[0, 108, 1, 1, 200]); // root link, its node: a directory with one entry
        put(200, &[300, 1000, 0]); // entry "usr"
        put(300, &[100, 308, 1, 2, 400]); // its link and node
        put(400, &[500, 1004, 420]); // entry "a"
        put(420, &[600, 1006, 0]); // entry "b"
        put(500, &[300, 508, 0, 5, 2000]); // file of five bytes
        put(600, &[300, 608, 0, 0, 0]); // empty file
        bytes[1000..1008].copy_from_slice(b"usr\0a\0b\0");
        bytes[2000..2005].copy_from_slice(b"hello");
        SplitMemory {
            minimum: 1,
            maximum: None,
            segments: vec![(0, bytes)],
        }
    }

    #[test]
    fn embedded_tree_is_found_without_its_address() {
        let files = embedded_files(&memory());
        let expected = [
            ("usr/a".to_owned(), b"hello".to_vec()),
            ("usr/b".to_owned(), Vec::new()),
        ];
        assert_eq!(files, expected);
    }

    #[test]
    fn inconsistent_records_are_not_a_tree() {
        let mut memory = memory();
        memory.segments[0].1[500] = 99; // a child with another parent
        assert!(embedded_files(&memory).is_empty());
    }
}
