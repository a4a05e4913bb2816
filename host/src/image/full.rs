//! The full file of an image: the compiled module that the engine maps.
//!
//! Compiling a data-only module copies its memory three times. A full file is therefore compiled once, when its app is
//! booted. From then on its frame (everything around the memory, some kilobytes) is kept with the patch, and the file
//! is made again by writing the frame and the pages that hold something.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::Path;

use corundum_pack::image::PAGE;
use object::{Object, ObjectSection};
use rustix::fs::{SeekFrom, seek};
use rustix::io::{Errno, pwritev};
use serde::{Deserialize, Serialize};

use super::pages::{MemoryShape, Page, is_zero};
use crate::engine::Engine;
use crate::native;

/// The section in which the engine keeps the memory of a module.
const MEMORY_SECTION: &str = ".rodata.wasm";
/// Most pages that one call writes (`IOV_MAX`).
const MAX_SLICES: usize = 1024;

/// Everything of a full file but its memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FullFrame {
    facts: FrameFacts,
    /// Bytes before the memory.
    head: Vec<u8>,
    /// Bytes behind the memory.
    tail: Vec<u8>,
}

/// The numbers of a [`FullFrame`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FrameFacts {
    /// Key of the engine that has written the file.
    engine: String,
    /// Digest of the whole file, see [`digest`].
    digest: String,
    head: u64,
    memory: u64,
    tail: u64,
    /// Number of the memory's first page that the file holds.
    first_page: u32,
}

impl FullFrame {
    /// Takes the frame of a compiled module whose memory holds `pages`. Returns `None` if the engine has not laid the
    /// memory out as it is, page by page.
    fn of(engine: &Engine, compiled: &[u8], pages: &[Page<'_>]) -> Option<Self> {
        let file = object::File::parse(compiled).ok()?;
        let (start, length) = file.section_by_name(MEMORY_SECTION)?.file_range()?;
        let end = start.checked_add(length)?;
        let memory = compiled.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)?;
        let first_page = pages.first()?.0;
        let mut expected = pages.iter().peekable();
        for (page, bytes) in (first_page..).zip(memory.chunks(PAGE)) {
            match expected.next_if(|(number, _)| *number == page) {
                Some((_, content)) if *content == bytes => {}
                None if is_zero(bytes) => {}
                _ => return None,
            }
        }
        let is_whole = expected.next().is_none() && start.is_multiple_of(PAGE as u64);
        let (head, tail) = (
            compiled.get(..start as usize)?,
            compiled.get(end as usize..)?,
        );
        is_whole.then(|| Self {
            facts: FrameFacts {
                engine: engine.compatibility_key(),
                digest: digest(compiled, [(0, compiled.len())]),
                head: head.len() as u64,
                memory: length,
                tail: tail.len() as u64,
                first_page,
            },
            head: head.to_vec(),
            tail: tail.to_vec(),
        })
    }

    /// Puts a frame together from its numbers and the bytes around the memory.
    pub(super) fn from_parts(facts: &FrameFacts, around: &[u8]) -> Option<Self> {
        let (head, tail) = around.split_at_checked(usize::try_from(facts.head).ok()?)?;
        let is_whole = tail.len() as u64 == facts.tail && facts.head.is_multiple_of(PAGE as u64);
        is_whole.then(|| Self {
            facts: facts.clone(),
            head: head.to_vec(),
            tail: tail.to_vec(),
        })
    }

    pub(super) fn facts(&self) -> FrameFacts {
        self.facts.clone()
    }

    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }

    pub(super) fn tail(&self) -> &[u8] {
        &self.tail
    }

    /// Returns the key of the engine that has written the file.
    pub(super) fn engine(&self) -> &str {
        &self.facts.engine
    }

    /// Writes the full file of the image with `pages`.
    ///
    /// It is not synced to disk: a crash costs no more than making it again.
    pub(super) fn write(&self, file: &File, pages: &[Page<'_>]) -> io::Result<()> {
        let FrameFacts {
            head, memory, tail, ..
        } = self.facts;
        write_blocks(file, 0, &self.head)?;
        for run in pages.chunk_by(|(page, _), (next, _)| page + 1 == *next) {
            let first = run.first().map_or(0, |(page, _)| *page);
            let within = u64::from(first.wrapping_sub(self.facts.first_page)) * PAGE as u64;
            if within.saturating_add((run.len() * PAGE) as u64) > memory {
                return Err(io::Error::other("the image has pages outside of its file"));
            }
            write_run(file, head + within, run)?;
        }
        write_blocks(file, head + memory, &self.tail)?;
        file.set_len(head + memory + tail)
    }

    /// Returns whether the file at `path` is the one that this frame describes.
    pub(super) fn verify(&self, path: &Path) -> bool {
        let verify = || -> io::Result<bool> {
            let (file, map) = (File::open(path)?, native::map(path)?);
            let FrameFacts {
                head, memory, tail, ..
            } = self.facts;
            let is_whole = map.len() as u64 == head + memory + tail;
            Ok(is_whole && digest(&map, extents(&file, map.len())?) == self.facts.digest)
        };
        verify().unwrap_or(false)
    }
}

/// Compiles the image with `pages` and writes its full file. Returns the frame, unless the engine's layout is unknown.
///
/// # Errors
///
/// The module does not compile, or the disk fails.
pub(super) fn compile(
    engine: &Engine,
    shape: &MemoryShape,
    pages: &[Page<'_>],
    file: &File,
) -> io::Result<Option<FullFrame>> {
    let compiled = engine.wasmtime().precompile_module(&shape.to_wasm(pages));
    let compiled = compiled.map_err(|error| io::Error::other(format!("{error:#}")))?;
    write_blocks(file, 0, &compiled)?;
    file.set_len(compiled.len() as u64)?;
    Ok(FullFrame::of(engine, &compiled, pages))
}

/// Writes the blocks of `bytes` that hold something. The others become holes.
fn write_blocks(file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    let mut blocks = (offset..).step_by(PAGE).zip(bytes.chunks(PAGE));
    blocks.try_for_each(|(at, block)| match is_zero(block) {
        true => Ok(()),
        false => file.write_all_at(block, at),
    })
}

/// Returns the digest of a file: of its length, and of each block that holds something with its number. All such blocks
/// lie in `extents`.
fn digest(bytes: &[u8], extents: impl IntoIterator<Item = (usize, usize)>) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    let mut next = 0;
    for (start, end) in extents {
        // An extent may begin or end within a block.
        let first = (start / PAGE).max(next);
        next = end.min(bytes.len()).div_ceil(PAGE).max(first);
        for block in first..next {
            let at = block * PAGE;
            let content = bytes
                .get(at..(at + PAGE).min(bytes.len()))
                .unwrap_or_default();
            if !is_zero(content) {
                hasher.update(&(block as u64).to_le_bytes());
                hasher.update(content);
            }
        }
    }
    hasher.finalize().to_hex().to_string()
}

/// Returns the parts of a file that are no holes.
fn extents(file: &File, length: usize) -> io::Result<Vec<(usize, usize)>> {
    let mut extents = Vec::new();
    let mut at = 0;
    while at < length as u64 {
        let start = match seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let end = seek(file, SeekFrom::Hole(start))?;
        extents.push((start as usize, end as usize));
        at = end.max(start + 1);
    }
    Ok(extents)
}

/// Writes consecutive pages, many with each call.
fn write_run(file: &File, offset: u64, run: &[Page<'_>]) -> io::Result<()> {
    let mut at = offset;
    for some in run.chunks(MAX_SLICES) {
        let slices: Vec<_> = some.iter().map(|(_, bytes)| IoSlice::new(bytes)).collect();
        let written = pwritev(file, &slices, at)?;
        // A signal or a full disk may cut the call short; the rest is written page by page, which reports the error.
        for (start, (_, bytes)) in (0..).step_by(PAGE).zip(some) {
            if start + bytes.len() > written {
                file.write_all_at(bytes, at + start as u64)?;
            }
        }
        at += (some.len() * PAGE) as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::pages::nonzero_pages;
    use super::*;
    use crate::engine::EngineConfig;

    /// A memory with pages at its beginning, in its middle and near its end.
    fn memory() -> Vec<u8> {
        let mut memory = vec![0; 40 << 16];
        for page in [3, 4, 5, 200, 201, 600] {
            let start = page * PAGE;
            blake3::Hasher::new_derive_key(&page.to_string())
                .finalize_xof()
                .fill(&mut memory[start..start + PAGE]);
        }
        memory
    }

    fn shape(memory: &[u8]) -> MemoryShape {
        let globals = [
            ("m.g0".to_owned(), wasmtime::Val::I32(-1)),
            ("m.g1".to_owned(), wasmtime::Val::F64(2.5_f64.to_bits())),
        ];
        MemoryShape::new(memory.len(), &globals).unwrap()
    }

    #[test]
    fn file_that_is_made_of_its_frame_equals_the_compiled_one() {
        let engine = Engine::new(EngineConfig::on_demand()).unwrap();
        let memory = memory();
        let pages = nonzero_pages(&memory);
        let directory = tempfile::tempdir().unwrap();
        let [compiled, made] = ["compiled", "made"].map(|name| directory.path().join(name));
        let file = File::create_new(&compiled).unwrap();
        let frame = compile(&engine, &shape(&memory), &pages, &file).unwrap();
        let frame = frame.expect("the layout is known");
        frame
            .write(&File::create_new(&made).unwrap(), &pages)
            .unwrap();
        let expected = engine
            .wasmtime()
            .precompile_module(&shape(&memory).to_wasm(&pages));
        let expected = expected.unwrap();
        assert!(std::fs::read(&compiled).unwrap() == expected);
        assert!(std::fs::read(&made).unwrap() == expected);
        assert!(frame.verify(&compiled) && frame.verify(&made));
        let around = [frame.head(), frame.tail()].concat();
        assert_eq!(FullFrame::from_parts(&frame.facts(), &around), Some(frame));
    }

    #[test]
    fn damaged_and_truncated_files_are_noticed() {
        let engine = Engine::new(EngineConfig::on_demand()).unwrap();
        let memory = memory();
        let pages = nonzero_pages(&memory);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("full");
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .unwrap();
        let frame = compile(&engine, &shape(&memory), &pages, &file)
            .unwrap()
            .unwrap();
        let length = file.metadata().unwrap().len();
        let memory_at = frame.facts.head;
        // In the frame, in a page, in a hole, in the last byte.
        for at in [0, memory_at + 9, memory_at + 100 * PAGE as u64, length - 1] {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 16], at).unwrap();
            assert!(!frame.verify(&path), "byte {at}");
            file.write_all_at(&byte, at).unwrap();
            assert!(frame.verify(&path), "byte {at} restored");
        }
        for shorter in [0, 1, length / 2, length - 1] {
            std::fs::copy(&path, directory.path().join("short")).unwrap();
            let short = File::options()
                .write(true)
                .open(directory.path().join("short"))
                .unwrap();
            short.set_len(shorter).unwrap();
            assert!(
                !frame.verify(&directory.path().join("short")),
                "{shorter} bytes"
            );
        }
        assert!(!frame.verify(&directory.path().join("missing")));
    }

    #[test]
    fn pages_outside_of_the_file_are_refused() {
        let engine = Engine::new(EngineConfig::on_demand()).unwrap();
        let memory = memory();
        let pages = nonzero_pages(&memory);
        let file = tempfile::tempfile().unwrap();
        let frame = compile(&engine, &shape(&memory), &pages, &file)
            .unwrap()
            .unwrap();
        for page in [2, 601, u32::MAX] {
            let outside = [(page, pages[0].1)];
            assert!(frame.write(&file, &outside).is_err(), "page {page}");
        }
    }
}
