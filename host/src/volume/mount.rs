//! One dyno's view of its volume: nodes by inode, and the operations on names.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use rustix::fs::{AtFlags, Dir, FileType as HostType, Mode, OFlags, Stat, Timestamps};
use wasi_common::file::FileType;
use wasi_common::snapshots::preview_1::types::Errno;

use super::file::{ProcessLocks, SyncKind, VolumeFile, sync};
use super::usage::{blocks, bytes_of};
use super::{Volume, of_io, of_kernel, stat_of};
use crate::account::Account;
use crate::native::{RecordLock, RecordLockKind, find_record_lock, set_record_lock};
use crate::net::DescriptorPermit;

/// Nodes that one call may come across. Each directory among them takes a descriptor while the call runs.
const MAX_NODES: usize = 2048;
/// Permissions that the node itself needs: its user can always read, change and remove what a dyno has made.
const FILE_OWNER: u16 = 0o600;
const DIRECTORY_OWNER: u16 = 0o700;
/// Permission bits that a node of the host gets. Those that change the user of a program mean nothing here.
const MODE_BITS: u16 = 0o1777;
/// Longest wait for a record lock. Locks of the kernel's descriptions have no detection of deadlocks.
const LOCK_WAIT: Duration = Duration::from_secs(30);
/// Time after which a waiting dyno tries again. Another process of the node may have held the lock.
const LOCK_RETRY: Duration = Duration::from_millis(20);

/// A node of the volume: a name in a directory.
struct VolumeNode {
    /// `None` for the root.
    parent: Option<Arc<VolumeNode>>,
    name: Box<[u8]>,
    stat: Stat,
    /// The open directory, as long as something uses it.
    directory: Mutex<Weak<OwnedFd>>,
}

/// A directory that a dyno has open.
pub(crate) struct HeldDirectory {
    directory: Arc<OwnedFd>,
    _node: Arc<VolumeNode>,
    _permit: DescriptorPermit,
}

struct KnownNode {
    node: Arc<VolumeNode>,
    /// Keeps the directory open while the call runs.
    directory: Option<Arc<OwnedFd>>,
}

/// An entry of a directory.
pub(crate) struct ListedName {
    pub(crate) name: Vec<u8>,
    pub(crate) inode: u64,
    pub(crate) kind: FileType,
}

/// A volume in the file tree of one dyno.
pub(crate) struct VolumeMount {
    volume: Arc<Volume>,
    account: Arc<Account>,
    root: Arc<VolumeNode>,
    /// The nodes that the current call has come across, and those of open directories.
    nodes: Mutex<HashMap<u64, KnownNode>>,
    locks: Mutex<ProcessLocks>,
}

impl VolumeMount {
    pub(crate) fn new(volume: Arc<Volume>, account: Arc<Account>) -> Self {
        let root = Arc::new(VolumeNode {
            parent: None,
            name: Box::default(),
            stat: volume.stat,
            directory: Mutex::new(Arc::downgrade(&volume.root)),
        });
        Self {
            volume,
            account,
            root,
            nodes: Mutex::default(),
            locks: Mutex::default(),
        }
    }

    /// Returns the inode of the root.
    pub(crate) fn root(&self) -> u64 {
        self.root.stat.st_ino
    }

    fn nodes(&self) -> MutexGuard<'_, HashMap<u64, KnownNode>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the nodes of the last call, but for those of open directories.
    pub(crate) fn begin_call(&self) {
        let mut nodes = self.nodes();
        if !nodes.is_empty() {
            nodes.retain(|_, known| Arc::strong_count(&known.node) > 1);
            for known in nodes.values_mut() {
                known.directory = None;
            }
        }
    }

    fn node(&self, inode: u64) -> Result<Arc<VolumeNode>, Errno> {
        if inode == self.root() {
            return Ok(self.root.clone());
        }
        let known = self.nodes().get(&inode).map(|known| known.node.clone());
        known.ok_or(Errno::Noent)
    }

    /// Returns the open directory `inode`.
    fn directory(&self, inode: u64) -> Result<Arc<OwnedFd>, Errno> {
        self.directory_of(&*self.node(inode)?)
    }

    fn directory_of(&self, node: &VolumeNode) -> Result<Arc<OwnedFd>, Errno> {
        let Some(parent) = &node.parent else {
            return Ok(self.volume.root.clone());
        };
        let mut directory = node
            .directory
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = directory.upgrade() {
            return Ok(open);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let parent = self.directory_of(parent)?;
        let open = rustix::fs::openat(&parent, &*node.name, flags, Mode::empty());
        let open = Arc::new(open.map_err(of_kernel)?);
        let stat = rustix::fs::fstat(&open).map_err(of_kernel)?;
        if (stat.st_dev, stat.st_ino) != (self.volume.stat.st_dev, node.stat.st_ino) {
            return Err(Errno::Noent);
        }
        *directory = Arc::downgrade(&open);
        if let Some(known) = self.nodes().get_mut(&node.stat.st_ino) {
            known.directory = Some(open.clone());
        }
        Ok(open)
    }

    /// Finds the entry `name` of a directory. Devices, pipes, sockets and other filesystems are not there for a dyno.
    pub(crate) fn child(&self, directory: u64, name: &[u8]) -> Option<u64> {
        let parent = self.node(directory).ok()?;
        let stat = stat_of(&*self.directory_of(&parent).ok()?, name).ok()?;
        kind_of(&stat).filter(|_| stat.st_dev == self.volume.stat.st_dev)?;
        let mut nodes = self.nodes();
        let is_open = |known: &KnownNode| {
            let directory = &known.node.directory;
            let directory = directory.lock().unwrap_or_else(PoisonError::into_inner);
            directory.strong_count() > 0
        };
        if nodes.get(&stat.st_ino).is_some_and(is_open) {
            return Some(stat.st_ino);
        }
        if nodes.len() >= MAX_NODES {
            return None;
        }
        let node = Arc::new(VolumeNode {
            parent: Some(parent),
            name: name.into(),
            stat,
            directory: Mutex::default(),
        });
        let known = KnownNode {
            node,
            directory: None,
        };
        nodes.insert(stat.st_ino, known);
        Some(stat.st_ino)
    }

    /// Returns what the host shows of a node.
    pub(crate) fn stat(&self, inode: u64) -> Result<Stat, Errno> {
        let node = self.node(inode)?;
        let directory = node
            .directory
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match directory.upgrade() {
            Some(open) => rustix::fs::fstat(&open).map_err(of_kernel),
            None => Ok(node.stat),
        }
    }

    /// Returns the type of a node.
    pub(crate) fn kind(&self, inode: u64) -> Option<FileType> {
        kind_of(&self.node(inode).ok()?.stat)
    }

    /// Returns the name under which a node was found; the root has none.
    pub(crate) fn name(&self, inode: u64) -> Option<Vec<u8>> {
        let node = self.node(inode).ok()?;
        node.parent.as_ref()?;
        Some(node.name.to_vec())
    }

    /// Keeps a directory open.
    pub(crate) fn hold(&self, inode: u64) -> Result<HeldDirectory, Errno> {
        let permit = self.permit()?;
        let node = self.node(inode)?;
        Ok(HeldDirectory {
            directory: self.directory_of(&node)?,
            _node: node,
            _permit: permit,
        })
    }

    fn permit(&self) -> Result<DescriptorPermit, Errno> {
        self.account.network().take_descriptor().ok_or(Errno::Nfile)
    }

    /// Passes the names of a directory to `visit` until it fails.
    pub(crate) fn list(
        &self,
        inode: u64,
        mut visit: impl FnMut(ListedName) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let directory = self.directory(inode)?;
        for entry in Dir::read_from(&directory).map_err(of_kernel)? {
            let entry = entry.map_err(of_kernel)?;
            let name = entry.file_name().to_bytes();
            if [&b"."[..], b".."].contains(&name) {
                continue;
            }
            let kind = match entry.file_type() {
                HostType::Unknown => stat_of(&directory, name).ok().as_ref().and_then(kind_of),
                known => kind_from(known),
            };
            if let Some(kind) = kind {
                visit(ListedName {
                    name: name.to_vec(),
                    inode: entry.ino(),
                    kind,
                })?;
            }
        }
        Ok(())
    }

    /// Opens a file that exists.
    pub(crate) fn open(&self, inode: u64) -> Result<VolumeFile, Errno> {
        let node = self.node(inode)?;
        let parent = node.parent.as_ref().ok_or(Errno::Isdir)?;
        let parent = self.directory_of(parent)?;
        self.open_at(&parent, &node.name, OFlags::empty(), 0)
    }

    /// Makes a file and opens it. Returns `None` if the name exists.
    pub(crate) fn create(
        &self,
        directory: u64,
        name: &[u8],
        mode: u16,
    ) -> Result<Option<VolumeFile>, Errno> {
        let directory = self.directory(directory)?;
        let flags = OFlags::CREATE | OFlags::EXCL;
        let _change = self.volume.change();
        if !self.volume.usage.take_node(0) {
            return Err(Errno::Nospc);
        }
        let made = self.open_at(&directory, name, flags, mode & MODE_BITS | FILE_OWNER);
        if made.is_err() {
            self.volume.usage.return_node(0);
        }
        match made {
            Ok(file) => Ok(Some(file)),
            Err(Errno::Exist) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens a name of a directory for reading and writing; the guest's own rights are checked by the caller.
    fn open_at(
        &self,
        directory: &OwnedFd,
        name: &[u8],
        flags: OFlags,
        mode: u16,
    ) -> Result<VolumeFile, Errno> {
        let permit = self.permit()?;
        let all = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let mode = Mode::from_raw_mode(u32::from(mode));
        let file = rustix::fs::openat(directory, name, flags | all | OFlags::CLOEXEC, mode);
        let file = file.map_err(of_kernel)?;
        let stat = rustix::fs::fstat(&file).map_err(of_kernel)?;
        if kind_of(&stat) != Some(FileType::RegularFile) || stat.st_dev != self.volume.stat.st_dev {
            return Err(Errno::Acces);
        }
        Ok(VolumeFile::new(file, &stat, &self.volume, permit))
    }

    pub(crate) fn make_directory(
        &self,
        directory: u64,
        name: &[u8],
        mode: u16,
    ) -> Result<(), Errno> {
        let directory = self.directory(directory)?;
        let mode = Mode::from_raw_mode(u32::from(mode & MODE_BITS | DIRECTORY_OWNER));
        let make = || rustix::fs::mkdirat(&directory, name, mode);
        let _change = self.volume.change();
        self.volume.add_node(blocks(1), make)
    }

    pub(crate) fn symlink(&self, target: &[u8], directory: u64, name: &[u8]) -> Result<(), Errno> {
        let directory = self.directory(directory)?;
        let make = || rustix::fs::symlinkat(target, &directory, name);
        let _change = self.volume.change();
        self.volume.add_node(blocks(target.len() as u64), make)
    }

    pub(crate) fn read_link(&self, inode: u64) -> Option<Vec<u8>> {
        let node = self.node(inode).ok()?;
        let parent = self.directory_of(node.parent.as_ref()?).ok()?;
        let target = rustix::fs::readlinkat(&parent, &*node.name, Vec::new()).ok()?;
        Some(target.into_bytes())
    }

    pub(crate) fn remove_directory(&self, directory: u64, name: &[u8]) -> Result<(), Errno> {
        let directory = self.directory(directory)?;
        let _change = self.volume.change();
        let _names = self.volume.names();
        rustix::fs::unlinkat(&directory, name, AtFlags::REMOVEDIR).map_err(of_kernel)?;
        self.volume.usage.return_node(blocks(1));
        Ok(())
    }

    pub(crate) fn unlink(&self, directory: u64, name: &[u8]) -> Result<(), Errno> {
        let directory = self.directory(directory)?;
        let _change = self.volume.change();
        let _names = self.volume.names();
        let stat = stat_of(&directory, name).map_err(of_kernel)?;
        rustix::fs::unlinkat(&directory, name, AtFlags::empty()).map_err(of_kernel)?;
        if stat.st_nlink == 1 {
            self.volume.unlinked(&stat);
        }
        Ok(())
    }

    /// Gives a file a further name.
    pub(crate) fn link(&self, inode: u64, directory: u64, name: &[u8]) -> Result<(), Errno> {
        let node = self.node(inode)?;
        let parent = node.parent.as_ref().ok_or(Errno::Perm)?;
        let (from, to) = (self.directory_of(parent)?, self.directory(directory)?);
        let _change = self.volume.change();
        let _names = self.volume.names();
        rustix::fs::linkat(&from, &*node.name, &to, name, AtFlags::empty()).map_err(of_kernel)
    }

    pub(crate) fn rename(&self, from: (u64, &[u8]), to: (u64, &[u8])) -> Result<(), Errno> {
        let old = self.directory(from.0)?;
        let new = self.directory(to.0)?;
        let _change = self.volume.change();
        let _names = self.volume.names();
        let replaced = stat_of(&new, to.1);
        let is_same =
            |stat: &Stat| stat_of(&old, from.1).is_ok_and(|old| old.st_ino == stat.st_ino);
        let replaced = replaced.ok().filter(|stat| !is_same(stat));
        rustix::fs::renameat(&old, from.1, &new, to.1).map_err(of_kernel)?;
        match replaced {
            Some(stat) if kind_of(&stat) == Some(FileType::Directory) => {
                self.volume.usage.return_node(bytes_of(&stat));
            }
            Some(stat) if stat.st_nlink == 1 => self.volume.unlinked(&stat),
            _ => {}
        }
        Ok(())
    }

    pub(crate) fn set_mode(&self, inode: u64, mode: u16) -> Result<(), Errno> {
        match self.kind(inode) {
            Some(FileType::Directory) => {
                let directory = self.directory(inode)?;
                let mode = Mode::from_raw_mode(u32::from(mode & MODE_BITS | DIRECTORY_OWNER));
                rustix::fs::fchmod(&directory, mode).map_err(of_kernel)
            }
            Some(FileType::RegularFile) => set_file_mode(&self.open(inode)?, mode),
            _ => Err(Errno::Notsup),
        }
    }

    pub(crate) fn set_times(&self, inode: u64, times: &Timestamps) -> Result<(), Errno> {
        if self.kind(inode) == Some(FileType::Directory) {
            let directory = self.directory(inode)?;
            return rustix::fs::futimens(&directory, times).map_err(of_kernel);
        }
        let node = self.node(inode)?;
        let parent = self.directory_of(node.parent.as_ref().ok_or(Errno::Noent)?)?;
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(&parent, &*node.name, times, flags).map_err(of_kernel)
    }

    /// Waits until the disk has the names of an open directory.
    pub(crate) async fn sync(&self, directory: &HeldDirectory) -> Result<(), Errno> {
        sync(&self.volume, directory.directory.clone(), SyncKind::All).await
    }

    fn locks(&self) -> MutexGuard<'_, ProcessLocks> {
        self.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the dyno's record locks of a file that it closes.
    pub(crate) fn close(&self, file: &VolumeFile) {
        if self.locks().close(file) {
            self.volume.unlocked.notify_waiters();
        }
    }

    /// Sets or removes a record lock, without waiting.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if another dyno's lock excludes this one.
    pub(crate) fn set_lock(&self, file: &VolumeFile, lock: RecordLock) -> Result<(), Errno> {
        let holder = self.locks().holder(file);
        set_record_lock(&*holder, lock).map_err(|error| of_io(&error))?;
        // A write lock that becomes a read lock lets readers in.
        if lock.kind != RecordLockKind::Write {
            self.volume.unlocked.notify_waiters();
        }
        Ok(())
    }

    /// Sets a record lock and waits for it.
    ///
    /// # Errors
    ///
    /// `EDEADLK` if the lock is not free after [`LOCK_WAIT`], as dynos that wait for each other would find.
    pub(crate) async fn wait_for_lock(
        &self,
        file: &VolumeFile,
        lock: RecordLock,
    ) -> Result<(), Errno> {
        let deadline = tokio::time::Instant::now() + LOCK_WAIT;
        loop {
            let mut unlocked = std::pin::pin!(self.volume.unlocked.notified());
            unlocked.as_mut().enable();
            match self.set_lock(file, lock) {
                Err(Errno::Again) if tokio::time::Instant::now() < deadline => {}
                Err(Errno::Again) => return Err(Errno::Deadlk),
                other => return other,
            }
            let _ = tokio::time::timeout(LOCK_RETRY, unlocked).await;
        }
    }

    /// Returns a lock of another dyno that excludes `lock`.
    pub(crate) fn find_lock(
        &self,
        file: &VolumeFile,
        lock: RecordLock,
    ) -> Result<Option<RecordLock>, Errno> {
        let holder = self.locks().holder(file);
        find_record_lock(&*holder, lock).map_err(|error| of_io(&error))
    }
}

/// Changes the permissions of an open file.
pub(crate) fn set_file_mode(file: &VolumeFile, mode: u16) -> Result<(), Errno> {
    file.set_mode(mode & MODE_BITS | FILE_OWNER)
}

/// Returns the type of a node, if a dyno may see it.
fn kind_of(stat: &Stat) -> Option<FileType> {
    kind_from(HostType::from_raw_mode(stat.st_mode))
}

fn kind_from(kind: HostType) -> Option<FileType> {
    match kind {
        HostType::Directory => Some(FileType::Directory),
        HostType::RegularFile => Some(FileType::RegularFile),
        HostType::Symlink => Some(FileType::SymbolicLink),
        _ => None,
    }
}
