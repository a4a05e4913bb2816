//! The file tree of one dyno: which node a path names.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use corundum_pack::archive::{Archive, ArchiveNode, NodeId};
use wasi_common::Error;
use wasi_common::file::FileType;
use wasi_common::snapshots::preview_1::types::Errno;

use super::process::Process;
use super::tmp::{self, Inode, Tmp, TmpLimits, TmpNode};

/// Symbolic links followed in one path, as Linux has it.
const MAX_LINKS: u32 = 40;
/// Bytes of a path (`PATH_MAX`).
const MAX_PATH: usize = 4096;
/// Files and directories open at once, Linux's usual limit; each costs the host some memory.
const MAX_OPEN: u32 = 1024;

/// The directories that this system puts over the pack's root filesystem.
const MOUNTS: [(&str, Vnode); 4] = [
    ("app", Vnode::Static(Layer::App, Archive::ROOT)),
    ("dev", Vnode::Dev(Dev::Directory)),
    ("proc", Vnode::Proc(Proc::Directory)),
    ("tmp", Vnode::Tmp(tmp::ROOT)),
];

/// Which archive a node is in.
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

/// What to do when a path ends in a symbolic link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LastLink {
    Follow,
    Keep,
}

/// Where a path leads: the directories above, and its end where that exists.
pub(super) struct Place {
    /// From the root to the directory that holds the end.
    pub(super) above: Vec<Vnode>,
    /// The end's name; empty when the path names one of `above` itself, as `.` does.
    pub(super) name: String,
    /// The end.
    pub(super) node: Option<Vnode>,
}

/// One dyno's file tree.
pub struct Filesystem {
    pack: Arc<Archive>,
    app: Option<Arc<Archive>>,
    process: Process,
    tmp: Mutex<Tmp>,
    open: AtomicU32,
}

impl Filesystem {
    /// A tree of a pack's root, an app's slug (none while a pack is prepared) and what the process is told of itself.
    pub fn new(
        pack: Arc<Archive>,
        app: Option<Arc<Archive>>,
        process: Process,
        limits: TmpLimits,
    ) -> Self {
        let tmp = Mutex::new(Tmp::new(limits));
        Self {
            pack,
            app,
            process,
            tmp,
            open: AtomicU32::new(0),
        }
    }

    /// What `/proc/self` shows.
    pub fn process(&self) -> &Process {
        &self.process
    }

    pub(super) fn tmp(&self) -> MutexGuard<'_, Tmp> {
        self.tmp.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more open file or directory.
    pub(super) fn opened(&self) -> Result<(), Error> {
        if self.open.fetch_add(1, Ordering::Relaxed) >= MAX_OPEN {
            self.closed();
            return Err(Errno::Mfile.into());
        }
        Ok(())
    }

    pub(super) fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn archive(&self, layer: Layer) -> Option<&Arc<Archive>> {
        match layer {
            Layer::Pack => Some(&self.pack),
            Layer::App => self.app.as_ref(),
        }
    }

    /// Resolves `path` from the directory at the end of `from` (the way there from the root).
    pub(super) fn resolve(
        &self,
        from: &[Vnode],
        path: &str,
        last: LastLink,
    ) -> Result<Place, Error> {
        if path.is_empty() {
            return Err(Errno::Noent.into());
        }
        if path.len() > MAX_PATH {
            return Err(Errno::Nametoolong.into());
        }
        let mut above = from.to_vec();
        // What is left to walk, its next part last.
        let mut left: Vec<String> = parts(path);
        let mut links = 0;
        if path.starts_with('/') {
            above.truncate(1);
        }
        while let Some(part) = left.pop() {
            if part == "." {
                continue;
            }
            if part == ".." {
                if above.len() > 1 {
                    above.pop();
                }
                continue;
            }
            let here = *above.last().unwrap_or(&Vnode::Root);
            let Some(node) = self.child(here, &part)? else {
                return if left.iter().all(|part| part == ".") {
                    Ok(Place {
                        above,
                        name: part,
                        node: None,
                    })
                } else {
                    Err(Errno::Noent.into())
                };
            };
            let follow = !left.is_empty() || last == LastLink::Follow || path.ends_with('/');
            match self.link_target(node) {
                Some(target) if follow => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::Loop.into());
                    }
                    if target.starts_with('/') {
                        above.truncate(1);
                    }
                    left.extend(parts(&target));
                }
                _ if left.is_empty() => {
                    if path.ends_with('/') && self.kind(node) != FileType::Directory {
                        return Err(Errno::Notdir.into());
                    }
                    return Ok(Place {
                        above,
                        name: part,
                        node: Some(node),
                    });
                }
                _ => above.push(node),
            }
        }
        let node = above.last().copied();
        Ok(Place {
            above,
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

    /// The entries of a directory: names, nodes.
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

    /// The pack's directories two levels deep, as the ways to them and absolute paths.
    pub(super) fn pack_directories(&self) -> Vec<(String, Vec<Vnode>)> {
        let directories = |way: &[Vnode], path: &str| {
            let here = *way.last().unwrap_or(&Vnode::Root);
            let mut found = Vec::new();
            for (name, node) in self.entries(here) {
                let own = matches!(node, Vnode::Static(Layer::Pack, _));
                if own && self.kind(node) == FileType::Directory {
                    found.push((format!("{path}/{name}"), [way, &[node]].concat()));
                }
            }
            found
        };
        let mut all = directories(&[Vnode::Root], "");
        for (path, way) in all.clone() {
            all.extend(directories(&way, &path));
        }
        all
    }

    /// What a node is.
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

    /// A symbolic link's target.
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

    /// A number that no other node of the tree has.
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

/// A path's parts, last first.
fn parts(path: &str) -> Vec<String> {
    path.split('/')
        .rev()
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}
