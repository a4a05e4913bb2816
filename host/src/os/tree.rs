//! The file tree of one dyno, and the resolution of paths in it.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use corundum_exchange::{BoundedCounter, Reservation};
use corundum_pack::archive::{Archive, ArchiveNode, NodeId};
use rustix::fs::{FileType as HostType, Stat};
use wasi_common::file::FileType;
use wasi_common::snapshots::preview_1::types::Errno;

use super::clocks::nanoseconds;
use super::layer::BootLayer;
use super::locks::FileLocks;
use super::node::{Dev, NodeKey, Proc, Vnode};
use super::process::GuestProcess;
use super::writable::{MAX_NAME, WritableTree};
use crate::account::{Account, Charge, Holding};
use crate::volume::{Volume, VolumeMount};

/// Maximum number of symbolic links in one path, as on Linux.
const MAX_LINKS: u32 = 40;
/// Maximum bytes of a path, one less than `PATH_MAX`, which counts the NUL byte.
const MAX_PATH: usize = 4095;
/// Maximum number of open files and directories, the usual limit on Linux.
const MAX_OPEN: usize = 1024;
/// Maximum number of directories above a file. Links lead deeper than the length of a path allows, and each open
/// directory knows all directories above it.
const MAX_DEPTH: usize = 512;
/// Bytes of the host's memory for an open file or directory, beside what it keeps itself.
const HANDLE: usize = 512;

/// Name of the directory at which the app's volume is mounted.
const VOLUME: &str = "data";

/// Devices of files that the dyno has alone, and of those that it shares with others (`DYNO_SHARED_DEVICE` of the guest).
const OWN_DEVICE: u32 = 1;
const SHARED_DEVICE: u32 = 2;

/// The user and group that a dyno runs as.
pub(crate) const USER: u32 = 1000;

/// Permission to list a directory or to read a file, for the owner.
pub(super) const MAY_READ: u16 = 0o400;
/// Permission to change a directory or a file.
pub(super) const MAY_WRITE: u16 = 0o200;
/// Permission to resolve paths through a directory.
pub(super) const MAY_SEARCH: u16 = 0o100;

/// Directories that are mounted over the pack's root filesystem.
const MOUNTS: [(&str, Vnode); 4] = [
    ("app", Vnode::Writable(NodeKey::APP)),
    ("dev", Vnode::Dev(Dev::Directory)),
    ("proc", Vnode::Proc(Proc::Directory)),
    ("tmp", Vnode::Writable(NodeKey::TMP)),
];

const PROC_FILES: [(&str, Proc); 2] = [("cpuinfo", Proc::Cpuinfo), ("uptime", Proc::Uptime)];
const PROC_SELF_FILES: [(&str, Proc); 5] = [
    ("cmdline", Proc::Cmdline),
    ("environ", Proc::Environ),
    ("stat", Proc::Stat),
    ("statm", Proc::Statm),
    ("status", Proc::Status),
];

const DEV_FILES: [(&str, Dev); 5] = [
    ("full", Dev::Full),
    ("null", Dev::Null),
    ("random", Dev::Random),
    ("urandom", Dev::Random),
    ("zero", Dev::Zero),
];

/// Treatment of a symbolic link at the end of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LastLink {
    Follow,
    Keep,
}

/// The end of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LastPart {
    /// A name in the last of the parents.
    Name(Vec<u8>),
    /// `.`, or nothing behind the root: the last of the parents itself.
    Dot,
    /// `..`: the last of the parents itself.
    DotDot,
}

/// A resolved path.
pub(super) struct ResolvedPath {
    /// Directories from the root to the one that contains the last component.
    pub(super) parents: Vec<Vnode>,
    pub(super) last: LastPart,
    /// Node of the last component, if it exists.
    node: Option<Vnode>,
}

impl ResolvedPath {
    /// Returns the node of the path, if it exists.
    ///
    /// # Errors
    ///
    /// `ENAMETOOLONG` if the last component is longer than names are. Linux notices that last, too.
    pub(super) fn existing(&self) -> Result<Option<Vnode>, Errno> {
        match &self.last {
            LastPart::Name(name) if name.len() > MAX_NAME => Err(Errno::Nametoolong),
            _ => Ok(self.node),
        }
    }

    /// Returns the node of the path.
    ///
    /// # Errors
    ///
    /// `ENOENT` if it does not exist, and those of [`Self::existing`].
    pub(super) fn node(&self) -> Result<Vnode, Errno> {
        self.existing()?.ok_or(Errno::Noent)
    }

    /// Returns the directory that contains the last component.
    pub(super) fn parent(&self) -> Vnode {
        *self.parents.last().unwrap_or(&Vnode::Root)
    }

    /// Returns the directories from the root to the node itself.
    pub(super) fn into_trail(mut self) -> Vec<Vnode> {
        if let (LastPart::Name(_), Some(node)) = (&self.last, self.node) {
            self.parents.push(node);
        }
        self.parents
    }
}

/// What `stat` shows of a node.
#[derive(Debug, Clone)]
pub(crate) struct FileStatus {
    pub(crate) device: u32,
    pub(crate) inode: u64,
    pub(crate) kind: FileType,
    /// Permission bits.
    pub(crate) mode: u16,
    pub(crate) links: u32,
    /// User and group.
    pub(crate) owner: u32,
    pub(crate) size: u64,
    /// Times in nanoseconds since 1970.
    pub(crate) accessed: i64,
    pub(crate) modified: i64,
    pub(crate) changed: i64,
}

impl FileStatus {
    /// Returns WASI's `filestat`.
    pub(crate) fn to_wasi(&self) -> [u8; 64] {
        let mut record = [0; 64];
        let [accessed, modified, changed] =
            [self.accessed, self.modified, self.changed].map(|time| time.max(0).cast_unsigned());
        for (at, value) in [
            (0, u64::from(self.device)),
            (8, self.inode),
            (16, u64::from(type_number(self.kind))),
            (24, u64::from(self.links)),
            (32, self.size),
            (40, accessed),
            (48, modified),
            (56, changed),
        ] {
            record[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        record
    }
}

/// Returns WASI's number of a type.
pub(super) fn type_number(kind: FileType) -> u8 {
    match kind {
        FileType::BlockDevice => 1,
        FileType::CharacterDevice => 2,
        FileType::Directory => 3,
        FileType::RegularFile => 4,
        FileType::SocketDgram => 5,
        FileType::SocketStream => 6,
        FileType::SymbolicLink => 7,
        FileType::Unknown | FileType::Pipe => 0,
    }
}

/// The file tree of one dyno.
pub struct Filesystem {
    pack: Arc<Archive>,
    layer: Option<Arc<BootLayer>>,
    process: GuestProcess,
    writable: Mutex<WritableTree>,
    locks: Mutex<FileLocks>,
    /// Counts open files and directories.
    descriptors: Arc<BoundedCounter>,
    account: Arc<Account>,
    volume: Option<VolumeMount>,
}

/// Counts and charges an open file or directory until it is dropped.
pub(crate) struct Handle {
    _descriptor: Reservation,
    _charge: Charge,
}

impl Filesystem {
    /// Creates a tree from a pack's root, an app's slug (`None` while a pack is prepared), the files of its image and a
    /// process. `account` is charged for everything that the dyno keeps in it.
    pub fn new(
        pack: Arc<Archive>,
        app: Option<Arc<Archive>>,
        layer: Option<Arc<BootLayer>>,
        process: GuestProcess,
        account: Arc<Account>,
    ) -> Self {
        let born = nanoseconds(process.born());
        let writable = WritableTree::new(app, layer.clone(), born, account.clone());
        Self {
            pack,
            layer,
            process,
            writable: Mutex::new(writable),
            locks: Mutex::default(),
            descriptors: BoundedCounter::new(MAX_OPEN),
            account,
            volume: None,
        }
    }

    /// Mounts the app's volume at `/data`.
    #[must_use]
    pub fn with_volume(mut self, volume: Option<Arc<Volume>>) -> Self {
        let account = &self.account;
        self.volume = volume.map(|volume| VolumeMount::new(volume, account.clone()));
        self
    }

    /// Returns the mounted volume.
    ///
    /// # Errors
    ///
    /// `ENOENT` if there is none.
    pub(super) fn volume(&self) -> Result<&VolumeMount, Errno> {
        self.volume.as_ref().ok_or(Errno::Noent)
    }

    /// Forgets what the volume has found for the last call.
    pub(super) fn begin_call(&self) {
        if let Some(volume) = &self.volume {
            volume.begin_call();
        }
    }

    fn volume_root(&self) -> Option<Vnode> {
        self.volume
            .as_ref()
            .map(|volume| Vnode::Volume(volume.root()))
    }

    /// Returns the account of the dyno.
    pub(crate) fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// Returns the process that `/proc/self` shows.
    pub fn process(&self) -> &GuestProcess {
        &self.process
    }

    pub(super) fn pack(&self) -> &Arc<Archive> {
        &self.pack
    }

    pub(super) fn layer(&self) -> Option<&Arc<BootLayer>> {
        self.layer.as_ref()
    }

    pub(super) fn writable(&self) -> MutexGuard<'_, WritableTree> {
        self.writable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn locks(&self) -> MutexGuard<'_, FileLocks> {
        self.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more open file or directory, which keeps `bytes` of the host's memory.
    ///
    /// # Errors
    ///
    /// `EMFILE` if the dyno has too many open, or the node has no memory for another.
    pub(crate) fn open_handle(&self, bytes: usize) -> Result<Handle, Errno> {
        let descriptor = self.descriptors.try_reserve(1).ok_or(Errno::Mfile)?;
        Ok(Handle {
            _descriptor: descriptor,
            _charge: self.charge_handles(HANDLE + bytes)?,
        })
    }

    /// Charges memory that an open file or directory keeps.
    ///
    /// # Errors
    ///
    /// `EMFILE` if the node has no memory for it.
    pub(super) fn charge_handles(&self, bytes: usize) -> Result<Charge, Errno> {
        let mut charge = self.account.charge(Holding::Handles);
        charge.try_resize(bytes).map_err(|_| Errno::Mfile)?;
        Ok(charge)
    }

    /// Resolves `path` from the directory at the end of `from`, a list of directories from the root.
    pub(super) fn resolve(
        &self,
        from: &[Vnode],
        path: &[u8],
        last: LastLink,
    ) -> Result<ResolvedPath, Errno> {
        if path.is_empty() {
            return Err(Errno::Noent);
        }
        if path.len() > MAX_PATH {
            return Err(Errno::Nametoolong);
        }
        if path.contains(&0) {
            return Err(Errno::Inval);
        }
        let tree = self.writable();
        let slash = path.ends_with(b"/");
        let mut parents = from.to_vec();
        if parents.is_empty() || path.starts_with(b"/") {
            parents.truncate(1);
            parents.resize(1, Vnode::Root);
        }
        let mut rest: Cow<'_, [u8]> = path.into();
        let mut at = 0;
        let mut links = 0;
        loop {
            at += rest[at..].iter().take_while(|byte| **byte == b'/').count();
            let here = *parents.last().unwrap_or(&Vnode::Root);
            let length = rest[at..].iter().take_while(|byte| **byte != b'/').count();
            let part = &rest[at..at + length];
            let is_last = rest[at + length..].iter().all(|byte| *byte == b'/');
            if part.is_empty() || part == b"." || part == b".." {
                // Only directories are among the parents, but one of them may have been removed.
                self.may_search(&tree, here)?;
                let is_up = part == b"..";
                if is_up && parents.len() > 1 {
                    parents.pop();
                }
                if is_last {
                    let node = parents.last().copied();
                    let last = if is_up {
                        LastPart::DotDot
                    } else {
                        LastPart::Dot
                    };
                    return Ok(ResolvedPath {
                        parents,
                        last,
                        node,
                    });
                }
                at += length;
                continue;
            }
            self.may_search(&tree, here)?;
            let Some(node) = self.child(&tree, here, part) else {
                if !is_last {
                    let is_long = part.len() > MAX_NAME;
                    return Err(if is_long {
                        Errno::Nametoolong
                    } else {
                        Errno::Noent
                    });
                }
                return Ok(ResolvedPath {
                    last: LastPart::Name(part.to_vec()),
                    parents,
                    node: None,
                });
            };
            let kind = self.kind_in(&tree, node).ok_or(Errno::Noent)?;
            let follow = !is_last || last == LastLink::Follow || slash;
            if kind == FileType::SymbolicLink && follow {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::Loop);
                }
                let mut target = self.target_in(&tree, node).ok_or(Errno::Noent)?;
                if target.starts_with(b"/") {
                    parents.truncate(1);
                }
                target.extend_from_slice(&rest[at + length..]);
                rest = target.into();
                at = 0;
                continue;
            }
            if is_last {
                let ends_in_slash = slash || rest.ends_with(b"/");
                if ends_in_slash && kind != FileType::Directory {
                    return Err(Errno::Notdir);
                }
                return Ok(ResolvedPath {
                    last: LastPart::Name(part.to_vec()),
                    parents,
                    node: Some(node),
                });
            }
            if kind != FileType::Directory {
                return Err(Errno::Notdir);
            }
            if parents.len() >= MAX_DEPTH {
                return Err(Errno::Nametoolong);
            }
            parents.push(node);
            at += length;
        }
    }

    fn may_search(&self, tree: &WritableTree, directory: Vnode) -> Result<(), Errno> {
        let Vnode::Writable(key) = directory else {
            return Ok(());
        };
        match tree.kind(key) {
            Some(FileType::Directory) => may(tree, key, MAY_SEARCH),
            Some(_) => Err(Errno::Notdir),
            None => Err(Errno::Noent),
        }
    }

    fn child(&self, tree: &WritableTree, directory: Vnode, name: &[u8]) -> Option<Vnode> {
        let text = || std::str::from_utf8(name).ok();
        match directory {
            Vnode::Root => match MOUNTS.iter().find(|(mount, _)| mount.as_bytes() == name) {
                Some(("app", _)) if !tree.has_app() => None,
                Some((_, node)) => Some(*node),
                None if name == VOLUME.as_bytes() && self.volume.is_some() => self.volume_root(),
                None => self.pack.child(Archive::ROOT, text()?).map(Vnode::Pack),
            },
            Vnode::Pack(id) => self.pack.child(id, text()?).map(Vnode::Pack),
            Vnode::Writable(key) => tree.child(key, name).map(Vnode::Writable),
            Vnode::Volume(inode) => {
                let child = self.volume.as_ref()?.child(inode, name);
                child.map(Vnode::Volume)
            }
            Vnode::Proc(Proc::Directory) => {
                let is_self = name == b"self" || name == self.process.pid().to_string().as_bytes();
                match is_self {
                    true => Some(Vnode::Proc(Proc::SelfDirectory)),
                    false => named(&PROC_FILES, name).map(Vnode::Proc),
                }
            }
            Vnode::Proc(Proc::SelfDirectory) => named(&PROC_SELF_FILES, name).map(Vnode::Proc),
            Vnode::Dev(Dev::Directory) => named(&DEV_FILES, name).map(Vnode::Dev),
            Vnode::Proc(_) | Vnode::Dev(_) => None,
        }
    }

    /// Returns the names and nodes of a directory's entries.
    pub(super) fn entries(&self, directory: Vnode) -> Vec<(Vec<u8>, Vnode)> {
        let of_pack = |id| match self.pack.node(id) {
            ArchiveNode::Directory { entries } => {
                let entry =
                    |(name, id): &(Box<str>, NodeId)| (name.as_bytes().to_vec(), Vnode::Pack(*id));
                entries.iter().map(entry).collect()
            }
            _ => Vec::new(),
        };
        match directory {
            Vnode::Root => {
                let has_app = self.writable().has_app();
                let mut entries: Vec<(Vec<u8>, Vnode)> = of_pack(Archive::ROOT);
                entries
                    .retain(|(name, _)| MOUNTS.iter().all(|(mount, _)| mount.as_bytes() != *name));
                let mounted = MOUNTS.iter().filter(|(name, _)| *name != "app" || has_app);
                entries.extend(mounted.map(|(name, node)| (name.as_bytes().to_vec(), *node)));
                if let Some(root) = self.volume_root() {
                    entries.retain(|(name, _)| name != VOLUME.as_bytes());
                    entries.push((VOLUME.as_bytes().to_vec(), root));
                }
                entries
            }
            Vnode::Pack(id) => of_pack(id),
            Vnode::Writable(key) => {
                let entries = self.writable().entries(key);
                entries
                    .into_iter()
                    .map(|(name, key)| (name, Vnode::Writable(key)))
                    .collect()
            }
            Vnode::Proc(Proc::Directory) => {
                let mut entries = listed(&PROC_FILES, Vnode::Proc);
                entries.push((b"self".to_vec(), Vnode::Proc(Proc::SelfDirectory)));
                entries
            }
            Vnode::Proc(Proc::SelfDirectory) => listed(&PROC_SELF_FILES, Vnode::Proc),
            Vnode::Dev(Dev::Directory) => listed(&DEV_FILES, Vnode::Dev),
            // `list` reads a volume.
            Vnode::Volume(_) | Vnode::Proc(_) | Vnode::Dev(_) => Vec::new(),
        }
    }

    /// Returns the pack's directories two levels deep: their absolute paths, and the lists of directories that lead to
    /// them.
    pub(super) fn pack_directories(&self) -> Vec<(String, Vec<Vnode>)> {
        let directories = |trail: &[Vnode], path: &str| {
            let here = match trail.last() {
                Some(Vnode::Pack(id)) => *id,
                _ => Archive::ROOT,
            };
            let ArchiveNode::Directory { entries } = self.pack.node(here) else {
                return Vec::new();
            };
            let mut found = Vec::new();
            for (name, id) in entries {
                let is_mounted =
                    trail.len() == 1 && MOUNTS.iter().any(|(mount, _)| **mount == **name);
                if !is_mounted && matches!(self.pack.node(*id), ArchiveNode::Directory { .. }) {
                    found.push((
                        format!("{path}/{name}"),
                        [trail, &[Vnode::Pack(*id)]].concat(),
                    ));
                }
            }
            found
        };
        let mut all = directories(&[Vnode::Root], "");
        for (path, trail) in all.clone() {
            all.extend(directories(&trail, &path));
        }
        all
    }

    /// Returns the type of a node; a node that is gone has none.
    pub(super) fn kind(&self, node: Vnode) -> Option<FileType> {
        self.kind_in(&self.writable(), node)
    }

    pub(super) fn kind_in(&self, tree: &WritableTree, node: Vnode) -> Option<FileType> {
        Some(match node {
            Vnode::Root
            | Vnode::Proc(Proc::Directory | Proc::SelfDirectory)
            | Vnode::Dev(Dev::Directory) => FileType::Directory,
            Vnode::Proc(_) => FileType::RegularFile,
            Vnode::Dev(_) => FileType::CharacterDevice,
            Vnode::Pack(id) => match self.pack.node(id) {
                ArchiveNode::Directory { .. } => FileType::Directory,
                ArchiveNode::Symlink { .. } => FileType::SymbolicLink,
                ArchiveNode::File { .. } => FileType::RegularFile,
            },
            Vnode::Writable(key) => return tree.kind(key),
            Vnode::Volume(inode) => return self.volume.as_ref()?.kind(inode),
        })
    }

    /// Returns the target of a symbolic link.
    pub(super) fn target_in(&self, tree: &WritableTree, node: Vnode) -> Option<Vec<u8>> {
        match node {
            Vnode::Pack(id) => match self.pack.node(id) {
                ArchiveNode::Symlink { target } => Some(target.as_bytes().to_vec()),
                _ => None,
            },
            Vnode::Writable(key) => tree.link_target(key),
            Vnode::Volume(inode) => self.volume.as_ref()?.read_link(inode),
            _ => None,
        }
    }

    /// Returns what `stat` shows of a node.
    ///
    /// # Errors
    ///
    /// `ENOENT` if the node is gone.
    pub(super) fn status(&self, node: Vnode) -> Result<FileStatus, Errno> {
        let inode = self.inode(node);
        if let Vnode::Writable(key) = node {
            let status = self.writable().status(key).ok_or(Errno::Noent)?;
            return Ok(FileStatus {
                device: OWN_DEVICE,
                inode,
                kind: status.kind,
                mode: status.attributes.mode,
                links: status.attributes.links,
                owner: USER,
                size: status.size,
                accessed: status.attributes.accessed,
                modified: status.attributes.modified,
                changed: status.attributes.changed,
            });
        }
        if let Vnode::Volume(inode) = node {
            return Ok(volume_status(&self.volume()?.stat(inode)?));
        }
        let (mode, size) = match node {
            Vnode::Pack(id) => match self.pack.node(id) {
                ArchiveNode::File { range, executable } => {
                    (if *executable { 0o755 } else { 0o644 }, range.len())
                }
                ArchiveNode::Symlink { target } => (0o777, target.len()),
                ArchiveNode::Directory { .. } => (0o755, 4096),
            },
            Vnode::Dev(Dev::Null | Dev::Zero | Dev::Full | Dev::Random) => (0o666, 0),
            Vnode::Proc(Proc::Directory | Proc::SelfDirectory) => (0o555, 0),
            Vnode::Proc(_) => (0o444, 0),
            _ => (0o755, 4096),
        };
        let born = nanoseconds(self.process.born());
        Ok(FileStatus {
            device: OWN_DEVICE,
            inode,
            kind: self.kind(node).ok_or(Errno::Noent)?,
            mode,
            links: 1,
            owner: 0,
            size: size as u64,
            accessed: born,
            modified: born,
            changed: born,
        })
    }

    /// Returns a number that is unique in the tree.
    pub(super) fn inode(&self, node: Vnode) -> u64 {
        match node {
            Vnode::Root => 1,
            Vnode::Proc(node) => 2 + node as u64,
            Vnode::Dev(node) => 32 + node as u64,
            Vnode::Pack(id) => (1 << 32) + u64::from(id.index()),
            Vnode::Writable(NodeKey::Slug(id)) => (2 << 32) + u64::from(id.index()),
            Vnode::Writable(NodeKey::New(number)) => (3 << 32) + number,
            Vnode::Volume(inode) => volume_inode(inode),
        }
    }
}

/// Returns the number that a dyno sees of an inode of the host.
pub(super) fn volume_inode(inode: u64) -> u64 {
    (1 << 63) | inode
}

/// Returns what `stat` shows of a node of a volume.
pub(super) fn volume_status(stat: &Stat) -> FileStatus {
    let time = |seconds: i64, nanoseconds: i64| {
        seconds
            .saturating_mul(1_000_000_000)
            .saturating_add(nanoseconds)
    };
    FileStatus {
        device: SHARED_DEVICE,
        inode: volume_inode(stat.st_ino),
        kind: match HostType::from_raw_mode(stat.st_mode) {
            HostType::Directory => FileType::Directory,
            HostType::Symlink => FileType::SymbolicLink,
            _ => FileType::RegularFile,
        },
        mode: (stat.st_mode & 0o1777) as u16,
        links: u32::try_from(stat.st_nlink).unwrap_or(u32::MAX),
        owner: USER,
        size: stat.st_size.max(0).cast_unsigned(),
        accessed: time(stat.st_atime, stat.st_atime_nsec.cast_signed()),
        modified: time(stat.st_mtime, stat.st_mtime_nsec.cast_signed()),
        changed: time(stat.st_ctime, stat.st_ctime_nsec.cast_signed()),
    }
}

/// Checks a permission of the dyno's user, who owns all of `/app` and `/tmp`.
pub(super) fn may(tree: &WritableTree, key: NodeKey, bits: u16) -> Result<(), Errno> {
    match tree.mode(key) & bits == bits {
        true => Ok(()),
        false => Err(Errno::Acces),
    }
}

fn named<T: Copy>(files: &[(&str, T)], name: &[u8]) -> Option<T> {
    let found = files.iter().find(|(file, _)| file.as_bytes() == name);
    found.map(|(_, node)| *node)
}

fn listed<T: Copy>(files: &[(&str, T)], node: impl Fn(T) -> Vnode) -> Vec<(Vec<u8>, Vnode)> {
    let entry = |(name, file): &(&str, T)| (name.as_bytes().to_vec(), node(*file));
    files.iter().map(entry).collect()
}
