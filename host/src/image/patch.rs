//! An image at rest: its difference from the memory of the pack's sample app, and the frame of its full file.
//!
//! The form is `magic, length of the header's frame, length of the header, header's frame, pages' frame, BLAKE3 of all
//! before`. Both frames are zstd's. The pages are those that differ from the base, one after the other, compressed with
//! the base as a prefix: a page that is nearly the one of the base, or that resembles another one, takes a few bytes.
//! Files that the boot has written are in the header's frame.
//! The header names the base by its digest, and everything in it is of use to any engine but for the [`FullFrame`],
//! which spares the engine that wrote it compiling the image again.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use corundum_pack::image::PAGE;
use serde::{Deserialize, Serialize};
use zstd::zstd_safe::{CCtx, CParameter, DCtx, compress_bound, get_error_name};

use super::base::{BaseMemory, HashingWriter};
use super::full::{FrameFacts, FullFrame};
use super::pages::{MemoryShape, Page, PageRun, are_valid, count, pages_of, runs_of};
use super::{ImageDescription, ImageError};
use crate::compiled;
use crate::os::MAX_LAYER;

/// Start of a patch that was compressed while its app was pushed.
const MAGIC: &[u8; 8] = b"CORIMAG1";
/// Start of a patch that was compressed well. The form is the same.
const COMPACT_MAGIC: &[u8; 8] = b"CORIMAGC";
/// Bytes of a digest.
const DIGEST: usize = 32;
/// Bytes of the largest header: runs of pages, the parts of the full file around its memory, and the files of the boot.
const MAX_HEADER: usize = (32 << 20) + MAX_LAYER;
/// Bytes of the largest patch. An image whose pages are all its own and cannot be compressed is smaller.
const MAX_PATCH: u64 = 1 << 30;
/// Level of compression during a push: half of the time of a boot would be too much for a fifth of the size.
const LEVEL: i32 = 6;
/// Level of compression later. It takes a second for a small app and three for one with Sinatra, and halves the patch of the former.
const COMPACT_LEVEL: i32 = 16;
/// The longest window, as an exponent: base and pages together, up to 128 MB.
const MAX_WINDOW: u32 = 27;

/// An image as a patch.
pub(super) struct ImagePatch {
    header: PatchHeader,
    frame: Option<FullFrame>,
    /// The files that the boot has left, encoded; empty if there are none.
    files: Vec<u8>,
    /// The compressed pages.
    pages: Vec<u8>,
    is_compact: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct PatchHeader {
    description: ImageDescription,
    /// Digest of the base.
    base: String,
    shape: MemoryShape,
    /// Pages that differ from the base, whose bytes the patch has.
    changed: Vec<PageRun>,
    /// Pages of the base that hold nothing in the image.
    cleared: Vec<PageRun>,
    frame: Option<FrameFacts>,
    /// Bytes of the files.
    #[serde(default)]
    files: u64,
}

impl ImagePatch {
    /// Compares an image's `pages` with those of `base`.
    ///
    /// # Errors
    ///
    /// The pages cannot be compressed, which is a lack of memory.
    pub(super) fn new(
        description: ImageDescription,
        base: &BaseMemory,
        shape: MemoryShape,
        pages: &[Page<'_>],
        frame: Option<FullFrame>,
    ) -> Result<Self, String> {
        let base_pages = base.pages();
        let mut of_base = base_pages.iter().copied().peekable();
        let (mut changed, mut cleared, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
        for &(page, content) in pages {
            while let Some((skipped, _)) = of_base.next_if(|(other, _)| *other < page) {
                cleared.push(skipped);
            }
            match of_base.next_if(|(other, _)| *other == page) {
                Some((_, same)) if same == content => {}
                _ => {
                    changed.push(page);
                    bytes.extend_from_slice(content);
                }
            }
        }
        cleared.extend(of_base.map(|(page, _)| page));
        Ok(Self {
            header: PatchHeader {
                description,
                base: base.digest().to_owned(),
                shape,
                changed: runs_of(changed),
                cleared: runs_of(cleared),
                frame: frame.as_ref().map(FullFrame::facts),
                files: 0,
            },
            frame,
            files: Vec::new(),
            pages: compress(&bytes, base.bytes(), LEVEL)?,
            is_compact: false,
        })
    }

    /// Compresses the pages as well as possible.
    ///
    /// # Errors
    ///
    /// The patch has another base than `base`, or memory is short.
    pub(super) fn compact(mut self, base: &BaseMemory) -> Result<Self, String> {
        let bytes = self.changed_pages(base).ok_or("its base is gone")?;
        let pages = compress(&bytes, base.bytes(), COMPACT_LEVEL)?;
        if pages.len() < self.pages.len() {
            self.pages = pages;
        }
        self.is_compact = true;
        Ok(self)
    }

    /// Adds what the boot has left in files.
    pub(super) fn with_files(mut self, files: Vec<u8>) -> Self {
        self.header.files = files.len() as u64;
        self.files = files;
        self
    }

    /// Returns what the boot has left in files, encoded; empty for nothing.
    pub(super) fn files(&self) -> &[u8] {
        &self.files
    }

    /// Reads the patch at `path`.
    ///
    /// # Errors
    ///
    /// Returns [`ImageError::Stale`] if the file is missing or damaged.
    pub(super) fn read(path: &Path) -> Result<Self, ImageError> {
        let stale = |reason: String| ImageError::Stale {
            path: path.to_owned(),
            reason,
        };
        let length = fs::metadata(path)
            .map_err(|error| stale(error.to_string()))?
            .len();
        if length > MAX_PATCH {
            return Err(stale("it is too large".to_owned()));
        }
        let bytes = fs::read(path).map_err(|error| stale(error.to_string()))?;
        Self::parse(&bytes).ok_or_else(|| stale("it is damaged".to_owned()))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (content, written) = bytes.split_at_checked(bytes.len().checked_sub(DIGEST)?)?;
        if blake3::hash(content).as_bytes() != written {
            return None;
        }
        let (magic, rest) = content.split_first_chunk()?;
        let is_compact = is_compact(magic)?;
        let (frame_length, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let [frame_length, length] =
            [frame_length, length].map(|bytes| u32::from_le_bytes(*bytes) as usize);
        let (header, pages) = rest.split_at_checked(frame_length)?;
        let header = decompress(
            header,
            &[],
            Some(length).filter(|length| *length <= MAX_HEADER)?,
        )?;
        let (json, around) = header.split_first_chunk()?;
        let (json, around) = around.split_at_checked(u32::from_le_bytes(*json) as usize)?;
        let header: PatchHeader = serde_json::from_slice(json).ok()?;
        // The base may be larger than the image.
        if !header.shape.holds(&header.changed) || !are_valid(&header.cleared) {
            return None;
        }
        let around_length = around
            .len()
            .checked_sub(usize::try_from(header.files).ok()?)?;
        let (around, files) = around.split_at_checked(around_length)?;
        let files = files.to_vec();
        let frame = match &header.frame {
            Some(facts) => Some(FullFrame::from_parts(facts, around)?),
            None => None,
        };
        Some(Self {
            frame,
            files,
            header,
            pages: pages.to_vec(),
            is_compact,
        })
    }

    /// Writes the patch to `path`, in place of an earlier one.
    ///
    /// # Errors
    ///
    /// Returns [`ImageError::Write`] if the disk fails.
    pub(super) fn write(&self, path: &Path) -> Result<(), ImageError> {
        let failed = |reason: String| ImageError::Write {
            path: path.to_owned(),
            reason,
        };
        let json = serde_json::to_vec(&self.header).map_err(|error| failed(error.to_string()))?;
        let mut header = (json.len() as u32).to_le_bytes().to_vec();
        header.extend_from_slice(&json);
        if let Some(frame) = &self.frame {
            header.extend_from_slice(frame.head());
            header.extend_from_slice(frame.tail());
        }
        header.extend_from_slice(&self.files);
        let compressed = compress(&header, &[], LEVEL).map_err(failed)?;
        let magic = match self.is_compact {
            true => COMPACT_MAGIC,
            false => MAGIC,
        };
        compiled::replace(path, |file| {
            let mut hashing = HashingWriter::new(file);
            hashing.write_all(magic)?;
            hashing.write_all(&(compressed.len() as u32).to_le_bytes())?;
            hashing.write_all(&(header.len() as u32).to_le_bytes())?;
            hashing.write_all(&compressed)?;
            hashing.write_all(&self.pages)?;
            hashing.finish()
        })
        .map_err(|error| failed(error.to_string()))
    }

    pub(super) fn description(&self) -> &ImageDescription {
        &self.header.description
    }

    pub(super) fn shape(&self) -> &MemoryShape {
        &self.header.shape
    }

    /// Returns the frame of the full file, if the engine of `key` has written it.
    pub(super) fn frame(&self, key: &str) -> Option<&FullFrame> {
        self.frame.as_ref().filter(|frame| frame.engine() == key)
    }

    /// Replaces the frame of the full file by the one of another engine.
    pub(super) fn set_frame(&mut self, frame: FullFrame) {
        self.header.frame = Some(frame.facts());
        self.frame = Some(frame);
    }

    /// Removes the frame of the full file.
    pub(super) fn clear_frame(&mut self) {
        self.header.frame = None;
        self.frame = None;
    }

    /// Decompresses the pages that differ from `base`. Returns `None` if the image has another base.
    pub(super) fn changed_pages(&self, base: &BaseMemory) -> Option<Vec<u8>> {
        if self.header.base != base.digest() {
            return None;
        }
        let length = count(&self.header.changed).checked_mul(PAGE as u64)?;
        decompress(&self.pages, base.bytes(), usize::try_from(length).ok()?)
    }

    /// Returns all pages of the image: those of `base`, and those of `changed` in their place.
    pub(super) fn all_pages<'a>(&self, base: &'a BaseMemory, changed: &'a [u8]) -> Vec<Page<'a>> {
        let mut changed = pages_of(&self.header.changed, changed)
            .into_iter()
            .peekable();
        let cleared = self.header.cleared.iter();
        let mut cleared = cleared
            .flat_map(|(first, count)| *first..*first + *count)
            .peekable();
        let mut all = Vec::new();
        for page in base.pages() {
            while let Some(new) = changed.next_if(|(number, _)| *number < page.0) {
                all.push(new);
            }
            if cleared.next_if_eq(&page.0).is_some() {
                continue;
            }
            match changed.next_if(|(number, _)| *number == page.0) {
                Some(new) => all.push(new),
                None => all.push(page),
            }
        }
        all.extend(changed);
        all
    }
}

/// Returns whether the patch at `path` is compact, which its first bytes tell.
///
/// # Errors
///
/// Fails if the file cannot be read or is no patch.
pub(super) fn is_compact_file(path: &Path) -> std::io::Result<bool> {
    let mut magic = [0; MAGIC.len()];
    File::open(path)?.read_exact(&mut magic)?;
    is_compact(&magic).ok_or_else(|| std::io::ErrorKind::InvalidData.into())
}

/// Returns whether a patch with this start is compact, or `None` if it is no patch.
fn is_compact(magic: &[u8; MAGIC.len()]) -> Option<bool> {
    (magic == COMPACT_MAGIC || magic == MAGIC).then_some(magic == COMPACT_MAGIC)
}

/// Compresses `bytes`, which may refer to bytes of `prefix`.
fn compress(bytes: &[u8], prefix: &[u8], level: i32) -> Result<Vec<u8>, String> {
    let failed = |code| format!("zstd: {}", get_error_name(code));
    let reach = (prefix.len() + bytes.len()).max(1).ilog2() + 1;
    let parameters = [
        CParameter::CompressionLevel(level),
        CParameter::WindowLog(reach.clamp(10, MAX_WINDOW)),
        CParameter::EnableLongDistanceMatching(!prefix.is_empty()),
    ];
    let mut context = CCtx::try_create().ok_or("zstd: out of memory")?;
    for parameter in parameters {
        context.set_parameter(parameter).map_err(failed)?;
    }
    context.ref_prefix(prefix).map_err(failed)?;
    let mut compressed = Vec::with_capacity(compress_bound(bytes.len()));
    context.compress2(&mut compressed, bytes).map_err(failed)?;
    compressed.shrink_to_fit();
    Ok(compressed)
}

/// Decompresses exactly `length` bytes. Takes no other memory than these: the prefix is read where it is.
fn decompress(compressed: &[u8], prefix: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut context = DCtx::try_create()?;
    context.ref_prefix(prefix).ok()?;
    let mut bytes = Vec::with_capacity(length);
    context.decompress(&mut bytes, compressed).ok()?;
    (bytes.len() == length).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::super::ImageSnapshot;
    use super::super::pages::nonzero_pages;
    use super::*;
    use crate::guest_state::InterruptFlag;

    const PAGES: usize = 32;

    fn description() -> ImageDescription {
        ImageDescription {
            extensions: Vec::new(),
            pack: "p".repeat(64),
            born: 1,
            hot_pages: vec![(PAGE, 3 * PAGE)].into(),
            interrupt: InterruptFlag {
                address: 5,
                offset: 0,
            },
        }
    }

    fn base(directory: &TempDir, memory: &[u8]) -> BaseMemory {
        let path = directory
            .path()
            .join(format!("{}.base", blake3::hash(memory)));
        let snapshot = ImageSnapshot {
            memory,
            globals: Vec::new(),
        };
        BaseMemory::write(&path, &snapshot).unwrap();
        BaseMemory::open(&path).unwrap()
    }

    fn patch(base: &BaseMemory, memory: &[u8]) -> ImagePatch {
        let shape = MemoryShape::new(memory.len(), &[]).unwrap();
        ImagePatch::new(description(), base, shape, &nonzero_pages(memory), None).unwrap()
    }

    fn memory(fills: &[u8]) -> Vec<u8> {
        let mut memory = vec![0; PAGES * PAGE];
        for (page, fill) in memory.chunks_mut(PAGE).zip(fills) {
            page[7] = *fill;
        }
        memory
    }

    proptest! {
        #[test]
        fn image_is_the_same_after_it_was_a_patch(
            before in proptest::collection::vec(0_u8..3, PAGES),
            after in proptest::collection::vec(0_u8..3, PAGES),
        ) {
            let directory = tempfile::tempdir().unwrap();
            let (before, after) = (memory(&before), memory(&after));
            let base = base(&directory, &before);
            let path = directory.path().join("patch");
            patch(&base, &after).write(&path).unwrap();
            let read = ImagePatch::read(&path).unwrap();
            let changed = read.changed_pages(&base).unwrap();
            prop_assert_eq!(read.all_pages(&base, &changed), nonzero_pages(&after));
            prop_assert_eq!(read.description(), &description());
        }
    }

    #[test]
    fn equal_images_have_equal_patches_and_similar_pages_take_few_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let mut noise = vec![0; PAGES * PAGE];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        let base = base(&directory, &noise);
        // One page is changed in one byte, one is moved, one is cleared.
        let mut changed = noise.clone();
        changed[3 * PAGE] ^= 1;
        changed.copy_within(8 * PAGE..9 * PAGE, 20 * PAGE);
        changed[30 * PAGE..31 * PAGE].fill(0);
        let [one, other] = ["one", "other"].map(|name| {
            let path = directory.path().join(name);
            patch(&base, &changed).write(&path).unwrap();
            fs::read(path).unwrap()
        });
        assert_eq!(one, other);
        assert!(one.len() < 1024, "{} bytes", one.len());
    }

    #[test]
    fn compact_patch_holds_the_same_image_in_fewer_bytes() {
        let directory = tempfile::tempdir().unwrap();
        // Like a heap: few kinds of objects, in an order that does not repeat.
        let kinds = [
            "String",
            "Symbol",
            "Array of 3",
            "Hash",
            "Proc",
            "Method",
            "Regexp",
            "Integer",
        ];
        let words = |seed: u32| -> Vec<u8> {
            let mut state = seed;
            let mut memory = Vec::with_capacity(PAGES * PAGE + 64);
            while memory.len() < PAGES * PAGE {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                memory.extend_from_slice(kinds[(state >> 29) as usize].as_bytes());
                memory.extend_from_slice(&(state >> 24).to_le_bytes());
            }
            memory.truncate(PAGES * PAGE);
            memory
        };
        let (before, after) = (words(0), words(5));
        let base = base(&directory, &before);
        let path = directory.path().join("patch");
        patch(&base, &after).write(&path).unwrap();
        let length = fs::metadata(&path).unwrap().len();
        assert!(!is_compact_file(&path).unwrap());
        let compact = ImagePatch::read(&path).unwrap().compact(&base).unwrap();
        compact.write(&path).unwrap();
        assert!(is_compact_file(&path).unwrap());
        assert!(fs::metadata(&path).unwrap().len() < length);
        let read = ImagePatch::read(&path).unwrap();
        let changed = read.changed_pages(&base).unwrap();
        assert_eq!(read.all_pages(&base, &changed), nonzero_pages(&after));
        assert_eq!(read.description(), &description());
        let other = ImagePatch::read(&path)
            .unwrap()
            .compact(&BaseMemory::empty());
        assert!(other.is_err());
    }

    #[test]
    fn damaged_patch_and_another_base_are_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let (before, after) = (memory(&[1; PAGES]), memory(&[2; PAGES]));
        let base_memory = base(&directory, &before);
        let path = directory.path().join("patch");
        patch(&base_memory, &after).write(&path).unwrap();
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            assert!(ImagePatch::parse(&damaged).is_none(), "byte {at}");
            assert!(ImagePatch::parse(&whole[..at]).is_none(), "{at} bytes");
        }
        let read = ImagePatch::read(&path).unwrap();
        assert!(read.changed_pages(&base(&directory, &after)).is_none());
        assert!(read.changed_pages(&BaseMemory::empty()).is_none());
        assert!(read.frame("another engine").is_none());
    }

    #[test]
    fn image_may_be_smaller_or_larger_than_its_base() {
        let directory = tempfile::tempdir().unwrap();
        let small = vec![1; 16 * PAGE];
        let large = vec![2; 48 * PAGE];
        for (before, after) in [(&large, &small), (&small, &large)] {
            let base = base(&directory, before);
            let path = directory.path().join("patch");
            patch(&base, after).write(&path).unwrap();
            let read = ImagePatch::read(&path).unwrap();
            let changed = read.changed_pages(&base).unwrap();
            assert_eq!(read.all_pages(&base, &changed), nonzero_pages(after));
        }
    }

    #[test]
    fn patch_that_claims_too_much_is_rejected() {
        let directory = tempfile::tempdir().unwrap();
        let base = base(&directory, &memory(&[1; PAGES]));
        let mut patch = patch(&base, &memory(&[2; PAGES]));
        patch.header.changed = vec![(0, u32::MAX)];
        let path = directory.path().join("patch");
        patch.write(&path).unwrap();
        assert!(ImagePatch::read(&path).is_err());
        patch.header.changed = vec![(0, PAGES as u32 - 1)];
        patch.write(&path).unwrap();
        assert!(
            ImagePatch::read(&path)
                .unwrap()
                .changed_pages(&base)
                .is_none()
        );
    }
}
