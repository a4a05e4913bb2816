//! Names of the nodes of a dyno's file tree, and their attributes.

use std::collections::BTreeMap;

use corundum_pack::archive::{Archive, NodeId};

/// A node of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vnode {
    Root,
    /// A node of the pack's root filesystem, which nobody can change.
    Pack(NodeId),
    /// A node of `/app` or `/tmp`.
    Writable(NodeKey),
    /// A node of `/data`, by the inode of the host.
    Volume(u64),
    Proc(Proc),
    Dev(Dev),
}

/// Nodes of `/proc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proc {
    Directory,
    SelfDirectory,
    Environ,
    Cmdline,
    Stat,
    Statm,
    Status,
    Cpuinfo,
    Uptime,
}

/// Nodes of `/dev`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dev {
    Directory,
    Null,
    Zero,
    Full,
    Random,
}

impl Dev {
    /// Returns the device of a number.
    pub(super) fn from_number(number: u64) -> Option<Self> {
        let devices = [Self::Null, Self::Zero, Self::Full, Self::Random];
        devices.into_iter().find(|device| *device as u64 == number)
    }
}

/// Names a node of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum NodeKey {
    /// A node of the slug, changed or not.
    Slug(NodeId),
    /// A node that the boot or the dyno has made.
    New(u64),
}

impl NodeKey {
    /// The root of `/app`.
    pub(super) const APP: Self = Self::Slug(Archive::ROOT);
    /// The root of `/tmp`.
    pub(super) const TMP: Self = Self::New(0);

    pub(super) fn is_root(self) -> bool {
        self == Self::APP || self == Self::TMP
    }
}

/// Names of a directory that differ from the slug's; `None` hides one of the slug's.
pub(super) type Entries = BTreeMap<Vec<u8>, Option<NodeKey>>;

/// Permissions of a node, and its times in nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileAttributes {
    /// Permission bits (`07777`).
    pub(super) mode: u16,
    /// Number of names.
    pub(super) links: u32,
    pub(super) accessed: i64,
    pub(super) modified: i64,
    pub(super) changed: i64,
}

impl FileAttributes {
    pub(super) fn new(mode: u16, now: i64) -> Self {
        Self {
            mode,
            links: 1,
            accessed: now,
            modified: now,
            changed: now,
        }
    }
}

/// An open file that an image can describe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OpenSource {
    Writable(NodeKey),
    Pack(NodeId),
    Dev(Dev),
    /// A copy of a standard stream, 0 to 2.
    StandardStream(u32),
}
