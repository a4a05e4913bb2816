//! The part of an image that is not memory: nodes that the boot has made or changed in `/app` and `/tmp`, and files that
//! it has left open.
//!
//! The form is `magic, next node, number of nodes, nodes, number of descriptors, descriptors, contents`, all numbers
//! little-endian. It depends on the slug alone, whose nodes it names by their index.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use corundum_pack::archive::{Archive, NodeId};
use wasi_common::file::FileType;

use super::node::{Dev, Entries, FileAttributes, NodeKey, OpenSource};
use super::writable::{CollectedBody, WritableTree};

const MAGIC: &[u8; 8] = b"CORFILE1";
/// Most bytes that a boot may leave in files, beside the slug's own. They are in the image of every release.
pub const MAX_LAYER: usize = 32 << 20;

/// A node that the boot has made or changed.
pub(super) struct LayerNode {
    pub(super) attributes: FileAttributes,
    body: LayerBody,
}

enum LayerBody {
    Directory(Entries),
    File(Range<usize>),
    Symlink(Range<usize>),
}

impl LayerNode {
    pub(super) fn kind(&self) -> FileType {
        match self.body {
            LayerBody::Directory(_) => FileType::Directory,
            LayerBody::File(_) => FileType::RegularFile,
            LayerBody::Symlink(_) => FileType::SymbolicLink,
        }
    }

    pub(super) fn entries(&self) -> Option<&Entries> {
        match &self.body {
            LayerBody::Directory(entries) => Some(entries),
            _ => None,
        }
    }

    pub(super) fn file(&self) -> Option<Range<usize>> {
        match &self.body {
            LayerBody::File(range) => Some(range.clone()),
            _ => None,
        }
    }

    pub(super) fn target<'a>(&self, layer: &'a BootLayer) -> Option<&'a [u8]> {
        match &self.body {
            LayerBody::Symlink(range) => Some(layer.bytes(range)),
            _ => None,
        }
    }
}

/// A descriptor that the boot has left open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LayerDescriptor {
    pub(super) fd: u32,
    /// Descriptors with the same number share their position and flags, as `dup` makes them.
    pub(super) description: u32,
    pub(super) source: OpenSource,
    pub(super) flags: u32,
    pub(super) reads: bool,
    pub(super) writes: bool,
    pub(super) position: u64,
}

/// Files and descriptors of an image. Dynos share them until they write.
pub struct BootLayer {
    data: Box<dyn AsRef<[u8]> + Send + Sync>,
    nodes: HashMap<NodeKey, LayerNode>,
    descriptors: Vec<LayerDescriptor>,
    next: u64,
}

impl BootLayer {
    pub(super) fn node(&self, key: NodeKey) -> Option<&LayerNode> {
        self.nodes.get(&key)
    }

    pub(super) fn bytes(&self, range: &Range<usize>) -> &[u8] {
        (*self.data).as_ref().get(range.clone()).unwrap_or_default()
    }

    pub(super) fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn descriptors(&self) -> &[LayerDescriptor] {
        &self.descriptors
    }

    /// Encodes what a boot has left. Returns nothing if it has changed no file and left none open.
    pub(super) fn encode(tree: &WritableTree, descriptors: &[LayerDescriptor]) -> Option<Vec<u8>> {
        if tree.is_unchanged() && descriptors.is_empty() {
            return None;
        }
        let mut nodes = tree.collected();
        nodes.sort_by_key(|(key, ..)| number(*key));
        let mut out = MAGIC.to_vec();
        let mut contents = Vec::new();
        put(&mut out, tree.next());
        put(&mut out, nodes.len() as u64);
        for (key, attributes, body) in &nodes {
            put_key(&mut out, Some(*key));
            for value in [
                u64::from(attributes.mode),
                u64::from(attributes.links),
                attributes.accessed.cast_unsigned(),
                attributes.modified.cast_unsigned(),
                attributes.changed.cast_unsigned(),
            ] {
                put(&mut out, value);
            }
            match body {
                CollectedBody::Directory(entries) => {
                    put(&mut out, 0);
                    put(&mut out, entries.len() as u64);
                    for (name, key) in entries {
                        put(&mut out, name.len() as u64);
                        out.extend_from_slice(name);
                        put_key(&mut out, *key);
                    }
                }
                CollectedBody::File(bytes) | CollectedBody::Symlink(bytes) => {
                    let is_file = matches!(body, CollectedBody::File(_));
                    put(&mut out, if is_file { 1 } else { 2 });
                    put(&mut out, bytes.len() as u64);
                    contents.extend_from_slice(bytes);
                }
            }
        }
        put(&mut out, descriptors.len() as u64);
        for descriptor in descriptors {
            put(&mut out, u64::from(descriptor.fd));
            put(&mut out, u64::from(descriptor.description));
            let (kind, index) = match descriptor.source {
                OpenSource::Writable(NodeKey::Slug(id)) => (0, u64::from(id.index())),
                OpenSource::Writable(NodeKey::New(number)) => (1, number),
                OpenSource::Pack(id) => (2, u64::from(id.index())),
                OpenSource::Dev(device) => (3, device as u64),
                OpenSource::StandardStream(number) => (4, u64::from(number)),
            };
            put(&mut out, kind);
            put(&mut out, index);
            put(&mut out, u64::from(descriptor.flags));
            let access = u64::from(descriptor.reads) | u64::from(descriptor.writes) << 1;
            put(&mut out, access);
            put(&mut out, descriptor.position);
        }
        out.extend_from_slice(&contents);
        Some(out)
    }

    /// Indexes an encoded layer of an app with `slug` on a pack with `root`. Returns `None` if it is damaged or belongs to
    /// another slug.
    pub(crate) fn parse(
        data: impl AsRef<[u8]> + Send + Sync + 'static,
        slug: Option<&Archive>,
        root: &Archive,
    ) -> Option<Self> {
        let bytes = data.as_ref();
        let mut reader = Reader {
            rest: bytes.strip_prefix(MAGIC)?,
            slug,
            root,
        };
        let next = reader.number()?;
        let mut nodes = HashMap::new();
        let mut lengths = Vec::new();
        for _ in 0..reader.number()? {
            let key = reader.key()??;
            let [mode, links, accessed, modified, changed] = [
                reader.number()?,
                reader.number()?,
                reader.number()?,
                reader.number()?,
                reader.number()?,
            ];
            let attributes = FileAttributes {
                mode: u16::try_from(mode).ok()? & 0o7777,
                links: u32::try_from(links).ok()?,
                accessed: accessed.cast_signed(),
                modified: modified.cast_signed(),
                changed: changed.cast_signed(),
            };
            let body = match reader.number()? {
                0 => {
                    let mut entries = Entries::new();
                    for _ in 0..reader.number()? {
                        let length = reader.number()?;
                        let name = reader.take(length)?.to_vec();
                        entries.insert(name, reader.key()?);
                    }
                    LayerBody::Directory(entries)
                }
                kind @ (1 | 2) => {
                    lengths.push((key, reader.number()?));
                    // The place of the content is known at the end.
                    if kind == 1 {
                        LayerBody::File(0..0)
                    } else {
                        LayerBody::Symlink(0..0)
                    }
                }
                _ => return None,
            };
            nodes.insert(key, LayerNode { attributes, body });
        }
        let mut descriptors = Vec::new();
        for _ in 0..reader.number()? {
            descriptors.push(reader.descriptor()?);
        }
        let mut at = bytes.len() - reader.rest.len();
        for (key, length) in lengths {
            let end = at.checked_add(usize::try_from(length).ok()?)?;
            if end > bytes.len() {
                return None;
            }
            match nodes.get_mut(&key).map(|node| &mut node.body) {
                Some(LayerBody::File(range) | LayerBody::Symlink(range)) => *range = at..end,
                _ => return None,
            }
            at = end;
        }
        Some(Self {
            data: Box::new(data),
            nodes,
            descriptors,
            next,
        })
    }
}

/// Returns a number that orders keys.
fn number(key: NodeKey) -> (u8, u64) {
    match key {
        NodeKey::Slug(id) => (1, u64::from(id.index())),
        NodeKey::New(number) => (2, number),
    }
}

fn put(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_key(out: &mut Vec<u8>, key: Option<NodeKey>) {
    let (tag, value) = key.map_or((0, 0), number);
    out.push(tag);
    put(out, value);
}

struct Reader<'a> {
    rest: &'a [u8],
    slug: Option<&'a Archive>,
    root: &'a Archive,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(usize::try_from(length).ok()?)?;
        self.rest = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        let (bytes, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(u64::from_le_bytes(*bytes))
    }

    /// Reads a key; the inner `None` stands for a hidden name.
    fn key(&mut self) -> Option<Option<NodeKey>> {
        let tag = *self.take(1)?.first()?;
        let value = self.number()?;
        Some(match tag {
            0 => None,
            1 => Some(NodeKey::Slug(node_of(self.slug?, value)?)),
            2 => Some(NodeKey::New(value)),
            _ => return None,
        })
    }

    fn descriptor(&mut self) -> Option<LayerDescriptor> {
        let fd = u32::try_from(self.number()?).ok()?;
        let description = u32::try_from(self.number()?).ok()?;
        let (kind, index) = (self.number()?, self.number()?);
        let source = match kind {
            0 => OpenSource::Writable(NodeKey::Slug(node_of(self.slug?, index)?)),
            1 => OpenSource::Writable(NodeKey::New(index)),
            2 => OpenSource::Pack(node_of(self.root, index)?),
            3 => OpenSource::Dev(Dev::from_number(index)?),
            4 => {
                OpenSource::StandardStream(u32::try_from(index).ok().filter(|number| *number < 3)?)
            }
            _ => return None,
        };
        let flags = u32::try_from(self.number()?).ok()?;
        let access = self.number()?;
        Some(LayerDescriptor {
            fd,
            description,
            source,
            flags,
            reads: access & 1 != 0,
            writes: access & 2 != 0,
            position: self.number()?,
        })
    }
}

fn node_of(archive: &Archive, index: u64) -> Option<NodeId> {
    archive.node_id(u32::try_from(index).ok()?)
}

impl fmt::Debug for BootLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BootLayer")
            .field("nodes", &self.nodes.len())
            .field("descriptors", &self.descriptors)
            .finish_non_exhaustive()
    }
}
