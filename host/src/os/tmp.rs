//! `/tmp`: a dyno's private files, in memory, under a quota. They are gone with the dyno.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasi_common::Error;
use wasi_common::snapshots::preview_1::types::Errno;

/// Bytes of a name (`NAME_MAX`).
const MAX_NAME: usize = 255;
/// Bytes of a link's target (`PATH_MAX`).
const MAX_PATH: usize = 4096;
/// Bytes that a file may hold ready beyond what it has.
const SLACK: usize = 4096;

/// How much a dyno may keep in `/tmp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TmpLimits {
    /// Bytes of all files.
    pub bytes: u64,
    /// Files, directories and links.
    pub nodes: usize,
}

impl Default for TmpLimits {
    /// 64 MiB and 10,000 nodes: uploads and caches fit, and a full node's `/tmp`s do not exhaust its memory.
    fn default() -> Self {
        Self {
            bytes: 64 << 20,
            nodes: 10_000,
        }
    }
}

/// A node of `/tmp`; 0 is its root.
pub(super) type Inode = u64;

/// The root's number.
pub(super) const ROOT: Inode = 0;

pub(super) enum TmpNode {
    Directory(BTreeMap<String, Inode>),
    File(Arc<TmpFile>),
    Symlink(String),
}

/// The tree of `/tmp`. It takes no memory until something is written.
pub(super) struct Tmp {
    nodes: HashMap<Inode, TmpNode>,
    next: Inode,
    limits: TmpLimits,
    used: Arc<AtomicU64>,
}

impl Tmp {
    pub(super) fn new(limits: TmpLimits) -> Self {
        Self {
            nodes: HashMap::new(),
            next: 1,
            limits,
            used: Arc::default(),
        }
    }

    pub(super) fn node(&self, inode: Inode) -> Option<&TmpNode> {
        self.nodes.get(&inode)
    }

    pub(super) fn child(&self, directory: Inode, name: &str) -> Option<Inode> {
        match self.nodes.get(&directory)? {
            TmpNode::Directory(entries) => entries.get(name).copied(),
            _ => None,
        }
    }

    pub(super) fn entries(&self, directory: Inode) -> Vec<(String, Inode)> {
        match self.nodes.get(&directory) {
            Some(TmpNode::Directory(entries)) => entries
                .iter()
                .map(|(name, inode)| (name.clone(), *inode))
                .collect(),
            _ => Vec::new(),
        }
    }

    pub(super) fn new_file(&self) -> TmpNode {
        TmpNode::File(Arc::new(TmpFile {
            bytes: Mutex::default(),
            used: self.used.clone(),
            limit: self.limits.bytes,
        }))
    }

    /// A symbolic link. Its target takes the host's memory, so it has Linux's bound.
    pub(super) fn new_symlink(target: &str) -> Result<TmpNode, Error> {
        if target.len() > MAX_PATH {
            return Err(Errno::Nametoolong.into());
        }
        Ok(TmpNode::Symlink(target.to_owned()))
    }

    /// Adds `node` as `name` of `directory`, which has no such entry.
    pub(super) fn add(
        &mut self,
        directory: Inode,
        name: &str,
        node: TmpNode,
    ) -> Result<Inode, Error> {
        if self.nodes.len() >= self.limits.nodes {
            return Err(Errno::Nospc.into());
        }
        check_name(name)?;
        let inode = self.next;
        self.link(directory, name, inode)?;
        self.next += 1;
        self.nodes.insert(inode, node);
        Ok(inode)
    }

    /// Removes a file or link.
    pub(super) fn unlink(&mut self, directory: Inode, name: &str) -> Result<(), Error> {
        let inode = self.child(directory, name).ok_or(Errno::Noent)?;
        if matches!(self.nodes.get(&inode), Some(TmpNode::Directory(_))) {
            return Err(Errno::Isdir.into());
        }
        self.remove(directory, name, inode);
        Ok(())
    }

    /// Removes an empty directory.
    pub(super) fn remove_directory(&mut self, directory: Inode, name: &str) -> Result<(), Error> {
        let inode = self.child(directory, name).ok_or(Errno::Noent)?;
        match self.nodes.get(&inode) {
            Some(TmpNode::Directory(entries)) if entries.is_empty() => {
                self.remove(directory, name, inode);
                Ok(())
            }
            Some(TmpNode::Directory(_)) => Err(Errno::Notempty.into()),
            _ => Err(Errno::Notdir.into()),
        }
    }

    /// Gives a node another name, replacing a file that has it.
    pub(super) fn rename(&mut self, from: (Inode, &str), to: (Inode, &str)) -> Result<(), Error> {
        let inode = self.child(from.0, from.1).ok_or(Errno::Noent)?;
        if from == to || self.child(to.0, to.1) == Some(inode) {
            return Ok(());
        }
        let moves_directory = matches!(self.nodes.get(&inode), Some(TmpNode::Directory(_)));
        if moves_directory && self.contains(inode, to.0) {
            return Err(Errno::Inval.into());
        }
        match self.child(to.0, to.1) {
            Some(_) if moves_directory => self.remove_directory(to.0, to.1)?,
            Some(_) => self.unlink(to.0, to.1)?,
            None => {}
        }
        check_name(to.1)?;
        self.link(to.0, to.1, inode)?;
        if let Some(TmpNode::Directory(entries)) = self.nodes.get_mut(&from.0) {
            entries.remove(from.1);
        }
        Ok(())
    }

    /// Whether `inner` is `outer` or lies under it.
    fn contains(&self, outer: Inode, inner: Inode) -> bool {
        let mut left = vec![outer];
        while let Some(inode) = left.pop() {
            if inode == inner {
                return true;
            }
            if let Some(TmpNode::Directory(entries)) = self.nodes.get(&inode) {
                left.extend(entries.values());
            }
        }
        false
    }

    fn link(&mut self, directory: Inode, name: &str, inode: Inode) -> Result<(), Error> {
        if directory == ROOT {
            let root = || TmpNode::Directory(BTreeMap::new());
            self.nodes.entry(ROOT).or_insert_with(root);
        }
        match self.nodes.get_mut(&directory) {
            Some(TmpNode::Directory(entries)) => {
                entries.insert(name.to_owned(), inode);
                Ok(())
            }
            _ => Err(Errno::Notdir.into()),
        }
    }

    fn remove(&mut self, directory: Inode, name: &str, inode: Inode) {
        if let Some(TmpNode::Directory(entries)) = self.nodes.get_mut(&directory) {
            entries.remove(name);
        }
        self.nodes.remove(&inode);
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    if name.len() > MAX_NAME {
        return Err(Errno::Nametoolong.into());
    }
    Ok(())
}

/// A file's bytes. They live as long as the file is linked or open, and count as long as they live.
pub(super) struct TmpFile {
    bytes: Mutex<Vec<u8>>,
    used: Arc<AtomicU64>,
    limit: u64,
}

impl TmpFile {
    /// The bytes, to read.
    pub(super) fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes at `offset`, growing the file.
    pub(super) fn write_at(&self, offset: u64, part: &[u8]) -> Result<(), Error> {
        let mut bytes = self.bytes();
        let end = offset.checked_add(part.len() as u64).ok_or(Errno::Fbig)?;
        if end > bytes.len() as u64 {
            self.resize(&mut bytes, end)?;
        }
        let start = usize::try_from(offset).map_err(|_| Errno::Fbig)?;
        bytes[start..start + part.len()].copy_from_slice(part);
        Ok(())
    }

    /// Cuts the file off or fills it with zeros.
    pub(super) fn set_length(&self, length: u64) -> Result<(), Error> {
        let mut bytes = self.bytes();
        self.resize(&mut bytes, length)
    }

    fn resize(&self, bytes: &mut Vec<u8>, length: u64) -> Result<(), Error> {
        let old = bytes.len() as u64;
        if length > old {
            let more = length - old;
            let used = self.used.fetch_add(more, Ordering::Relaxed);
            if used.saturating_add(more) > self.limit {
                self.used.fetch_sub(more, Ordering::Relaxed);
                return Err(Errno::Nospc.into());
            }
        } else {
            self.used.fetch_sub(old - length, Ordering::Relaxed);
        }
        bytes.resize(usize::try_from(length).map_err(|_| Errno::Fbig)?, 0);
        // What no longer counts must not be held: else files that grow and are cut off in turn fill the host's memory.
        if bytes.capacity() > 2 * bytes.len() + SLACK {
            bytes.shrink_to_fit();
        }
        Ok(())
    }
}

impl Drop for TmpFile {
    fn drop(&mut self) {
        let length = self.bytes().len() as u64;
        self.used.fetch_sub(length, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tmp() -> Tmp {
        Tmp::new(TmpLimits {
            bytes: 1 << 20,
            nodes: 100,
        })
    }

    fn file(tmp: &Tmp) -> Arc<TmpFile> {
        match tmp.new_file() {
            TmpNode::File(file) => file,
            _ => unreachable!("a file"),
        }
    }

    #[test]
    fn a_file_that_is_cut_off_gives_its_memory_back() {
        let tmp = tmp();
        let files: Vec<_> = (0..20).map(|_| file(&tmp)).collect();
        for file in &files {
            file.write_at(0, &vec![b'x'; 1 << 20]).unwrap();
            file.set_length(0).unwrap();
        }
        let held: usize = files.iter().map(|file| file.bytes().capacity()).sum();
        assert!(held <= files.len() * SLACK, "{held}");
    }

    #[test]
    fn names_and_targets_of_links_are_bounded() {
        let mut tmp = tmp();
        assert!(Tmp::new_symlink(&"x".repeat(MAX_PATH + 1)).is_err());
        let link = Tmp::new_symlink(&"x".repeat(MAX_PATH)).unwrap();
        assert!(tmp.add(ROOT, &"n".repeat(MAX_NAME + 1), link).is_err());
        let link = Tmp::new_symlink("x").unwrap();
        tmp.add(ROOT, "n", link).unwrap();
        assert!(tmp.rename((ROOT, "n"), (ROOT, &"n".repeat(256))).is_err());
        assert!(tmp.child(ROOT, "n").is_some());
    }
}
