//! `/tmp`: a dyno's private files, in memory, under a quota. They are gone with the dyno.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasi_common::Error;
use wasi_common::snapshots::preview_1::types::Errno;

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
        Ok(())
    }
}

impl Drop for TmpFile {
    fn drop(&mut self) {
        let length = self.bytes().len() as u64;
        self.used.fetch_sub(length, Ordering::Relaxed);
    }
}
