//! Preparation of the pack that is built from MRI's source.
//!
//! After the build, the spill pass makes pointers visible to the collector, functions learn to check their stack, and the
//! module is split into code and memory.

use std::fs;
use std::path::Path;

use super::library::{self, LibraryFile};
use super::{PackParts, PrepareError, PrepareStep, Series};
use crate::archive::{Archive, ArchiveNode, NodeId};
use crate::extension::take_symbols;
use crate::image::write_image;
use crate::mri::{self, ProfileUse};
use crate::preemption::{PreemptionError, functions_named};
use crate::spill::{IndirectCalls, spill_pointers};
use crate::split::{SplitError, split};
use crate::stack_limit::insert_stack_checks;

/// Functions of MRI that scan the stack, or during which other code scans it.
const COLLECTORS: [&str; 3] = [
    "rb_wasm_scan_locals",
    "rb_wasm_native_stack_switch",
    "rb_wasm_native_stack_unwind",
];

/// Function of `sdk/ruby/ext/dyno.c` that raises SystemStackError.
const STACK_HANDLER: &str = "stack_low";

/// Function of `sdk/ruby/mri/wasm/fiber.c` that returns the address of the running coroutine's limit.
const STACK_LIMIT: &str = "stack_limit";

/// Functions that the checks leave out, because nothing is called more often. Recursion passes through the interpreter only
/// where C code calls a method or a block, where MRI checks, or runs a file, where others check; and through the allocator
/// only by the collector, which does not recurse.
const NO_STACK_CHECK: [&str; 5] = [
    "vm_exec_core",
    "vm_call_cfunc_with_frame_",
    "rb_wb_protected_newobj_of",
    "ruby_xmalloc",
    "ruby_xcalloc",
];

/// The same for functions that not every series has.
const NO_STACK_CHECK_IN: [(&str, &str); 3] = [
    ("3.3", "gc_mark_ptr"),
    ("3.4", "gc_mark"),
    ("3.4", "rb_gc_impl_malloc"),
];

/// List of MRI's functions that poll for the end of their time slice themselves, with the reasons.
pub(super) const SELF_POLLING: &str = include_str!("../../../ruby/polling");

/// Default gems with a C extension, which are linked into MRI.
const EXTENSIONS: [&str; 18] = [
    "bigdecimal",
    "cgi",
    "date",
    "digest",
    "erb",
    "etc",
    "io-console",
    "io-nonblock",
    "io-wait",
    "json",
    "nkf",
    "openssl",
    "pathname",
    "psych",
    "ripper",
    "stringio",
    "strscan",
    "zlib",
];

/// Builds MRI of a series unless a build is there, and returns the parts of its pack.
pub(super) fn make(
    series: Series,
    cache: &Path,
    profile: ProfileUse,
    progress: &mut (dyn FnMut(PrepareStep) + Send),
) -> Result<PackParts, PrepareError> {
    let release = mri::release(series.as_str()).ok_or(PrepareError::NoSource(series))?;
    let built = mri::build(cache, release, profile, &mut |step| {
        progress(PrepareStep::Build(step))
    })?;
    progress(PrepareStep::Split);
    let io = |source| PrepareError::Io {
        path: built.clone(),
        source,
    };
    let linked = fs::read(built.join(mri::MODULE)).map_err(io)?;
    let archive = fs::read(built.join(mri::LIBRARY)).map_err(io)?;
    let spilled = spill_pointers(&linked, &COLLECTORS, IndirectCalls::Within)?;
    drop(linked);
    tracing::debug!(summary = ?spilled.summary, "pointers spilled");
    let unchecked = NO_STACK_CHECK_IN.into_iter();
    let unchecked = unchecked.filter_map(|(only, name)| (only == release.series).then_some(name));
    let unchecked: Vec<&str> = unchecked.chain(NO_STACK_CHECK).collect();
    let (rewritten, summary) =
        insert_stack_checks(&spilled.wasm, STACK_HANDLER, STACK_LIMIT, &unchecked)?;
    tracing::debug!(?summary, "stack checks inserted");
    let polling = self_polling(release.series, &rewritten)?;
    let stack_pointer = format!("code.g{}", summary.stack_pointer);
    let collects = |function: u32| spilled.collects.get(function as usize) != Some(&false);
    let (rewritten, symbols) = take_symbols(&rewritten, collects, summary.limit, &stack_pointer)?;
    let code = split("code", &rewritten, &[])?;
    let memory = code.memory.ok_or(SplitError::Unsupported("no memory"))?;
    let runs = memory
        .segments
        .iter()
        .map(|(offset, bytes)| (*offset, bytes.as_slice()));
    let image = write_image(memory.minimum, memory.maximum, &code.globals, runs);
    let library = files(&Archive::new(archive)?);
    let mut gems = library::default_gems(&library);
    let mut extensions: Vec<String> = EXTENSIONS.into_iter().map(str::to_owned).collect();
    for gem in mri::linked_gems(release.series) {
        extensions.push(gem.name.to_owned());
        gems.insert(gem.name.to_owned(), gem.version.to_owned());
    }
    Ok(PackParts {
        version: library::ruby_version(&library).ok_or(PrepareError::NoStdlib)?,
        modules: vec![("code".to_owned(), code.code)],
        polling,
        symbols: Some(symbols),
        image,
        library,
        gems,
        extensions,
    })
}

/// Returns the indices of the functions in the list of self-polling functions, without those that another series has.
fn self_polling(series: &str, wasm: &[u8]) -> Result<Vec<u32>, PreemptionError> {
    let lines = SELF_POLLING.lines().filter(|line| !line.starts_with('#'));
    let names = lines.filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let name = words.next()?;
        let only = words.next().and_then(|word| word.strip_suffix(':'));
        only.is_none_or(|only| only == series).then_some(name)
    });
    let mut found = Vec::new();
    for name in names {
        match (
            functions_named(wasm, [name.trim_end_matches('?')].into_iter()),
            name.ends_with('?'),
        ) {
            (Ok(function), _) => found.extend(function),
            (Err(PreemptionError::Unnamed(_)), true) => {}
            (Err(error), _) => return Err(error),
        }
    }
    Ok(found)
}

/// Returns all files of an archive, except links.
fn files(archive: &Archive) -> Vec<LibraryFile> {
    let mut found = Vec::new();
    let mut open = vec![(String::new(), Archive::ROOT)];
    while let Some((path, node)) = open.pop() {
        match archive.node(node) {
            ArchiveNode::Directory { entries } => {
                let below = |(name, node): &(Box<str>, NodeId)| match path.as_str() {
                    "" => (name.to_string(), *node),
                    path => (format!("{path}/{name}"), *node),
                };
                open.extend(entries.iter().map(below));
            }
            _ => found.push((path, archive.content(node).to_vec())),
        }
    }
    found
}
