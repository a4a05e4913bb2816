//! An open directory: where paths start, and what a listing shows.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

use wasi_common::WasiDir;
use wasi_common::file::FileType;
use wasi_common::snapshots::preview_1::types::Errno;

use super::node::Vnode;
use super::tree::{Filesystem, Handle, volume_inode};
use crate::account::Charge;
use crate::volume::HeldDirectory;

/// Bytes of the host's memory for an entry of a listing, beside its name.
const LISTED: usize = 64;
/// Bytes of the host's memory for a node of a volume and its name.
const VOLUME_NODE: usize = 512;
/// Entries of a listing that are charged at once.
const CHARGED_ENTRIES: usize = 256;

/// An open directory.
pub(crate) struct OpenDirectory {
    filesystem: Arc<Filesystem>,
    /// Directories from the root to this one, which is the last.
    trail: Vec<Vnode>,
    /// The entries at the time when the guest began to read them, so that removing one hides no other.
    listing: Mutex<Listing>,
    /// The open directory of the host, if this is one of a volume.
    held: Option<HeldDirectory>,
    /// Counts the directory against the dyno's open files.
    _handle: Handle,
}

#[derive(Default)]
struct Listing {
    /// `None` before the first read.
    entries: Option<Vec<ListedEntry>>,
    _charge: Option<Charge>,
}

/// An entry of a directory.
#[derive(Debug, Clone)]
pub(crate) struct ListedEntry {
    pub(crate) name: Vec<u8>,
    pub(crate) inode: u64,
    pub(crate) kind: FileType,
}

impl OpenDirectory {
    /// Opens the directory at the end of `trail`.
    ///
    /// # Errors
    ///
    /// `EMFILE` if the dyno has too many open.
    pub(super) fn new(filesystem: Arc<Filesystem>, mut trail: Vec<Vnode>) -> Result<Self, Errno> {
        trail.shrink_to_fit();
        let node = *trail.last().unwrap_or(&Vnode::Root);
        let held = match node {
            Vnode::Volume(inode) => Some(filesystem.volume()?.hold(inode)?),
            _ => None,
        };
        // Each directory of a volume keeps its name, too.
        let in_volume = |node: &&Vnode| matches!(node, Vnode::Volume(_));
        let nodes = trail.iter().filter(in_volume).count() * VOLUME_NODE;
        let handle = filesystem.open_handle(size_of_val(&*trail) + nodes)?;
        Ok(Self {
            filesystem,
            trail,
            listing: Mutex::default(),
            held,
            _handle: handle,
        })
    }

    /// Returns the open directory of the host, if this is one of a volume.
    pub(crate) fn held(&self) -> Option<&HeldDirectory> {
        self.held.as_ref()
    }

    pub(super) fn trail(&self) -> &[Vnode] {
        &self.trail
    }

    pub(super) fn node(&self) -> Vnode {
        *self.trail.last().unwrap_or(&Vnode::Root)
    }

    /// Passes the entries from the `start`th on to `visit` until it returns false. The first entry starts a new listing.
    ///
    /// # Errors
    ///
    /// `EMFILE` if the node has no memory for the listing.
    pub(crate) fn read(
        &self,
        start: usize,
        visit: impl FnMut(&ListedEntry) -> bool,
    ) -> Result<(), Errno> {
        let mut listing = self.listing.lock().unwrap_or_else(PoisonError::into_inner);
        if start == 0 || listing.entries.is_none() {
            *listing = Listing::default();
            let mut charge = self.filesystem.charge_handles(0)?;
            let entries = list(&self.filesystem, &self.trail, &mut charge)?;
            *listing = Listing {
                _charge: Some(charge),
                entries: Some(entries),
            };
        }
        let mut visit = visit;
        for entry in listing.entries.iter().flatten().skip(start) {
            if !visit(entry) {
                break;
            }
        }
        Ok(())
    }
}

/// Returns the entries of the directory at the end of `trail`, `.` and `..` first, and charges them.
///
/// # Errors
///
/// `EMFILE` if the node has no memory for them, and those of reading a directory of a volume.
pub(super) fn list(
    filesystem: &Filesystem,
    trail: &[Vnode],
    charge: &mut Charge,
) -> Result<Vec<ListedEntry>, Errno> {
    let here = *trail.last().unwrap_or(&Vnode::Root);
    let parent = trail.iter().rev().nth(1).copied().unwrap_or(here);
    let dots = [(b".".to_vec(), here), (b"..".to_vec(), parent)];
    let entries = dots.into_iter().chain(filesystem.entries(here));
    let listed = |(name, node)| ListedEntry {
        name,
        inode: filesystem.inode(node),
        kind: filesystem.kind(node).unwrap_or(FileType::Unknown),
    };
    let mut entries: Vec<_> = entries.map(listed).collect();
    let mut bytes: usize = entries.iter().map(|entry| LISTED + entry.name.len()).sum();
    charge.try_resize(bytes).map_err(|_| Errno::Mfile)?;
    if let Vnode::Volume(inode) = here {
        filesystem.volume()?.list(inode, |entry| {
            bytes += LISTED + entry.name.len();
            if entries.len() % CHARGED_ENTRIES == 0 {
                charge.try_resize(bytes).map_err(|_| Errno::Mfile)?;
            }
            entries.push(ListedEntry {
                inode: volume_inode(entry.inode),
                name: entry.name,
                kind: entry.kind,
            });
            Ok(())
        })?;
        charge.try_resize(bytes).map_err(|_| Errno::Mfile)?;
    }
    Ok(entries)
}

/// An entry of WASI's table of descriptors for a directory. The functions for paths find it in
/// [`super::descriptors::Descriptors`].
pub(super) struct DirectoryHandle;

#[async_trait::async_trait]
impl WasiDir for DirectoryHandle {
    fn as_any(&self) -> &dyn Any {
        self
    }
}
