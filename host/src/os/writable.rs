//! The tree that a dyno writes to: `/app` and `/tmp`.
//!
//! A node of `/app` is the slug's until the dyno changes it, and one that the boot has made or changed is the image's:
//! all dynos share both. The first change of a node makes the dyno's own copy of it, of a directory only its changed
//! names. The tree takes no memory before that. Everything in it is gone with the dyno.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};

use corundum_exchange::BoundedCounter;
use corundum_pack::archive::{Archive, ArchiveNode};
use wasi_common::file::FileType;
use wasi_common::snapshots::preview_1::types::Errno;

use super::clocks::wall_now;
use super::layer::{BootLayer, LayerNode};
use super::node::{Entries, FileAttributes, NodeKey};
use super::stored_file::{SharedBytes, StoredFile};
use crate::account::{Account, Charge, Holding};

/// Maximum bytes of a name (`NAME_MAX`).
pub(super) const MAX_NAME: usize = 255;
/// Maximum bytes of a link's target, one less than `PATH_MAX`, which counts the NUL byte.
const MAX_TARGET: usize = 4095;
/// Bytes of the host's memory for a node: its entry in the tree, whose table is at least half full, and its file.
const NODE: usize = 512;
/// Bytes of the host's memory for a name of up to [`MAX_NAME`] bytes in a directory.
const ENTRY: usize = 512;

/// The content of a node that the dyno has made or changed.
#[derive(Debug)]
enum NodeBody {
    Directory(Entries),
    File(Arc<StoredFile>),
    Symlink(Box<[u8]>),
}

#[derive(Debug)]
struct OwnNode {
    body: NodeBody,
    attributes: FileAttributes,
}

impl OwnNode {
    fn bytes(&self) -> usize {
        match &self.body {
            NodeBody::Symlink(target) => NODE + target.len(),
            NodeBody::Directory(entries) => NODE + ENTRY * entries.len(),
            NodeBody::File(_) => NODE,
        }
    }

    fn entries(&self) -> usize {
        match &self.body {
            NodeBody::Directory(entries) => entries.len(),
            _ => 0,
        }
    }
}

/// The part of a node that operations look at.
#[derive(Debug, Clone)]
pub(super) struct NodeStatus {
    pub(super) kind: FileType,
    pub(super) attributes: FileAttributes,
    pub(super) size: u64,
}

/// A new node.
pub(super) enum NewNode<'a> {
    File { mode: u16 },
    Directory { mode: u16 },
    Symlink { target: &'a [u8] },
}

/// The tree of one dyno.
pub(super) struct WritableTree {
    slug: Option<Arc<Archive>>,
    layer: Option<Arc<BootLayer>>,
    /// Time of the boot, which unchanged nodes show.
    born: i64,
    own: HashMap<NodeKey, OwnNode>,
    /// Files that are open: the number of openings, and the file, which nodes without a name have nowhere else.
    open: HashMap<NodeKey, OpenNode>,
    next: u64,
    /// Number of names in the dyno's own directories.
    entries: usize,
    limit: usize,
    quota: Arc<BoundedCounter>,
    account: Arc<Account>,
    /// Charges nodes, names and links.
    charge: Charge,
}

struct OpenNode {
    count: u32,
    file: Weak<StoredFile>,
}

impl WritableTree {
    pub(super) fn new(
        slug: Option<Arc<Archive>>,
        layer: Option<Arc<BootLayer>>,
        born: i64,
        account: Arc<Account>,
    ) -> Self {
        let limits = account.tmp_limits();
        Self {
            slug,
            next: layer.as_ref().map_or(1, |layer| layer.next()),
            layer,
            born,
            own: HashMap::new(),
            open: HashMap::new(),
            entries: 0,
            limit: limits.nodes,
            quota: BoundedCounter::new(usize::try_from(limits.bytes).unwrap_or(usize::MAX)),
            charge: account.charge(Holding::Nodes),
            account,
        }
    }

    pub(super) fn has_app(&self) -> bool {
        self.slug.is_some()
    }

    fn of_layer(&self, key: NodeKey) -> Option<&LayerNode> {
        self.layer.as_ref()?.node(key)
    }

    fn of_slug(&self, key: NodeKey) -> Option<&ArchiveNode> {
        match (key, &self.slug) {
            (NodeKey::Slug(id), Some(slug)) => Some(slug.node(id)),
            _ => None,
        }
    }

    /// Returns the type of a node; a node that is gone has none.
    pub(super) fn kind(&self, key: NodeKey) -> Option<FileType> {
        if let Some(node) = self.own.get(&key) {
            return Some(match node.body {
                NodeBody::Directory(_) => FileType::Directory,
                NodeBody::File(_) => FileType::RegularFile,
                NodeBody::Symlink(_) => FileType::SymbolicLink,
            });
        }
        if let Some(node) = self.of_layer(key) {
            return Some(node.kind());
        }
        match self.of_slug(key) {
            Some(ArchiveNode::Directory { .. }) => Some(FileType::Directory),
            Some(ArchiveNode::File { .. }) => Some(FileType::RegularFile),
            Some(ArchiveNode::Symlink { .. }) => Some(FileType::SymbolicLink),
            None if key == NodeKey::TMP => Some(FileType::Directory),
            None => None,
        }
    }

    /// Returns what `stat` shows of a node.
    pub(super) fn status(&self, key: NodeKey) -> Option<NodeStatus> {
        let kind = self.kind(key)?;
        let mut attributes = self.attributes(key);
        let size = match kind {
            FileType::Directory => 4096,
            FileType::SymbolicLink => self.link_target(key).map_or(0, |target| target.len()) as u64,
            _ => match self.own.get(&key) {
                Some(OwnNode {
                    body: NodeBody::File(file),
                    ..
                }) => {
                    if let Some(written) = file.written() {
                        attributes.modified = written;
                        attributes.changed = written;
                    }
                    file.length() as u64
                }
                _ => self.shared(key).map_or(0, |shared| shared.bytes().len()) as u64,
            },
        };
        Some(NodeStatus {
            kind,
            attributes,
            size,
        })
    }

    fn attributes(&self, key: NodeKey) -> FileAttributes {
        if let Some(node) = self.own.get(&key) {
            return node.attributes;
        }
        if let Some(node) = self.of_layer(key) {
            return node.attributes;
        }
        let mode = match self.of_slug(key) {
            Some(ArchiveNode::File {
                executable: false, ..
            }) => 0o644,
            Some(ArchiveNode::Symlink { .. }) => 0o777,
            Some(_) => 0o755,
            None => 0o1777,
        };
        FileAttributes::new(mode, self.born)
    }

    /// Returns the permission bits of a node.
    pub(super) fn mode(&self, key: NodeKey) -> u16 {
        self.attributes(key).mode
    }

    /// Returns the bytes of a file that the dyno has not changed.
    fn shared(&self, key: NodeKey) -> Option<SharedBytes> {
        if let (Some(node), Some(layer)) = (self.of_layer(key), &self.layer) {
            return Some(SharedBytes::Layer(layer.clone(), node.file()?));
        }
        match (key, self.of_slug(key), &self.slug) {
            (NodeKey::Slug(id), Some(ArchiveNode::File { .. }), Some(slug)) => {
                Some(SharedBytes::Slug(slug.clone(), id))
            }
            _ => None,
        }
    }

    /// Returns the target of a symbolic link.
    pub(super) fn link_target(&self, key: NodeKey) -> Option<Vec<u8>> {
        if let Some(node) = self.own.get(&key) {
            return match &node.body {
                NodeBody::Symlink(target) => Some(target.to_vec()),
                _ => None,
            };
        }
        if let (Some(node), Some(layer)) = (self.of_layer(key), &self.layer) {
            return node.target(layer).map(<[u8]>::to_vec);
        }
        match self.of_slug(key) {
            Some(ArchiveNode::Symlink { target }) => Some(target.as_bytes().to_vec()),
            _ => None,
        }
    }

    /// Returns the names of a directory that differ from the slug's.
    fn changes(&self, key: NodeKey) -> Option<&Entries> {
        match self.own.get(&key) {
            Some(OwnNode {
                body: NodeBody::Directory(entries),
                ..
            }) => Some(entries),
            Some(_) => None,
            None => self.of_layer(key)?.entries(),
        }
    }

    fn child_of_slug(&self, key: NodeKey, name: &[u8]) -> Option<NodeKey> {
        let (NodeKey::Slug(id), Some(slug)) = (key, &self.slug) else {
            return None;
        };
        let name = std::str::from_utf8(name).ok()?;
        slug.child(id, name).map(NodeKey::Slug)
    }

    /// Finds the entry `name` of a directory.
    pub(super) fn child(&self, directory: NodeKey, name: &[u8]) -> Option<NodeKey> {
        match self.changes(directory).and_then(|own| own.get(name)) {
            Some(changed) => *changed,
            None => self.child_of_slug(directory, name),
        }
    }

    /// Returns the names and nodes of a directory, sorted by name.
    pub(super) fn entries(&self, directory: NodeKey) -> Vec<(Vec<u8>, NodeKey)> {
        let changes = self.changes(directory);
        let mut all: Vec<(Vec<u8>, NodeKey)> = Vec::new();
        if let Some(ArchiveNode::Directory { entries }) = self.of_slug(directory) {
            let unchanged = entries
                .iter()
                .filter(|(name, _)| changes.is_none_or(|own| !own.contains_key(name.as_bytes())));
            all.extend(unchanged.map(|(name, id)| (name.as_bytes().to_vec(), NodeKey::Slug(*id))));
        }
        for (name, key) in changes.into_iter().flatten() {
            all.extend(key.map(|key| (name.clone(), key)));
        }
        all.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        all
    }

    fn is_empty(&self, directory: NodeKey) -> bool {
        self.entries(directory).is_empty()
    }

    fn charge_more(&mut self, bytes: usize) -> Result<(), Errno> {
        let charged = self.charge.try_resize(self.charge.bytes() + bytes);
        charged.map_err(|_| Errno::Nospc)
    }

    fn charge_less(&mut self, bytes: usize) {
        let left = self.charge.bytes().saturating_sub(bytes);
        let _ = self.charge.try_resize(left);
    }

    /// Returns the dyno's own copy of a node, which it makes of an unchanged one.
    fn own(&mut self, key: NodeKey) -> Result<&mut OwnNode, Errno> {
        if !self.own.contains_key(&key) {
            let kind = self.kind(key).ok_or(Errno::Noent)?;
            let body = match kind {
                FileType::Directory => {
                    NodeBody::Directory(self.changes(key).cloned().unwrap_or_default())
                }
                FileType::SymbolicLink => {
                    NodeBody::Symlink(self.link_target(key).unwrap_or_default().into())
                }
                _ => NodeBody::File(self.opened_file(key)?),
            };
            let attributes = self.attributes(key);
            self.insert(key, OwnNode { body, attributes })?;
        }
        self.own.get_mut(&key).ok_or(Errno::Noent)
    }

    fn insert(&mut self, key: NodeKey, node: OwnNode) -> Result<(), Errno> {
        let entries = node.entries();
        if self.own.len() >= self.limit || self.entries + entries > self.limit {
            return Err(Errno::Nospc);
        }
        self.charge_more(node.bytes())?;
        self.entries += entries;
        self.own.insert(key, node);
        Ok(())
    }

    /// Returns the file that has been opened as `key`, or another one with the same bytes.
    fn opened_file(&self, key: NodeKey) -> Result<Arc<StoredFile>, Errno> {
        let opened = self.open.get(&key).and_then(|open| open.file.upgrade());
        match opened {
            Some(file) => Ok(file),
            None => StoredFile::new(self.shared(key), &self.quota, &self.account),
        }
    }

    /// Opens a file: it stays after its last name is gone until [`Self::close`].
    pub(super) fn open(&mut self, key: NodeKey, writes: bool) -> Result<Arc<StoredFile>, Errno> {
        if writes {
            self.own(key)?;
        }
        let file = match self.own.get(&key).map(|node| &node.body) {
            Some(NodeBody::File(file)) => file.clone(),
            Some(_) => return Err(Errno::Inval),
            None => self.opened_file(key)?,
        };
        let open = self.open.entry(key).or_insert_with(|| OpenNode {
            count: 0,
            file: Weak::new(),
        });
        open.count += 1;
        open.file = Arc::downgrade(&file);
        Ok(file)
    }

    /// Ends one opening of a file.
    pub(super) fn close(&mut self, key: NodeKey) {
        let Some(open) = self.open.get_mut(&key) else {
            return;
        };
        open.count -= 1;
        if open.count == 0 {
            self.open.remove(&key);
            self.collect(key);
        }
    }

    /// Forgets a node that has no name and is not open.
    fn collect(&mut self, key: NodeKey) {
        let is_gone = |node: &OwnNode| node.attributes.links == 0;
        if self.open.contains_key(&key) || !self.own.get(&key).is_some_and(is_gone) {
            return;
        }
        if let Some(node) = self.own.remove(&key) {
            self.charge_less(node.bytes());
            self.entries -= node.entries();
        }
        // The table keeps its room after many nodes were removed, which the charge no longer covers.
        if self.own.capacity() > 4 * self.own.len() + 64 {
            self.own.shrink_to_fit();
        }
    }

    /// Adds `node` as `name` to `directory`, which has no such entry.
    pub(super) fn add(
        &mut self,
        directory: NodeKey,
        name: &[u8],
        node: NewNode<'_>,
    ) -> Result<NodeKey, Errno> {
        let (body, mode) = match node {
            NewNode::File { mode } => {
                let file = StoredFile::new(None, &self.quota, &self.account)?;
                (NodeBody::File(file), mode)
            }
            NewNode::Directory { mode } => (NodeBody::Directory(Entries::new()), mode),
            NewNode::Symlink { target } if target.len() > MAX_TARGET => {
                return Err(Errno::Nametoolong);
            }
            NewNode::Symlink { target: [] } => return Err(Errno::Noent),
            NewNode::Symlink { target } => (NodeBody::Symlink(target.into()), 0o777),
        };
        let attributes = FileAttributes::new(mode, wall_now());
        let key = NodeKey::New(self.next);
        self.insert(key, OwnNode { body, attributes })?;
        if let Err(error) = self.set_entry(directory, name, Some(key)) {
            if let Some(node) = self.own.get_mut(&key) {
                node.attributes.links = 0;
            }
            self.collect(key);
            return Err(error);
        }
        self.next += 1;
        Ok(key)
    }

    /// Makes `name` in `directory` stand for `key`, or for nothing.
    fn set_entry(
        &mut self,
        directory: NodeKey,
        name: &[u8],
        key: Option<NodeKey>,
    ) -> Result<(), Errno> {
        if name.len() > MAX_NAME {
            return Err(Errno::Nametoolong);
        }
        self.own(directory)?;
        // A name of the slug stays hidden; any other name leaves nothing behind.
        let hides = key.is_none() && self.child_of_slug(directory, name).is_none();
        let known = self
            .changes(directory)
            .is_some_and(|own| own.contains_key(name));
        let is_new = !known && !hides;
        if is_new {
            if self.entries >= self.limit {
                return Err(Errno::Nospc);
            }
            self.charge_more(ENTRY)?;
            self.entries += 1;
        }
        let node = self.own(directory)?;
        let now = wall_now();
        node.attributes.modified = now;
        node.attributes.changed = now;
        let NodeBody::Directory(entries) = &mut node.body else {
            return Err(Errno::Notdir);
        };
        if hides {
            if entries.remove(name).is_some() {
                self.charge_less(ENTRY);
                self.entries -= 1;
            }
        } else {
            entries.insert(name.to_vec(), key);
        }
        Ok(())
    }

    /// Removes one name of a node.
    fn forget_name(&mut self, key: NodeKey) -> Result<(), Errno> {
        let is_shared = !self.own.contains_key(&key);
        if is_shared && !self.open.contains_key(&key) && self.attributes(key).links == 1 {
            return Ok(());
        }
        let attributes = self.attributes_mut(key)?;
        attributes.links = attributes.links.saturating_sub(1);
        attributes.changed = wall_now();
        self.collect(key);
        Ok(())
    }

    /// Returns the attributes of a node for a change, with the times of all writes so far.
    pub(super) fn attributes_mut(&mut self, key: NodeKey) -> Result<&mut FileAttributes, Errno> {
        let node = self.own(key)?;
        if let NodeBody::File(file) = &node.body
            && let Some(written) = file.forget_written()
        {
            node.attributes.modified = written;
            node.attributes.changed = written;
        }
        Ok(&mut node.attributes)
    }

    /// Removes a file or link.
    pub(super) fn unlink(&mut self, directory: NodeKey, name: &[u8]) -> Result<(), Errno> {
        let key = self.child(directory, name).ok_or(Errno::Noent)?;
        if self.kind(key) == Some(FileType::Directory) {
            return Err(Errno::Isdir);
        }
        self.forget_name(key)?;
        self.set_entry(directory, name, None)
    }

    /// Removes an empty directory.
    pub(super) fn remove_directory(
        &mut self,
        directory: NodeKey,
        name: &[u8],
    ) -> Result<(), Errno> {
        let key = self.child(directory, name).ok_or(Errno::Noent)?;
        if self.kind(key) != Some(FileType::Directory) {
            return Err(Errno::Notdir);
        }
        if !self.is_empty(key) {
            return Err(Errno::Notempty);
        }
        self.forget_name(key)?;
        self.set_entry(directory, name, None)
    }

    /// Gives a file or link a further name, which must be free.
    pub(super) fn link(
        &mut self,
        key: NodeKey,
        directory: NodeKey,
        name: &[u8],
    ) -> Result<(), Errno> {
        if self.kind(key) == Some(FileType::Directory) {
            return Err(Errno::Perm);
        }
        self.set_entry(directory, name, Some(key))?;
        match self.attributes_mut(key) {
            Ok(attributes) => {
                attributes.links += 1;
                attributes.changed = wall_now();
                Ok(())
            }
            Err(error) => {
                let _ = self.set_entry(directory, name, None);
                Err(error)
            }
        }
    }

    /// Renames a node, replacing a file or an empty directory that has the new name.
    pub(super) fn rename(
        &mut self,
        from: (NodeKey, &[u8]),
        to: (NodeKey, &[u8]),
    ) -> Result<(), Errno> {
        let key = self.child(from.0, from.1).ok_or(Errno::Noent)?;
        let existing = self.child(to.0, to.1);
        if existing == Some(key) {
            return Ok(());
        }
        let is_directory = |key| self.kind(key) == Some(FileType::Directory);
        let moves_directory = is_directory(key);
        if moves_directory && self.contains(key, to.0) {
            return Err(Errno::Inval);
        }
        if let Some(existing) = existing {
            match (moves_directory, is_directory(existing)) {
                (true, false) => return Err(Errno::Notdir),
                (false, true) if self.contains(existing, from.0) => return Err(Errno::Notempty),
                (false, true) => return Err(Errno::Isdir),
                (true, true) if !self.is_empty(existing) => return Err(Errno::Notempty),
                _ => {}
            }
        }
        self.set_entry(to.0, to.1, Some(key))?;
        if let Err(error) = self.set_entry(from.0, from.1, None) {
            let _ = self.set_entry(to.0, to.1, existing);
            return Err(error);
        }
        if let Some(existing) = existing {
            self.forget_name(existing)?;
        }
        Ok(())
    }

    /// Returns whether `inner` is `outer` or lies below it.
    fn contains(&self, outer: NodeKey, inner: NodeKey) -> bool {
        let mut remaining = vec![outer];
        while let Some(key) = remaining.pop() {
            if key == inner {
                return true;
            }
            let directories = self.entries(key).into_iter().map(|(_, child)| child);
            remaining
                .extend(directories.filter(|child| self.kind(*child) == Some(FileType::Directory)));
        }
        false
    }

    /// Tells whether the dyno has changed nothing since it was made.
    pub(super) fn is_unchanged(&self) -> bool {
        self.own.is_empty()
    }

    /// Collects the nodes that the boot and this dyno have made or changed, except those that nothing leads to any more.
    pub(super) fn collected(&self) -> Vec<(NodeKey, FileAttributes, CollectedBody)> {
        let mut found = Vec::new();
        let mut seen = std::collections::HashSet::new();
        let mut remaining = vec![NodeKey::TMP];
        if self.has_app() {
            remaining.push(NodeKey::APP);
        }
        remaining.extend(self.open.keys());
        while let Some(key) = remaining.pop() {
            if !seen.insert(key) {
                continue;
            }
            let Some(status) = self.status(key) else {
                continue;
            };
            if status.kind == FileType::Directory {
                remaining.extend(self.entries(key).into_iter().map(|(_, child)| child));
            }
            let is_changed = self.own.contains_key(&key) || self.of_layer(key).is_some();
            if !is_changed {
                continue;
            }
            let body = match status.kind {
                FileType::Directory => {
                    CollectedBody::Directory(self.changes(key).cloned().unwrap_or_default())
                }
                FileType::SymbolicLink => {
                    CollectedBody::Symlink(self.link_target(key).unwrap_or_default())
                }
                _ => {
                    let bytes = match self.own.get(&key).map(|node| &node.body) {
                        Some(NodeBody::File(file)) => file.with_bytes(<[u8]>::to_vec),
                        _ => self
                            .shared(key)
                            .map_or_else(Vec::new, |shared| shared.bytes().to_vec()),
                    };
                    CollectedBody::File(bytes)
                }
            };
            found.push((key, status.attributes, body));
        }
        found
    }

    /// Returns the number of the next new node.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Refuses to remove or rename the roots themselves.
    pub(super) fn check_not_root(key: NodeKey) -> Result<(), Errno> {
        if key.is_root() {
            return Err(Errno::Busy);
        }
        Ok(())
    }
}

/// The content of a node in the image.
pub(super) enum CollectedBody {
    Directory(Entries),
    File(Vec<u8>),
    Symlink(Vec<u8>),
}

impl fmt::Debug for WritableTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WritableTree")
            .field("own", &self.own.len())
            .field("open", &self.open.len())
            .finish_non_exhaustive()
    }
}
