//! The file tree of one dyno, and the resolution of paths in it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use corundum_exchange::{BoundedCounter, Reservation};
use corundum_pack::archive::{Archive, ArchiveNode, NodeId};
use wasi_common::Error;
use wasi_common::file::FileType;
use wasi_common::snapshots::preview_1::types::Errno;

use super::process::GuestProcess;
use super::tmp::{self, Inode, Tmp, TmpNode};
use crate::account::{Account, Charge, Holding};

/// Maximum number of symbolic links in one path, as on Linux.
const MAX_LINKS: u32 = 40;
/// Maximum bytes of a path (`PATH_MAX`).
const MAX_PATH: usize = 4096;
/// Maximum number of open files and directories, the usual limit on Linux.
const MAX_OPEN: usize = 1024;
/// Maximum number of directories above a file. Links lead deeper than the length of a path allows, and each open
/// directory knows all directories above it.
const MAX_DEPTH: usize = 512;
/// Bytes of the host's memory for an open file or directory, beside what it keeps itself.
const HANDLE: usize = 512;

/// Directories that are mounted over the pack's root filesystem.
const MOUNTS: [(&str, Vnode); 4] = [
    ("app", Vnode::Static(Layer::App, Archive::ROOT)),
    ("dev", Vnode::Dev(Dev::Directory)),
    ("proc", Vnode::Proc(Proc::Directory)),
    ("tmp", Vnode::Tmp(tmp::ROOT)),
];

/// The archive of a static node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layer {
    Pack,
    App,
}

/// Nodes of `/proc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proc {
    Directory,
    SelfDirectory,
    Environ,
    Cmdline,
    Stat,
}

/// Nodes of `/dev`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dev {
    Directory,
    Null,
    Zero,
    Random,
}

/// A node of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vnode {
    Root,
    Static(Layer, NodeId),
    Tmp(Inode),
    Proc(Proc),
    Dev(Dev),
}

/// Treatment of a symbolic link at the end of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LastLink {
    Follow,
    Keep,
}

/// A resolved path.
pub(super) struct ResolvedPath {
    /// Directories from the root to the one that contains the last component.
    pub(super) parents: Vec<Vnode>,
    /// Name of the last component; empty if the path names one of `parents` itself, as `.` does.
    pub(super) name: String,
    /// Node of the last component, if it exists.
    pub(super) node: Option<Vnode>,
}

/// The file tree of one dyno.
pub struct Filesystem {
    pack: Arc<Archive>,
    app: Option<Arc<Archive>>,
    process: GuestProcess,
    tmp: Mutex<Tmp>,
    /// Counts open files and directories.
    descriptors: Arc<BoundedCounter>,
    account: Arc<Account>,
}

/// Counts and charges an open file or directory until it is dropped.
pub(crate) struct Handle {
    _descriptor: Reservation,
    _charge: Charge,
}

impl Filesystem {
    /// Creates a tree from a pack's root, an app's slug (`None` while a pack is prepared) and a process. `account` is
    /// charged for everything that the dyno keeps in it.
    pub fn new(
        pack: Arc<Archive>,
        app: Option<Arc<Archive>>,
        process: GuestProcess,
        account: Arc<Account>,
    ) -> Self {
        let tmp = Mutex::new(Tmp::new(account.clone()));
        Self {
            pack,
            app,
            process,
            tmp,
            descriptors: BoundedCounter::new(MAX_OPEN),
            account,
        }
    }

    /// Returns the account of the dyno.
    pub(crate) fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// Returns the process that `/proc/self` shows.
    pub fn process(&self) -> &GuestProcess {
        &self.process
    }

    pub(super) fn tmp(&self) -> MutexGuard<'_, Tmp> {
        self.tmp.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more open file or directory, which keeps `bytes` of the host's memory.
    ///
    /// # Errors
    ///
    /// `EMFILE` if the dyno has too many open, or the node has no memory for another.
    pub(crate) fn open_handle(&self, bytes: usize) -> Result<Handle, Error> {
        let descriptor = self.descriptors.try_reserve(1).ok_or(Errno::Mfile)?;
        let mut charge = self.account.charge(Holding::Handles);
        let charged = charge.try_resize(HANDLE + bytes);
        charged.map_err(|_| Errno::Mfile)?;
        Ok(Handle {
            _descriptor: descriptor,
            _charge: charge,
        })
    }

    pub(super) fn archive(&self, layer: Layer) -> Option<&Arc<Archive>> {
        match layer {
            Layer::Pack => Some(&self.pack),
            Layer::App => self.app.as_ref(),
        }
    }

    /// Resolves `path` from the directory at the end of `from`, a list of directories from the root.
    pub(super) fn resolve(
        &self,
        from: &[Vnode],
        path: &str,
        last: LastLink,
    ) -> Result<ResolvedPath, Error> {
        if path.is_empty() {
            return Err(Errno::Noent.into());
        }
        if path.len() > MAX_PATH {
            return Err(Errno::Nametoolong.into());
        }
        let mut parents = from.to_vec();
        // Remaining components, the next one last.
        let mut remaining: Vec<String> = components(path);
        let mut links = 0;
        if path.starts_with('/') {
            parents.truncate(1);
        }
        while let Some(component) = remaining.pop() {
            if component == "." {
                continue;
            }
            if component == ".." {
                if parents.len() > 1 {
                    parents.pop();
                }
                continue;
            }
            let here = *parents.last().unwrap_or(&Vnode::Root);
            let Some(node) = self.child(here, &component)? else {
                return if remaining.iter().all(|component| component == ".") {
                    Ok(ResolvedPath {
                        parents,
                        name: component,
                        node: None,
                    })
                } else {
                    Err(Errno::Noent.into())
                };
            };
            let follow = !remaining.is_empty() || last == LastLink::Follow || path.ends_with('/');
            match self.link_target(node) {
                Some(target) if follow => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::Loop.into());
                    }
                    if target.starts_with('/') {
                        parents.truncate(1);
                    }
                    remaining.extend(components(&target));
                }
                _ if remaining.is_empty() => {
                    if path.ends_with('/') && self.kind(node) != FileType::Directory {
                        return Err(Errno::Notdir.into());
                    }
                    return Ok(ResolvedPath {
                        parents,
                        name: component,
                        node: Some(node),
                    });
                }
                _ if parents.len() >= MAX_DEPTH => return Err(Errno::Nametoolong.into()),
                _ => parents.push(node),
            }
        }
        let node = parents.last().copied();
        Ok(ResolvedPath {
            parents,
            name: String::new(),
            node,
        })
    }

    fn child(&self, directory: Vnode, name: &str) -> Result<Option<Vnode>, Error> {
        Ok(match directory {
            Vnode::Root => match MOUNTS.iter().find(|(mount, _)| *mount == name) {
                Some((_, Vnode::Static(Layer::App, _))) if self.app.is_none() => None,
                Some((_, node)) => Some(*node),
                None => {
                    let node = self.pack.child(Archive::ROOT, name);
                    node.map(|id| Vnode::Static(Layer::Pack, id))
                }
            },
            Vnode::Static(layer, id) => {
                let archive = self.archive(layer).ok_or(Errno::Noent)?;
                if !matches!(archive.node(id), ArchiveNode::Directory { .. }) {
                    return Err(Errno::Notdir.into());
                }
                archive.child(id, name).map(|id| Vnode::Static(layer, id))
            }
            Vnode::Tmp(inode) => {
                if self.kind(directory) != FileType::Directory {
                    return Err(Errno::Notdir.into());
                }
                self.tmp().child(inode, name).map(Vnode::Tmp)
            }
            Vnode::Proc(Proc::Directory) => {
                (name == "self").then_some(Vnode::Proc(Proc::SelfDirectory))
            }
            Vnode::Proc(Proc::SelfDirectory) => match name {
                "environ" => Some(Vnode::Proc(Proc::Environ)),
                "cmdline" => Some(Vnode::Proc(Proc::Cmdline)),
                "stat" => Some(Vnode::Proc(Proc::Stat)),
                _ => None,
            },
            Vnode::Dev(Dev::Directory) => match name {
                "null" => Some(Vnode::Dev(Dev::Null)),
                "zero" => Some(Vnode::Dev(Dev::Zero)),
                "random" | "urandom" => Some(Vnode::Dev(Dev::Random)),
                _ => None,
            },
            Vnode::Proc(_) | Vnode::Dev(_) => return Err(Errno::Notdir.into()),
        })
    }

    /// Returns the names and nodes of a directory's entries.
    pub(super) fn entries(&self, directory: Vnode) -> Vec<(String, Vnode)> {
        let statics = |layer, archive: &Archive, id| match archive.node(id) {
            ArchiveNode::Directory { entries } => {
                let entry =
                    |(name, id): &(Box<str>, NodeId)| (name.to_string(), Vnode::Static(layer, *id));
                entries.iter().map(entry).collect()
            }
            _ => Vec::new(),
        };
        match directory {
            Vnode::Root => {
                let mut entries: Vec<(String, Vnode)> =
                    statics(Layer::Pack, &self.pack, Archive::ROOT);
                entries.retain(|(name, _)| MOUNTS.iter().all(|(mount, _)| mount != name));
                let mounted = MOUNTS
                    .iter()
                    .filter(|(name, _)| *name != "app" || self.app.is_some());
                entries.extend(mounted.map(|(name, node)| ((*name).to_owned(), *node)));
                entries
            }
            Vnode::Static(layer, id) => match self.archive(layer) {
                Some(archive) => statics(layer, archive, id),
                None => Vec::new(),
            },
            Vnode::Tmp(inode) => {
                let entries = self.tmp().entries(inode);
                entries
                    .into_iter()
                    .map(|(name, inode)| (name, Vnode::Tmp(inode)))
                    .collect()
            }
            Vnode::Proc(Proc::Directory) => {
                vec![("self".to_owned(), Vnode::Proc(Proc::SelfDirectory))]
            }
            Vnode::Proc(Proc::SelfDirectory) => {
                let files = [
                    ("environ", Proc::Environ),
                    ("cmdline", Proc::Cmdline),
                    ("stat", Proc::Stat),
                ];
                files
                    .map(|(name, node)| (name.to_owned(), Vnode::Proc(node)))
                    .into()
            }
            Vnode::Dev(Dev::Directory) => {
                let files = [
                    ("null", Dev::Null),
                    ("zero", Dev::Zero),
                    ("urandom", Dev::Random),
                ];
                files
                    .map(|(name, node)| (name.to_owned(), Vnode::Dev(node)))
                    .into()
            }
            Vnode::Proc(_) | Vnode::Dev(_) => Vec::new(),
        }
    }

    /// Returns the pack's directories two levels deep: their absolute paths, and the lists of directories that lead to
    /// them.
    pub(super) fn pack_directories(&self) -> Vec<(String, Vec<Vnode>)> {
        let directories = |trail: &[Vnode], path: &str| {
            let here = *trail.last().unwrap_or(&Vnode::Root);
            let mut found = Vec::new();
            for (name, node) in self.entries(here) {
                let own = matches!(node, Vnode::Static(Layer::Pack, _));
                if own && self.kind(node) == FileType::Directory {
                    found.push((format!("{path}/{name}"), [trail, &[node]].concat()));
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

    /// Returns the type of a node.
    pub(super) fn kind(&self, node: Vnode) -> FileType {
        match node {
            Vnode::Root
            | Vnode::Proc(Proc::Directory | Proc::SelfDirectory)
            | Vnode::Dev(Dev::Directory)
            | Vnode::Tmp(tmp::ROOT) => FileType::Directory,
            Vnode::Proc(_) => FileType::RegularFile,
            Vnode::Dev(_) => FileType::CharacterDevice,
            Vnode::Static(layer, id) => match self.archive(layer).map(|archive| archive.node(id)) {
                Some(ArchiveNode::Directory { .. }) => FileType::Directory,
                Some(ArchiveNode::Symlink { .. }) => FileType::SymbolicLink,
                _ => FileType::RegularFile,
            },
            Vnode::Tmp(inode) => match self.tmp().node(inode) {
                Some(TmpNode::Directory(_)) => FileType::Directory,
                Some(TmpNode::Symlink(_)) => FileType::SymbolicLink,
                _ => FileType::RegularFile,
            },
        }
    }

    /// Returns the target of a symbolic link.
    pub(super) fn link_target(&self, node: Vnode) -> Option<String> {
        match node {
            Vnode::Static(layer, id) => match self.archive(layer)?.node(id) {
                ArchiveNode::Symlink { target } => Some(target.to_string()),
                _ => None,
            },
            Vnode::Tmp(inode) => match self.tmp().node(inode) {
                Some(TmpNode::Symlink(target)) => Some(target.clone()),
                _ => None,
            },
            _ => None,
        }
    }

    /// Returns a number that is unique in the tree.
    pub(super) fn inode(&self, node: Vnode) -> u64 {
        match node {
            Vnode::Root => 1,
            Vnode::Proc(node) => 2 + node as u64,
            Vnode::Dev(node) => 16 + node as u64,
            Vnode::Static(Layer::Pack, id) => (1 << 32) + u64::from(id.index()),
            Vnode::Static(Layer::App, id) => (2 << 32) + u64::from(id.index()),
            Vnode::Tmp(inode) => (3 << 32) + inode,
        }
    }
}

/// Returns the components of a path in reverse order.
fn components(path: &str) -> Vec<String> {
    path.split('/')
        .rev()
        .filter(|component| !component.is_empty())
        .map(str::to_owned)
        .collect()
}
