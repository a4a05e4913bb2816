//! The descriptors of a dyno's files and directories, beside WASI's table of all descriptors.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use wasi_common::WasiCtx;
use wasi_common::file::{FdFlags, FileAccessMode};
use wasi_common::snapshots::preview_1::types::Errno;

use super::FIRST_DIRECTORY;
use super::directory::{DirectoryHandle, OpenDirectory};
use super::file::{FileHandle, OpenFile};
use super::layer::{BootLayer, LayerDescriptor};
use super::locks::LockKind;
use super::node::{OpenSource, Vnode};
use super::operations::{OpenRequest, Opened};
use super::standard_stream;
use super::tree::{FileStatus, Filesystem};
use crate::volume::{SyncKind, set_file_mode};

/// Most descriptors of a dyno: their numbers are below the limit of Linux.
pub(super) const MAX_DESCRIPTOR: u32 = 1024;

/// Files, directories and copies of standard streams by descriptor. Sockets and the streams themselves are not among them.
pub(crate) struct Descriptors {
    filesystem: Arc<Filesystem>,
    /// Trails of the preopened directories, the first of which is the root; `None` for closed ones.
    preopened: Vec<Option<Vec<Vnode>>>,
    open: HashMap<u32, Opened>,
}

impl Descriptors {
    /// Opens the root, the pack's upper directories, and what the boot has left open, in `wasi`.
    ///
    /// A guest may contain an embedded tree of its own (the npm builds of MRI contain an empty `/usr`), which only a
    /// preopened directory with a longer name overrides. The descriptors are the same in every dyno of a pack.
    pub(super) fn new(filesystem: &Arc<Filesystem>, wasi: &WasiCtx) -> Self {
        let mut paths = vec![("/".to_owned(), vec![Vnode::Root])];
        paths.extend(filesystem.pack_directories());
        let mut preopened = Vec::with_capacity(paths.len());
        for (fd, (path, trail)) in (FIRST_DIRECTORY..).zip(paths) {
            wasi.insert_dir(fd, Box::new(DirectoryHandle), path.into());
            preopened.push(Some(trail));
        }
        let mut descriptors = Self {
            filesystem: filesystem.clone(),
            preopened,
            open: HashMap::new(),
        };
        if let Some(layer) = filesystem.layer() {
            descriptors.reopen(layer, wasi);
        }
        descriptors
    }

    fn reopen(&mut self, layer: &BootLayer, wasi: &WasiCtx) {
        let mut files: HashMap<u32, Arc<OpenFile>> = HashMap::new();
        for descriptor in layer.descriptors() {
            let mut access = FileAccessMode::empty();
            access.set(FileAccessMode::READ, descriptor.reads);
            access.set(FileAccessMode::WRITE, descriptor.writes);
            if let OpenSource::StandardStream(number) = descriptor.source {
                self.insert(wasi, descriptor.fd, Opened::StandardStream(number));
                continue;
            }
            let flags = FdFlags::from_bits_truncate(descriptor.flags);
            let shared = files.get(&descriptor.description).cloned();
            // A node without memory for the file leaves the descriptor closed.
            let file = shared.map_or_else(
                || {
                    self.filesystem
                        .reopen(descriptor.source, flags, access)
                        .inspect(|file| file.set_position(descriptor.position))
                },
                Ok,
            );
            if let Ok(file) = file {
                files.insert(descriptor.description, file.clone());
                self.insert(wasi, descriptor.fd, Opened::File(file));
            }
        }
    }

    fn insert(&mut self, wasi: &WasiCtx, fd: u32, opened: Opened) {
        match &opened {
            Opened::File(file) => {
                let handle = Box::new(FileHandle(file.clone()));
                wasi.insert_file(fd, handle, file.access());
            }
            Opened::Directory(_) => wasi.insert_dir(fd, Box::new(DirectoryHandle), PathBuf::new()),
            Opened::StandardStream(number) => standard_stream::insert(wasi, fd, *number),
        }
        self.open.insert(fd, opened);
    }

    pub(super) fn filesystem(&self) -> &Arc<Filesystem> {
        &self.filesystem
    }

    /// Returns the directories from the root to the one that `fd` stands for.
    ///
    /// # Errors
    ///
    /// `EBADF` or `ENOTDIR`.
    pub(super) fn trail(&self, fd: u32) -> Result<&[Vnode], Errno> {
        self.filesystem.begin_call();
        match self.open.get(&fd) {
            Some(Opened::Directory(directory)) => Ok(directory.trail()),
            Some(Opened::File(_) | Opened::StandardStream(_)) => Err(Errno::Notdir),
            None => self.preopened_trail(fd).ok_or(Errno::Badf),
        }
    }

    fn preopened_trail(&self, fd: u32) -> Option<&[Vnode]> {
        let index = fd.checked_sub(FIRST_DIRECTORY)? as usize;
        self.preopened.get(index)?.as_deref()
    }

    /// Returns the open file of a descriptor; `None` for any other.
    pub(super) fn file(&self, fd: u32) -> Option<&Arc<OpenFile>> {
        match self.open.get(&fd) {
            Some(Opened::File(file)) => Some(file),
            _ => None,
        }
    }

    /// Returns the directory of a descriptor for reading its entries.
    ///
    /// # Errors
    ///
    /// `EBADF` or `ENOTDIR`; `EMFILE` if the node has no memory for it.
    pub(super) fn directory(&mut self, fd: u32) -> Result<Arc<OpenDirectory>, Errno> {
        match self.open.get(&fd) {
            Some(Opened::Directory(directory)) => Ok(directory.clone()),
            Some(Opened::File(_) | Opened::StandardStream(_)) => Err(Errno::Notdir),
            None => {
                let trail = self.preopened_trail(fd).ok_or(Errno::Badf)?.to_vec();
                let opened = OpenDirectory::new(self.filesystem.clone(), trail)?;
                Ok(Arc::new(opened))
            }
        }
    }

    fn node(&self, fd: u32) -> Option<Vnode> {
        match self.open.get(&fd) {
            Some(Opened::File(file)) => Some(file.node()),
            Some(Opened::Directory(directory)) => Some(directory.node()),
            Some(Opened::StandardStream(_)) => None,
            None => self.preopened_trail(fd)?.last().copied(),
        }
    }

    /// Returns what `fstat` shows of a file or directory; `None` for any other descriptor.
    pub(crate) fn status(&self, fd: u32) -> Option<Result<FileStatus, Errno>> {
        if let Some(file) = self.file(fd) {
            return Some(file.status());
        }
        let node = self.node(fd)?;
        Some(self.filesystem.status(node))
    }

    /// Changes the permission bits of a file or directory.
    ///
    /// # Errors
    ///
    /// `EBADF` or `EINVAL` for another descriptor, and those of the change.
    pub(super) fn set_mode(&self, fd: u32, mode: u16) -> Result<(), Errno> {
        if let Some(file) = self.file(fd).and_then(|file| file.of_volume()) {
            return set_file_mode(file, mode);
        }
        let node = self.node(fd).ok_or(Errno::Badf)?;
        self.filesystem.set_node_mode(node, mode)
    }

    /// Opens a path relative to `directory` as the lowest free descriptor.
    ///
    /// # Errors
    ///
    /// Those of open(2).
    pub(super) fn open(
        &mut self,
        wasi: &WasiCtx,
        directory: u32,
        path: &[u8],
        request: OpenRequest,
    ) -> Result<u32, Errno> {
        let trail = self.trail(directory)?;
        let opened = self.filesystem.open(trail, path, request)?;
        let fd = free_descriptor(wasi, FIRST_DIRECTORY)?;
        self.insert(wasi, fd, opened);
        Ok(fd)
    }

    /// Returns the open file, directory or copy of a standard stream of a descriptor.
    pub(super) fn opened(&self, fd: u32) -> Option<Opened> {
        self.open.get(&fd).cloned()
    }

    /// Returns the standard stream that a descriptor stands for if it is no socket.
    pub(crate) fn standard_stream(&self, fd: u32) -> Option<u32> {
        match self.open.get(&fd) {
            Some(Opened::StandardStream(number)) => Some(*number),
            Some(_) => None,
            None => (fd < FIRST_DIRECTORY).then_some(fd),
        }
    }

    /// Makes `fd` a descriptor of an open file, in place of the one that it was.
    pub(super) fn replace(&mut self, wasi: &WasiCtx, fd: u32, opened: Opened) {
        self.closed(fd);
        self.insert(wasi, fd, opened);
    }

    /// Forgets a descriptor that has been closed.
    pub(crate) fn closed(&mut self, fd: u32) {
        if self.open.remove(&fd).is_none()
            && let Some(index) = fd.checked_sub(FIRST_DIRECTORY)
            && let Some(trail) = self.preopened.get_mut(index as usize)
        {
            *trail = None;
        }
    }

    /// Moves a descriptor, as `fd_renumber` has done in WASI's table.
    pub(crate) fn renumbered(&mut self, from: u32, to: u32) {
        if from == to {
            return;
        }
        let trail = self.preopened_trail(from).map(<[Vnode]>::to_vec);
        let opened = self.open.remove(&from);
        self.closed(to);
        match (opened, trail) {
            (Some(opened), _) => drop(self.open.insert(to, opened)),
            (None, Some(trail)) => {
                self.closed(from);
                let directory = OpenDirectory::new(self.filesystem.clone(), trail);
                let directory = directory.map(|directory| Opened::Directory(Arc::new(directory)));
                self.open.extend(directory.ok().map(|opened| (to, opened)));
            }
            (None, None) => {}
        }
    }

    /// Locks a file, or ends its lock with `kind` `None`.
    ///
    /// # Errors
    ///
    /// `EBADF` if `fd` is no file, `EAGAIN` if another open file's lock excludes this one.
    pub(super) fn lock(&self, fd: u32, kind: Option<LockKind>) -> Result<(), Errno> {
        let file = self.file(fd).ok_or(Errno::Badf)?;
        file.lock(kind)
    }

    /// Waits until the disk has a file or directory of a volume; returns `None` for any other descriptor.
    pub(crate) async fn sync(&self, fd: u32, kind: SyncKind) -> Option<Result<(), Errno>> {
        match self.open.get(&fd)? {
            Opened::File(file) => Some(file.of_volume()?.sync(kind).await),
            Opened::Directory(directory) => {
                let held = directory.held()?;
                Some(self.filesystem.volume().ok()?.sync(held).await)
            }
            Opened::StandardStream(_) => None,
        }
    }

    /// Makes sure that a range of a volume's file can be written; returns `None` for any other descriptor.
    pub(crate) fn allocate(&self, fd: u32, offset: u64, length: u64) -> Option<Result<(), Errno>> {
        let file = self.file(fd)?;
        let of_volume = file.of_volume()?;
        if !file.access().contains(FileAccessMode::WRITE) {
            return Some(Err(Errno::Badf));
        }
        Some(of_volume.allocate(offset, length))
    }

    /// Encodes the files of the tree and the open descriptors for an image. Returns nothing if the guest has changed no
    /// file and left none open.
    pub(crate) fn layer(&self) -> Option<Vec<u8>> {
        let mut open: Vec<(u32, &Opened)> =
            self.open.iter().map(|(fd, opened)| (*fd, opened)).collect();
        open.sort_by_key(|(fd, _)| *fd);
        let first = |file: &Arc<OpenFile>| {
            open.iter().position(
                |(_, other)| matches!(other, Opened::File(other) if Arc::ptr_eq(other, file)),
            )
        };
        let described = |(fd, opened): &(u32, &Opened)| match opened {
            Opened::File(file) => Some(LayerDescriptor {
                fd: *fd,
                description: first(file)? as u32,
                source: file.source()?,
                flags: file.flags().bits(),
                reads: file.access().contains(FileAccessMode::READ),
                writes: file.access().contains(FileAccessMode::WRITE),
                position: file.position(),
            }),
            Opened::StandardStream(number) => Some(LayerDescriptor {
                fd: *fd,
                description: *fd,
                source: OpenSource::StandardStream(*number),
                flags: 0,
                reads: *number == 0,
                writes: *number != 0,
                position: 0,
            }),
            Opened::Directory(_) => None,
        };
        let descriptors: Vec<_> = open.iter().filter_map(described).collect();
        BootLayer::encode(&self.filesystem.writable(), &descriptors)
    }
}

/// Returns the lowest free descriptor that is not below `least`.
///
/// # Errors
///
/// `EMFILE` if there is none.
pub(super) fn free_descriptor(wasi: &WasiCtx, least: u32) -> Result<u32, Errno> {
    let table = wasi.table();
    let free = (least..MAX_DESCRIPTOR).find(|fd| !table.contains_key(*fd));
    free.ok_or(Errno::Mfile)
}
