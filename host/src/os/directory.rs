//! An open directory: path resolution from it, and operations on the results. Only `/tmp` can be written to.

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;

use wasi_common::dir::{OpenResult, ReaddirCursor, ReaddirEntity};
use wasi_common::file::{FdFlags, FileType, Filestat, OFlags};
use wasi_common::snapshots::preview_1::types::Errno;
use wasi_common::{Error, SystemTimeSpec, WasiDir};

use super::file::{FileContent, OpenFile};
use super::tmp::{Inode, Tmp, TmpNode};
use super::tree::{Dev, Filesystem, Handle, LastLink, Proc, ResolvedPath, Vnode};

/// An open directory.
pub(super) struct OpenDirectory {
    filesystem: Arc<Filesystem>,
    /// Directories from the root to this one, which is the last.
    trail: Vec<Vnode>,
    /// Counts the directory against the dyno's open files; `None` for preopened directories.
    _handle: Option<Handle>,
}

impl OpenDirectory {
    /// Opens the directory at the end of `trail` for as long as the dyno exists.
    pub(super) fn preopen(filesystem: Arc<Filesystem>, trail: Vec<Vnode>) -> Self {
        Self {
            filesystem,
            trail,
            _handle: None,
        }
    }

    fn here(&self) -> Vnode {
        *self.trail.last().unwrap_or(&Vnode::Root)
    }

    fn resolve(&self, path: &str, last: LastLink) -> Result<ResolvedPath, Error> {
        self.filesystem.resolve(&self.trail, path, last)
    }

    /// Resolves `path` to a name in a directory of `/tmp`, existing or not.
    fn writable(&self, path: &str) -> Result<(Inode, String, Option<Vnode>), Error> {
        let resolved = self.resolve(path, LastLink::Keep)?;
        match resolved.parents.last() {
            Some(Vnode::Tmp(inode)) if !resolved.name.is_empty() => {
                Ok((*inode, resolved.name, resolved.node))
            }
            _ => Err(Errno::Rofs.into()),
        }
    }

    fn stat(&self, node: Vnode) -> Filestat {
        let filesystem = &self.filesystem;
        let size = match node {
            Vnode::Static(layer, id) => filesystem
                .archive(layer)
                .map_or(0, |archive| archive.content(id).len() as u64),
            Vnode::Tmp(inode) => match filesystem.tmp().node(inode) {
                Some(TmpNode::File(file)) => file.length() as u64,
                _ => 0,
            },
            _ => 0,
        };
        let born = Some(filesystem.process().born());
        Filestat {
            device_id: 1,
            inode: filesystem.inode(node),
            filetype: filesystem.kind(node),
            nlink: 1,
            size,
            atim: born,
            mtim: born,
            ctim: born,
        }
    }

    fn content(&self, node: Vnode) -> Result<FileContent, Error> {
        let filesystem = &self.filesystem;
        Ok(match node {
            Vnode::Static(layer, id) => {
                FileContent::Static(filesystem.archive(layer).ok_or(Errno::Noent)?.clone(), id)
            }
            Vnode::Tmp(inode) => match filesystem.tmp().node(inode) {
                Some(TmpNode::File(file)) => FileContent::Tmp(file.clone()),
                _ => return Err(Errno::Noent.into()),
            },
            Vnode::Proc(Proc::Environ) => FileContent::Bytes(filesystem.process().environ_file()),
            Vnode::Proc(Proc::Cmdline) => FileContent::Bytes(filesystem.process().cmdline_file()),
            Vnode::Proc(Proc::Stat) => FileContent::Bytes(filesystem.process().stat_file()),
            Vnode::Dev(Dev::Null) => FileContent::Null,
            Vnode::Dev(Dev::Zero) => FileContent::Zero,
            Vnode::Dev(Dev::Random) => FileContent::Random,
            Vnode::Root | Vnode::Proc(_) | Vnode::Dev(Dev::Directory) => {
                return Err(Errno::Isdir.into());
            }
        })
    }

    /// Creates a file in `/tmp`.
    ///
    /// # Errors
    ///
    /// `EROFS` if the path lies outside `/tmp`.
    fn create(&self, path: &ResolvedPath) -> Result<Vnode, Error> {
        match path.parents.last() {
            Some(Vnode::Tmp(directory)) => {
                let mut tmp = self.filesystem.tmp();
                let file = tmp.new_file()?;
                Ok(Vnode::Tmp(tmp.add(*directory, &path.name, file)?))
            }
            _ => Err(Errno::Rofs.into()),
        }
    }
}

#[async_trait::async_trait]
impl WasiDir for OpenDirectory {
    fn as_any(&self) -> &dyn Any {
        self
    }

    async fn open_file(
        &self,
        follow: bool,
        path: &str,
        oflags: OFlags,
        _read: bool,
        write: bool,
        flags: FdFlags,
    ) -> Result<OpenResult, Error> {
        let resolved = self.resolve(path, last_link(follow))?;
        let node = match resolved.node {
            Some(_) if oflags.contains(OFlags::CREATE | OFlags::EXCLUSIVE) => {
                return Err(Errno::Exist.into());
            }
            Some(node) => node,
            None if oflags.contains(OFlags::CREATE) => self.create(&resolved)?,
            None => return Err(Errno::Noent.into()),
        };
        let kind = self.filesystem.kind(node);
        if kind == FileType::Directory {
            if write || oflags.intersects(OFlags::CREATE | OFlags::TRUNCATE) {
                return Err(Errno::Isdir.into());
            }
            let mut trail = resolved.parents;
            if !resolved.name.is_empty() {
                trail.push(node);
            }
            trail.shrink_to_fit();
            let handle = self.filesystem.open_handle(size_of_val(&*trail))?;
            let directory = Self {
                filesystem: self.filesystem.clone(),
                trail,
                _handle: Some(handle),
            };
            return Ok(OpenResult::Dir(Box::new(directory)));
        }
        if oflags.contains(OFlags::DIRECTORY) {
            return Err(Errno::Notdir.into());
        }
        if kind == FileType::SymbolicLink {
            return Err(Errno::Loop.into());
        }
        let content = self.content(node)?;
        let changes = write || oflags.contains(OFlags::TRUNCATE);
        if changes && matches!(content, FileContent::Static(..) | FileContent::Bytes(_)) {
            return Err(Errno::Rofs.into());
        }
        if let (FileContent::Tmp(file), true) = (&content, oflags.contains(OFlags::TRUNCATE)) {
            file.set_length(0)?;
        }
        let inode = self.filesystem.inode(node);
        let file = OpenFile::new(content, flags, inode, self.filesystem.clone())?;
        Ok(OpenResult::File(Box::new(file)))
    }

    async fn create_dir(&self, path: &str) -> Result<(), Error> {
        // `mkdir -p` creates directories that exist anywhere in the tree, and expects `EEXIST` rather than `EROFS`.
        if self.resolve(path, LastLink::Follow)?.node.is_some() {
            return Err(Errno::Exist.into());
        }
        let (directory, name, _) = self.writable(path)?;
        let node = TmpNode::Directory(Default::default());
        self.filesystem.tmp().add(directory, &name, node)?;
        Ok(())
    }

    async fn readdir(
        &self,
        cursor: ReaddirCursor,
    ) -> Result<Box<dyn Iterator<Item = Result<ReaddirEntity, Error>> + Send>, Error> {
        let parent = self.trail[self.trail.len().saturating_sub(2)];
        let dots = [(".".to_owned(), self.here()), ("..".to_owned(), parent)];
        let entries = dots.into_iter().chain(self.filesystem.entries(self.here()));
        let entity = |(index, (name, node)): (usize, (String, Vnode))| {
            Ok(ReaddirEntity {
                next: ReaddirCursor::from(index as u64 + 1),
                inode: self.filesystem.inode(node),
                name,
                filetype: self.filesystem.kind(node),
            })
        };
        let skip = usize::try_from(u64::from(cursor)).unwrap_or(usize::MAX);
        let entries: Vec<_> = entries.enumerate().skip(skip).map(entity).collect();
        Ok(Box::new(entries.into_iter()))
    }

    async fn symlink(&self, target: &str, path: &str) -> Result<(), Error> {
        let (directory, name, existing) = self.writable(path)?;
        if existing.is_some() {
            return Err(Errno::Exist.into());
        }
        let node = Tmp::new_symlink(target)?;
        self.filesystem.tmp().add(directory, &name, node)?;
        Ok(())
    }

    async fn remove_dir(&self, path: &str) -> Result<(), Error> {
        let (directory, name, _) = self.writable(path)?;
        self.filesystem.tmp().remove_directory(directory, &name)
    }

    async fn unlink_file(&self, path: &str) -> Result<(), Error> {
        let (directory, name, _) = self.writable(path)?;
        self.filesystem.tmp().unlink(directory, &name)
    }

    async fn read_link(&self, path: &str) -> Result<PathBuf, Error> {
        let node = self
            .resolve(path, LastLink::Keep)?
            .node
            .ok_or(Errno::Noent)?;
        let target = self.filesystem.link_target(node).ok_or(Errno::Inval)?;
        Ok(PathBuf::from(target))
    }

    async fn get_filestat(&self) -> Result<Filestat, Error> {
        Ok(self.stat(self.here()))
    }

    async fn get_path_filestat(&self, path: &str, follow: bool) -> Result<Filestat, Error> {
        let node = self
            .resolve(path, last_link(follow))?
            .node
            .ok_or(Errno::Noent)?;
        Ok(self.stat(node))
    }

    async fn rename(
        &self,
        path: &str,
        directory: &dyn WasiDir,
        new_path: &str,
    ) -> Result<(), Error> {
        let other = directory
            .as_any()
            .downcast_ref::<Self>()
            .ok_or(Errno::Xdev)?;
        let (from, name, _) = self.writable(path)?;
        let (to, new_name, _) = other.writable(new_path)?;
        self.filesystem.tmp().rename((from, &name), (to, &new_name))
    }

    async fn set_times(
        &self,
        path: &str,
        _accessed: Option<SystemTimeSpec>,
        _modified: Option<SystemTimeSpec>,
        _follow: bool,
    ) -> Result<(), Error> {
        // `/tmp` stores no times, but FileUtils.touch must not fail for that. It creates a file when it gets `ENOENT`.
        let (_, _, node) = self.writable(path)?;
        node.map(|_| ()).ok_or_else(|| Errno::Noent.into())
    }
}

fn last_link(follow: bool) -> LastLink {
    if follow {
        LastLink::Follow
    } else {
        LastLink::Keep
    }
}
