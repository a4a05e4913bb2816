//! Operations on paths: the file calls of POSIX, with the results and errors of Linux.

use std::sync::Arc;

use wasi_common::SystemTimeSpec;
use wasi_common::file::{FdFlags, FileAccessMode, FileType};
use wasi_common::snapshots::preview_1::types::Errno;

use super::clocks::{nanoseconds, wall_now};
use super::directory::OpenDirectory;
use super::file::{FileContent, OpenFile};
use super::node::{Dev, NodeKey, OpenSource, Vnode};
use super::proc_files;
use super::tree::{
    FileStatus, Filesystem, LastLink, LastPart, MAY_READ, MAY_SEARCH, MAY_WRITE, ResolvedPath, may,
};
use super::volume_times::volume_times;
use super::writable::{NewNode, WritableTree};

/// Permission bits that `chmod` changes.
const MODE_BITS: u16 = 0o7777;

/// The flags of `open`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OpenRequest {
    pub(super) access: FileAccessMode,
    pub(super) create: bool,
    pub(super) exclusive: bool,
    pub(super) truncate: bool,
    /// Only a directory may be opened.
    pub(super) directory: bool,
    /// A symbolic link at the end of the path is followed.
    pub(super) follow: bool,
    /// Flags that the open file keeps.
    pub(super) flags: FdFlags,
    /// Permission bits of a new file.
    pub(super) mode: u16,
}

/// The result of `open`.
#[derive(Clone)]
pub(super) enum Opened {
    File(Arc<OpenFile>),
    Directory(Arc<OpenDirectory>),
    /// A copy of a standard stream, 0 to 2.
    StandardStream(u32),
}

impl Filesystem {
    /// Opens a file or directory.
    ///
    /// # Errors
    ///
    /// Those of open(2).
    pub(super) fn open(
        self: &Arc<Self>,
        from: &[Vnode],
        path: &[u8],
        request: OpenRequest,
    ) -> Result<Opened, Errno> {
        if request.create && request.directory {
            return Err(Errno::Inval);
        }
        let writes = request.access.contains(FileAccessMode::WRITE);
        let creates_new = request.create && request.exclusive;
        let last = match request.follow && !creates_new {
            true => LastLink::Follow,
            false => LastLink::Keep,
        };
        // A name that ends in a slash is a directory, which `open` does not make.
        if request.create && path.ends_with(b"/") {
            let trimmed = self.resolve(from, trim(path), LastLink::Keep)?;
            if matches!(trimmed.last, LastPart::Name(_)) {
                return Err(Errno::Isdir);
            }
        }
        let resolved = self.resolve(from, path, last)?;
        let existing = resolved.existing()?;
        if existing.is_some() && creates_new {
            return Err(Errno::Exist);
        }
        if let (Vnode::Volume(directory), LastPart::Name(name)) =
            (resolved.parent(), &resolved.last)
            && existing.is_none()
            && request.create
        {
            match self.volume()?.create(directory, name, request.mode)? {
                Some(file) => {
                    let node = Vnode::Volume(file.inode());
                    let content = FileContent::Volume(file);
                    let file =
                        OpenFile::new(content, node, request.flags, request.access, self.clone());
                    return Ok(Opened::File(Arc::new(file?)));
                }
                None if creates_new => return Err(Errno::Exist),
                // Another dyno has made it meanwhile.
                None => {
                    let create = false;
                    return self.open(from, path, OpenRequest { create, ..request });
                }
            }
        }
        let (node, is_new) = match existing {
            Some(node) => (node, false),
            None if request.create => (self.create_file(&resolved, request.mode)?, true),
            None => return Err(Errno::Noent),
        };
        let kind = self.kind(node).ok_or(Errno::Noent)?;
        if kind == FileType::SymbolicLink {
            return Err(if request.directory {
                Errno::Notdir
            } else {
                Errno::Loop
            });
        }
        if kind == FileType::Directory {
            if writes || request.create || request.truncate {
                return Err(Errno::Isdir);
            }
            if let Vnode::Writable(key) = node {
                may(&self.writable(), key, MAY_READ)?;
            }
            let trail = resolved.into_trail();
            let directory = OpenDirectory::new(self.clone(), trail)?;
            return Ok(Opened::Directory(Arc::new(directory)));
        }
        if request.directory {
            return Err(Errno::Notdir);
        }
        // The creator of a file has it open even if its mode forbids that.
        if !is_new {
            self.check_access(node, request)?;
        }
        let file = self.open_node(node, request.flags, request.access, request.truncate)?;
        if request.truncate && !is_new && matches!(node, Vnode::Writable(_) | Vnode::Volume(_)) {
            file.truncate()?;
        }
        Ok(Opened::File(file))
    }

    fn check_access(&self, node: Vnode, request: OpenRequest) -> Result<(), Errno> {
        let writes = request.access.contains(FileAccessMode::WRITE);
        let changes = writes || request.truncate;
        match node {
            Vnode::Writable(key) => {
                let mut bits = 0;
                if request.access.contains(FileAccessMode::READ) {
                    bits |= MAY_READ;
                }
                if changes {
                    bits |= MAY_WRITE;
                }
                may(&self.writable(), key, bits)
            }
            // The owner may do everything with the files of a volume.
            Vnode::Dev(_) | Vnode::Volume(_) => Ok(()),
            _ if changes => Err(Errno::Rofs),
            _ => Ok(()),
        }
    }

    /// Opens a node, without any check.
    fn open_node(
        self: &Arc<Self>,
        node: Vnode,
        flags: FdFlags,
        access: FileAccessMode,
        truncates: bool,
    ) -> Result<Arc<OpenFile>, Errno> {
        let writes = access.contains(FileAccessMode::WRITE) || truncates;
        let content = match node {
            Vnode::Pack(id) => FileContent::Pack(self.pack().clone(), id),
            Vnode::Writable(key) => FileContent::Stored(self.writable().open(key, writes)?),
            Vnode::Proc(file) => {
                FileContent::Bytes(proc_files::content(self, file).ok_or(Errno::Isdir)?)
            }
            Vnode::Volume(inode) => FileContent::Volume(self.volume()?.open(inode)?),
            Vnode::Dev(Dev::Null) => FileContent::Null,
            Vnode::Dev(Dev::Zero) => FileContent::Zero,
            Vnode::Dev(Dev::Full) => FileContent::Full,
            Vnode::Dev(Dev::Random) => FileContent::Random,
            Vnode::Root | Vnode::Dev(Dev::Directory) => return Err(Errno::Isdir),
        };
        let file = OpenFile::new(content, node, flags, access, self.clone());
        if let (Err(_), Vnode::Writable(key)) = (&file, node) {
            self.writable().close(key);
        }
        Ok(Arc::new(file?))
    }

    /// Opens again what a boot has left open.
    pub(super) fn reopen(
        self: &Arc<Self>,
        source: OpenSource,
        flags: FdFlags,
        access: FileAccessMode,
    ) -> Result<Arc<OpenFile>, Errno> {
        let node = match source {
            OpenSource::Writable(key) => Vnode::Writable(key),
            OpenSource::Pack(id) => Vnode::Pack(id),
            OpenSource::Dev(device) => Vnode::Dev(device),
            OpenSource::StandardStream(_) => return Err(Errno::Badf),
        };
        self.open_node(node, flags, access, false)
    }

    fn check_not_mounted(&self, node: Vnode) -> Result<(), Errno> {
        match node {
            Vnode::Writable(key) => WritableTree::check_not_root(key),
            Vnode::Volume(inode) if inode == self.volume()?.root() => Err(Errno::Busy),
            _ => Ok(()),
        }
    }

    fn create_file(&self, path: &ResolvedPath, mode: u16) -> Result<Vnode, Errno> {
        let mut tree = self.writable();
        let (directory, name) = changeable(&tree, path)?;
        let mode = mode & MODE_BITS;
        let key = tree.add(directory, name, NewNode::File { mode })?;
        Ok(Vnode::Writable(key))
    }

    /// Returns what `stat` shows of a path.
    pub(super) fn status_of(
        &self,
        from: &[Vnode],
        path: &[u8],
        last: LastLink,
    ) -> Result<FileStatus, Errno> {
        let node = self.resolve(from, path, last)?.node()?;
        self.status(node)
    }

    /// Makes a directory.
    pub(super) fn make_directory(
        &self,
        from: &[Vnode],
        path: &[u8],
        mode: u16,
    ) -> Result<(), Errno> {
        // `mkdir("name/")` does not follow a link.
        let trimmed = trim(path);
        let resolved = self.resolve(from, trimmed, LastLink::Keep)?;
        if resolved.existing()?.is_some() {
            return Err(Errno::Exist);
        }
        if let Some((directory, name)) = in_volume(&resolved) {
            return self.volume()?.make_directory(directory, name, mode);
        }
        let mut tree = self.writable();
        let (directory, name) = changeable(&tree, &resolved)?;
        let mode = mode & MODE_BITS;
        tree.add(directory, name, NewNode::Directory { mode })?;
        Ok(())
    }

    /// Removes an empty directory.
    pub(super) fn remove_directory(&self, from: &[Vnode], path: &[u8]) -> Result<(), Errno> {
        // A link is no directory, even if its target is one.
        let resolved = self.resolve(from, trim(path), LastLink::Keep)?;
        match resolved.last {
            LastPart::Dot if resolved.parents.len() > 1 => return Err(Errno::Inval),
            LastPart::Dot => return Err(Errno::Busy),
            LastPart::DotDot => return Err(Errno::Notempty),
            LastPart::Name(_) => {}
        }
        self.check_not_mounted(resolved.node()?)?;
        if let Some((directory, name)) = in_volume(&resolved) {
            return self.volume()?.remove_directory(directory, name);
        }
        let mut tree = self.writable();
        let (directory, name) = changeable(&tree, &resolved)?;
        tree.remove_directory(directory, name)
    }

    /// Removes a file or link.
    pub(super) fn unlink(&self, from: &[Vnode], path: &[u8]) -> Result<(), Errno> {
        let resolved = self.resolve(from, trim(path), LastLink::Keep)?;
        if self.kind(resolved.node()?) == Some(FileType::Directory) {
            return Err(Errno::Isdir);
        }
        if path.ends_with(b"/") {
            return Err(Errno::Notdir);
        }
        if let Some((directory, name)) = in_volume(&resolved) {
            return self.volume()?.unlink(directory, name);
        }
        let mut tree = self.writable();
        let (directory, name) = changeable(&tree, &resolved)?;
        tree.unlink(directory, name)
    }

    /// Makes a symbolic link to `target`.
    pub(super) fn symlink(&self, target: &[u8], from: &[Vnode], path: &[u8]) -> Result<(), Errno> {
        if target.is_empty() {
            return Err(Errno::Noent);
        }
        let resolved = self.resolve(from, trim(path), LastLink::Keep)?;
        if resolved.existing()?.is_some() {
            return Err(Errno::Exist);
        }
        if path.ends_with(b"/") {
            return Err(Errno::Noent);
        }
        if let Some((directory, name)) = in_volume(&resolved) {
            return self.volume()?.symlink(target, directory, name);
        }
        let mut tree = self.writable();
        let (directory, name) = changeable(&tree, &resolved)?;
        tree.add(directory, name, NewNode::Symlink { target })?;
        Ok(())
    }

    /// Gives a file a further name.
    pub(super) fn link(
        &self,
        from: (&[Vnode], &[u8]),
        last: LastLink,
        to: (&[Vnode], &[u8]),
    ) -> Result<(), Errno> {
        let old = self.resolve(from.0, from.1, last)?;
        let node = old.node()?;
        let new = self.resolve(to.0, trim(to.1), LastLink::Keep)?;
        if new.existing()?.is_some() {
            return Err(Errno::Exist);
        }
        if to.1.ends_with(b"/") {
            return Err(Errno::Noent);
        }
        match (node, in_volume(&new)) {
            (Vnode::Volume(inode), Some((directory, name))) => {
                return self.volume()?.link(inode, directory, name);
            }
            (Vnode::Volume(_), None) | (_, Some(_)) => return Err(Errno::Xdev),
            _ => {}
        }
        let mut tree = self.writable();
        let (directory, name) = changeable(&tree, &new)?;
        match node {
            Vnode::Writable(key) => tree.link(key, directory, name),
            node if self.kind_in(&tree, node) == Some(FileType::Directory) => Err(Errno::Perm),
            _ => Err(Errno::Xdev),
        }
    }

    /// Renames a file, link or directory.
    pub(super) fn rename(
        &self,
        from: (&[Vnode], &[u8]),
        to: (&[Vnode], &[u8]),
    ) -> Result<(), Errno> {
        // Only directories may be named with a slash at the end, and links are not followed.
        let [old, new] = [from, to].map(|(trail, path)| (trail, trim(path)));
        let has_slash = from.1.len() > old.1.len() || to.1.len() > new.1.len();
        let old = self.resolve(old.0, old.1, LastLink::Keep)?;
        let new = self.resolve(new.0, new.1, LastLink::Keep)?;
        for path in [&old, &new] {
            if !matches!(path.last, LastPart::Name(_)) {
                return Err(Errno::Busy);
            }
        }
        let node = old.node()?;
        let replaced = new.existing()?;
        if has_slash && self.kind(node) != Some(FileType::Directory) {
            return Err(Errno::Notdir);
        }
        for node in [Some(node), replaced].into_iter().flatten() {
            self.check_not_mounted(node)?;
        }
        match (in_volume(&old), in_volume(&new)) {
            (Some(from), Some(to)) => return self.volume()?.rename(from, to),
            (Some(_), None) | (None, Some(_)) => return Err(Errno::Xdev),
            (None, None) => {}
        }
        let mut tree = self.writable();
        let from = changeable(&tree, &old)?;
        let to = changeable(&tree, &new)?;
        tree.rename(from, to)
    }

    /// Returns the target of a symbolic link.
    pub(super) fn read_link(&self, from: &[Vnode], path: &[u8]) -> Result<Vec<u8>, Errno> {
        let node = self.resolve(from, path, LastLink::Keep)?.node()?;
        self.target_in(&self.writable(), node).ok_or(Errno::Inval)
    }

    /// Changes the permission bits of a path.
    pub(super) fn set_mode(
        &self,
        from: &[Vnode],
        path: &[u8],
        last: LastLink,
        mode: u16,
    ) -> Result<(), Errno> {
        let node = self.resolve(from, path, last)?.node()?;
        self.set_node_mode(node, mode)
    }

    pub(super) fn set_node_mode(&self, node: Vnode, mode: u16) -> Result<(), Errno> {
        if let Vnode::Volume(inode) = node {
            return self.volume()?.set_mode(inode, mode);
        }
        let Vnode::Writable(key) = node else {
            return Err(Errno::Rofs);
        };
        let mut tree = self.writable();
        if tree.kind(key) == Some(FileType::SymbolicLink) {
            return Err(Errno::Notsup);
        }
        let attributes = tree.attributes_mut(key)?;
        attributes.mode = mode & MODE_BITS;
        attributes.changed = wall_now();
        Ok(())
    }

    /// Changes the times of a path.
    pub(super) fn set_times(
        &self,
        from: &[Vnode],
        path: &[u8],
        last: LastLink,
        accessed: Option<SystemTimeSpec>,
        modified: Option<SystemTimeSpec>,
    ) -> Result<(), Errno> {
        let node = self.resolve(from, path, last)?.node()?;
        self.set_node_times(node, accessed, modified)
    }

    pub(super) fn set_node_times(
        &self,
        node: Vnode,
        accessed: Option<SystemTimeSpec>,
        modified: Option<SystemTimeSpec>,
    ) -> Result<(), Errno> {
        if let Vnode::Volume(inode) = node {
            let times = volume_times(accessed, modified);
            return self.volume()?.set_times(inode, &times);
        }
        let Vnode::Writable(key) = node else {
            return Err(Errno::Rofs);
        };
        let now = wall_now();
        let time = |spec| match spec {
            SystemTimeSpec::SymbolicNow => now,
            SystemTimeSpec::Absolute(time) => nanoseconds(time.into_std()),
        };
        let mut tree = self.writable();
        let attributes = tree.attributes_mut(key)?;
        if let Some(accessed) = accessed {
            attributes.accessed = time(accessed);
        }
        if let Some(modified) = modified {
            attributes.modified = time(modified);
        }
        attributes.changed = now;
        Ok(())
    }

    /// Returns the path of a directory from the root, without links, `.` and `..`, as getcwd(3) shows it.
    ///
    /// # Errors
    ///
    /// `ENOTDIR` if the path names no directory, `EACCES` if it may not be entered, and those of the resolution.
    pub(super) fn real_directory(&self, from: &[Vnode], path: &[u8]) -> Result<Vec<u8>, Errno> {
        let trail = self.resolve(from, path, LastLink::Follow)?;
        let node = trail.node()?;
        if self.kind(node) != Some(FileType::Directory) {
            return Err(Errno::Notdir);
        }
        if let Vnode::Writable(key) = node {
            may(&self.writable(), key, MAY_SEARCH)?;
        }
        let trail = trail.into_trail();
        let mut name = Vec::new();
        for pair in trail.windows(2) {
            let [parent, child] = pair else { continue };
            if let Vnode::Volume(inode) = child
                && let Some(found) = self.volume()?.name(*inode)
            {
                name.push(b'/');
                name.extend(found);
                continue;
            }
            let entries = self.entries(*parent);
            let entry = entries.into_iter().find(|(_, node)| node == child);
            name.push(b'/');
            name.extend(entry.ok_or(Errno::Noent)?.0);
        }
        if name.is_empty() {
            name.push(b'/');
        }
        Ok(name)
    }
}

/// Returns the directory of `/app` or `/tmp` and the name in it that a change concerns.
///
/// # Errors
///
/// `EROFS` outside of `/app` and `/tmp`, `EACCES` if the directory's permissions forbid changes.
fn changeable<'a>(
    tree: &WritableTree,
    path: &'a ResolvedPath,
) -> Result<(NodeKey, &'a [u8]), Errno> {
    match (path.parent(), &path.last) {
        (Vnode::Writable(key), LastPart::Name(name)) => {
            may(tree, key, MAY_WRITE | MAY_SEARCH)?;
            // A directory that has been removed takes no new names.
            tree.kind(key).ok_or(Errno::Noent)?;
            Ok((key, name))
        }
        _ => Err(Errno::Rofs),
    }
}

/// Returns the directory of the volume and the name in it that a path leads to.
fn in_volume(path: &ResolvedPath) -> Option<(u64, &[u8])> {
    match (path.parent(), &path.last) {
        (Vnode::Volume(directory), LastPart::Name(name)) => Some((directory, name)),
        _ => None,
    }
}

/// Removes slashes from the end of a path, except from the root's.
fn trim(path: &[u8]) -> &[u8] {
    let length = path.iter().rposition(|byte| *byte != b'/');
    match length {
        Some(last) => &path[..=last],
        None => &path[..path.len().min(1)],
    }
}
