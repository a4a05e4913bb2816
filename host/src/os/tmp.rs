//! `/tmp`: a dyno's private files, which are in memory, limited by a quota, and gone with the dyno.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use corundum_exchange::{BoundedCounter, Reservation};
use wasi_common::Error;
use wasi_common::snapshots::preview_1::types::Errno;

use crate::account::{Account, Charge, Holding};

/// Maximum bytes of a name (`NAME_MAX`).
const MAX_NAME: usize = 255;
/// Maximum bytes of a link's target (`PATH_MAX`).
const MAX_TARGET: usize = 4096;
/// Bytes of capacity that a file may have beyond its content.
const SLACK: usize = 4096;
/// Most bytes by which a file grows beyond what a write needs, so that many small writes do not copy it each time.
const GROWTH: usize = 4 << 20;
/// Bytes of the host's memory for a node: its entry in the tree, its name of up to [`MAX_NAME`] bytes, and the entry in
/// its directory, whose tables are at least half full.
const NODE: usize = 1024;

/// Limits of a dyno's `/tmp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TmpLimits {
    /// Bytes of all files together.
    pub bytes: u64,
    /// Number of files, directories and links.
    pub nodes: usize,
}

impl Default for TmpLimits {
    /// Returns 64 MiB and 10,000 nodes. Uploads and caches fit, and the dynos of a full node do not exhaust its memory.
    fn default() -> Self {
        Self {
            bytes: 64 << 20,
            nodes: 10_000,
        }
    }
}

/// Number of a node of `/tmp`.
pub(super) type Inode = u64;

/// Number of the root of `/tmp`.
pub(super) const ROOT: Inode = 0;

pub(super) enum TmpNode {
    Directory(BTreeMap<String, Inode>),
    File(Arc<TmpFile>),
    Symlink(String),
}

/// The tree of `/tmp`. It takes no memory until a guest writes to it.
pub(super) struct Tmp {
    nodes: HashMap<Inode, TmpNode>,
    next: Inode,
    max_nodes: usize,
    /// Counts the bytes of all files.
    bytes: Arc<BoundedCounter>,
    account: Arc<Account>,
    /// Charges nodes, names and links.
    charge: Charge,
}

impl Tmp {
    pub(super) fn new(account: Arc<Account>) -> Self {
        let limits = account.tmp_limits();
        Self {
            charge: account.charge(Holding::Nodes),
            account,
            nodes: HashMap::new(),
            next: 1,
            max_nodes: limits.nodes,
            bytes: BoundedCounter::new(usize::try_from(limits.bytes).unwrap_or(usize::MAX)),
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

    /// Creates an empty file that is not linked yet.
    ///
    /// # Errors
    ///
    /// `ENOSPC` if the quota cannot be reserved.
    pub(super) fn new_file(&self) -> Result<TmpNode, Error> {
        let quota = self.bytes.try_reserve(0).ok_or(Errno::Nospc)?;
        Ok(TmpNode::File(Arc::new(TmpFile {
            content: Mutex::new(TmpContent {
                bytes: Vec::new(),
                quota,
                charge: self.account.charge(Holding::Files),
            }),
        })))
    }

    /// Creates a symbolic link that is not linked yet. Its target takes the host's memory, so it has Linux's limit.
    pub(super) fn new_symlink(target: &str) -> Result<TmpNode, Error> {
        if target.len() > MAX_TARGET {
            return Err(Errno::Nametoolong.into());
        }
        Ok(TmpNode::Symlink(target.to_owned()))
    }

    /// Adds `node` as `name` to `directory`, which has no such entry.
    pub(super) fn add(
        &mut self,
        directory: Inode,
        name: &str,
        node: TmpNode,
    ) -> Result<Inode, Error> {
        if self.nodes.len() >= self.max_nodes {
            return Err(Errno::Nospc.into());
        }
        check_name(name)?;
        self.charge_more(node.bytes())?;
        let inode = self.next;
        if let Err(error) = self.link(directory, name, inode) {
            self.charge_less(node.bytes());
            return Err(error);
        }
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

    /// Renames a node, replacing a file that has the new name.
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

    /// Returns whether `inner` is `outer` or lies below it.
    fn contains(&self, outer: Inode, inner: Inode) -> bool {
        let mut remaining = vec![outer];
        while let Some(inode) = remaining.pop() {
            if inode == inner {
                return true;
            }
            if let Some(TmpNode::Directory(entries)) = self.nodes.get(&inode) {
                remaining.extend(entries.values());
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
        if let Some(node) = self.nodes.remove(&inode) {
            self.charge_less(node.bytes());
        }
        // The table keeps its room after many nodes were removed, which the charge no longer covers.
        if self.nodes.capacity() > 4 * self.nodes.len() + 64 {
            self.nodes.shrink_to_fit();
        }
    }

    fn charge_more(&mut self, bytes: usize) -> Result<(), Error> {
        let charged = self.charge.try_resize(self.charge.bytes() + bytes);
        charged.map_err(|_| Errno::Nospc.into())
    }

    fn charge_less(&mut self, bytes: usize) {
        let left = self.charge.bytes().saturating_sub(bytes);
        let _ = self.charge.try_resize(left);
    }
}

impl TmpNode {
    /// Returns the bytes of the host's memory that the node takes, beside the content of a file.
    fn bytes(&self) -> usize {
        match self {
            Self::Symlink(target) => NODE + target.len(),
            Self::Directory(_) | Self::File(_) => NODE,
        }
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    if name.len() > MAX_NAME {
        return Err(Errno::Nametoolong.into());
    }
    Ok(())
}

/// A file of `/tmp`. Its bytes count against the quota while it is linked or open.
pub(super) struct TmpFile {
    content: Mutex<TmpContent>,
}

struct TmpContent {
    bytes: Vec<u8>,
    /// Holds one unit per byte.
    quota: Reservation,
    /// Charges the capacity of `bytes`.
    charge: Charge,
}

impl TmpFile {
    fn content(&self) -> MutexGuard<'_, TmpContent> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the file's length in bytes.
    pub(super) fn length(&self) -> usize {
        self.content().bytes.len()
    }

    /// Passes the file's bytes to `read` while the file is locked.
    pub(super) fn with_bytes<R>(&self, read: impl FnOnce(&[u8]) -> R) -> R {
        read(&self.content().bytes)
    }

    /// Writes at `offset` and grows the file if necessary.
    pub(super) fn write_at(&self, offset: u64, part: &[u8]) -> Result<(), Error> {
        let mut content = self.content();
        let start = usize::try_from(offset).map_err(|_| Errno::Fbig)?;
        let end = start.checked_add(part.len()).ok_or(Errno::Fbig)?;
        if end > content.bytes.len() {
            content.resize(end)?;
        }
        content.bytes[start..end].copy_from_slice(part);
        Ok(())
    }

    /// Truncates the file, or extends it with zeros.
    pub(super) fn set_length(&self, length: u64) -> Result<(), Error> {
        let length = usize::try_from(length).map_err(|_| Errno::Fbig)?;
        self.content().resize(length)
    }
}

impl TmpContent {
    fn resize(&mut self, length: usize) -> Result<(), Error> {
        let before = self.bytes.len();
        if !self.quota.try_resize(length) {
            return Err(Errno::Nospc.into());
        }
        if length > self.bytes.capacity()
            && let Err(error) = self.reserve(length)
        {
            let _ = self.quota.try_resize(before);
            return Err(error);
        }
        self.bytes.resize(length, 0);
        // The capacity stays close to the length, so that a truncated file returns its memory.
        if self.bytes.capacity() > 2 * self.bytes.len() + SLACK {
            self.bytes.shrink_to_fit();
            let _ = self.charge.try_resize(self.bytes.capacity());
        }
        Ok(())
    }

    /// Makes room for `length` bytes, charged before they are allocated.
    fn reserve(&mut self, length: usize) -> Result<(), Error> {
        let spare = (length / 4).min(GROWTH);
        // Without room for more, the file gets the bytes that it needs.
        for capacity in [length.saturating_add(spare), length] {
            if self.charge.try_resize(capacity).is_err() {
                continue;
            }
            let more = capacity - self.bytes.len();
            let reserved = self.bytes.try_reserve_exact(more);
            let _ = self.charge.try_resize(self.bytes.capacity());
            if reserved.is_ok() {
                return Ok(());
            }
        }
        Err(Errno::Nospc.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reserve::{AppShare, NodeReserve};

    fn tmp_of(reserve: &Arc<NodeReserve>, limits: TmpLimits) -> Tmp {
        Tmp::new(Account::new(AppShare::new(reserve.clone()), limits))
    }

    fn tmp() -> Tmp {
        let limits = TmpLimits {
            bytes: 1 << 20,
            nodes: 100,
        };
        tmp_of(&NodeReserve::new(usize::MAX), limits)
    }

    fn file(tmp: &Tmp) -> Arc<TmpFile> {
        match tmp.new_file().unwrap() {
            TmpNode::File(file) => file,
            _ => unreachable!("a file"),
        }
    }

    #[test]
    fn truncated_file_returns_its_memory() {
        let tmp = tmp();
        let files: Vec<_> = (0..20).map(|_| file(&tmp)).collect();
        for file in &files {
            file.write_at(0, &vec![b'x'; 1 << 20]).unwrap();
            file.set_length(0).unwrap();
        }
        let held: usize = files
            .iter()
            .map(|file| file.content().bytes.capacity())
            .sum();
        assert!(held <= files.len() * SLACK, "{held}");
    }

    #[test]
    fn files_stay_within_the_quota() {
        let tmp = tmp();
        let (one, two) = (file(&tmp), file(&tmp));
        one.write_at(0, &vec![b'x'; 1 << 20]).unwrap();
        assert!(two.write_at(0, b"x").is_err());
        one.set_length(10).unwrap();
        two.write_at((1 << 20) - 11, b"x").unwrap();
        assert!(two.write_at(1 << 20, b"x").is_err());
        drop(one);
        two.set_length(1 << 20).unwrap();
    }

    #[test]
    fn files_nodes_and_links_are_drawn_from_the_reserve() {
        let reserve = NodeReserve::new(64 << 20);
        let mut tmp = tmp_of(&reserve, TmpLimits::default());
        let big = file(&tmp);
        let written = (0..64).filter(|mb| big.write_at(mb << 20, &[b'x'; 1 << 20]).is_ok());
        let written = written.count();
        assert!((40..=44).contains(&written), "two thirds: {written}");
        assert!(reserve.bytes().in_use() >= (written - 1) << 20);
        assert_eq!(
            big.length(),
            written << 20,
            "the length is what was written"
        );
        drop(big);
        assert!(reserve.bytes().in_use() <= 1 << 20);
        let target = "t".repeat(MAX_TARGET);
        for number in 0..1000 {
            let link = Tmp::new_symlink(&target).unwrap();
            tmp.add(ROOT, &number.to_string(), link).unwrap();
        }
        assert!(reserve.bytes().in_use() >= 4 << 20);
        for number in 0..1000 {
            tmp.unlink(ROOT, &number.to_string()).unwrap();
        }
        assert!(reserve.bytes().in_use() <= 1 << 20);
        drop(tmp);
        assert_eq!(reserve.bytes().in_use(), 0);
    }

    #[test]
    fn many_small_writes_and_sparse_files_stay_within_the_charge() {
        let reserve = NodeReserve::new(64 << 20);
        let tmp = tmp_of(&reserve, TmpLimits::default());
        let file = file(&tmp);
        for position in 0..20_000 {
            file.write_at(position * 100, &[b'x'; 100]).unwrap();
        }
        let capacity = file.content().bytes.capacity();
        assert!(capacity <= 2_000_000 * 5 / 4 + SLACK, "{capacity}");
        assert_eq!(file.content().charge.bytes(), capacity);
        assert!(
            file.write_at(60 << 20, b"x").is_err(),
            "a hole takes memory"
        );
        assert!(file.set_length(u64::MAX).is_err());
        assert_eq!(file.length(), 2_000_000);
    }

    #[test]
    fn names_and_link_targets_are_limited() {
        let mut tmp = tmp();
        assert!(Tmp::new_symlink(&"x".repeat(MAX_TARGET + 1)).is_err());
        let link = Tmp::new_symlink(&"x".repeat(MAX_TARGET)).unwrap();
        assert!(tmp.add(ROOT, &"n".repeat(MAX_NAME + 1), link).is_err());
        let link = Tmp::new_symlink("x").unwrap();
        tmp.add(ROOT, "n", link).unwrap();
        assert!(tmp.rename((ROOT, "n"), (ROOT, &"n".repeat(256))).is_err());
        assert!(tmp.child(ROOT, "n").is_some());
    }
}
