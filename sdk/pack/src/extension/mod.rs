//! Native extensions: C code that a running pack loads, as a shared library is loaded by `dlopen`.
//!
//! An extension is a WebAssembly module of the [tool conventions for dynamic linking][conventions]: it imports the memory,
//! the table and the functions of the module that loads it, and its own data and functions lie wherever the loader puts
//! them. [`prepare`] checks such a module and rewrites it for one pack:
//!
//! | step | file |
//! |---|---|
//! | the sizes that the module asks for are read and bounded | `dylink.rs` |
//! | names are resolved to the pack's functions and addresses | `bind.rs`, with the table of `symbols.rs` |
//! | globals with addresses become constants | `own_globals.rs` |
//! | pointers are spilled, stacks are checked, polls are inserted | the passes that the pack's own code went through |
//!
//! The host then reserves memory and entries of the table, and instantiates the code with their numbers.
//! The code of an extension then calls the pack, and is called by it, as fast as the pack's own functions call each other.
//!
//! [conventions]: https://github.com/WebAssembly/tool-conventions/blob/main/DynamicLinking.md

mod bind;
mod dylink;
mod error;
mod own_globals;
mod shared_module;
mod symbols;

use std::collections::BTreeMap;

pub use error::ExtensionError;
pub use symbols::{FunctionSymbol, PackSymbols, SignatureCode, take_symbols};

use self::shared_module::SharedModule;
use crate::preemption::insert_polls;
use crate::spill::{IndirectCalls, spill_pointers};
use crate::split::split;
use crate::stack_limit::insert_stack_checks;
use crate::validate::validate_guest;

/// Revision of the preparation; increment it with every change, so that hosts prepare kept extensions again.
pub const REVISION: u32 = 2;

/// Name of the module from which prepared extensions import functions, tags and the table.
pub const PACK: &str = "pack";
/// Name of the import of the table of functions.
pub const TABLE: &str = "__indirect_function_table";
/// Prefix of the names of an extension's globals.
pub const GLOBALS: &str = "extension";
/// Indices of the globals that each prepared extension has: the stack pointer of the pack, the address of the extension's
/// memory, and the number of its first entry in the table.
pub const STACK_POINTER: u32 = 0;
/// See [`STACK_POINTER`].
pub const MEMORY_BASE: u32 = 1;
/// See [`STACK_POINTER`].
pub const TABLE_BASE: u32 = 2;

/// Most bytes of an extension's module. libxml2, libxslt and gumbo together take 2 MB.
pub const MAX_MODULE: usize = 64 << 20;

/// An extension that a host can compile and link.
#[derive(Debug)]
pub struct PreparedExtension {
    /// The code. It imports the memory and its globals from `image`, and everything else from [`PACK`] and the host.
    pub code: Vec<u8>,
    /// Numbers that the host needs to link the code.
    pub layout: ExtensionLayout,
}

/// Memory, table entries and globals of an extension.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ExtensionLayout {
    /// Bytes of memory that the loader must reserve and clear.
    pub memory_size: u32,
    /// Alignment of that memory in bytes, a power of two.
    pub memory_alignment: u32,
    /// Entries of the table of functions that the extension takes.
    pub table_size: u32,
    /// Entry, from the extension's first one, of the function that initializes the extension's memory.
    pub initialize: u32,
    /// Entries, from the first one, of the functions by which a program starts to use the extension, by name (`Init_…`).
    pub entry_points: BTreeMap<String, u32>,
    /// Initial values of the extension's own globals, which follow the three of [`STACK_POINTER`].
    pub globals: Vec<InitialGlobal>,
}

/// The initial value of a global.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum InitialGlobal {
    /// The bits of an i32.
    I32(i32),
    /// The bits of an i64.
    I64(i64),
    /// The bits of an f32.
    F32(u32),
    /// The bits of an f64.
    F64(u64),
    /// An address: an offset from the extension's memory.
    Memory(i32),
    /// A function: an offset from the extension's first entry in the table.
    Table(i32),
}

/// Checks the module of an extension, and prepares it for the pack with `symbols`.
///
/// # Errors
///
/// Returns an [`ExtensionError`] if the module is invalid, is not an extension, needs what the pack does not export, or asks
/// for more than a dyno has.
pub fn prepare(wasm: &[u8], symbols: &PackSymbols) -> Result<PreparedExtension, ExtensionError> {
    if wasm.len() > MAX_MODULE {
        return Err(ExtensionError::TooLarge("bytes", MAX_MODULE));
    }
    validate_guest(wasm)?;
    let bound = bind::bind(wasm, symbols)?;
    let collecting: Vec<&str> = bound.collecting.iter().map(String::as_str).collect();
    let spilled = spill_pointers(&bound.wasm, &collecting, IndirectCalls::Anywhere)?;
    let (checked, summary) = insert_stack_checks(
        &spilled.wasm,
        symbols::STACK_HANDLER,
        bind::STACK_LIMIT,
        &[],
    )?;
    tracing::debug!(spills = ?spilled.summary, checks = ?summary, "extension rewritten");
    let split = split(GLOBALS, &checked, &[MEMORY_BASE, TABLE_BASE])?;
    let code = insert_polls(&split.code, &[])?;
    Ok(PreparedExtension {
        code,
        layout: bound.layout,
    })
}

/// Returns the initial content of an extension's memory, which is otherwise zero: offsets from its start, and bytes.
///
/// # Errors
///
/// Returns an [`ExtensionError`] if the module is no extension.
pub fn initial_data(wasm: &[u8]) -> Result<Vec<(u32, Vec<u8>)>, ExtensionError> {
    let module = SharedModule::read(wasm)?;
    let data = module.initial_data()?;
    Ok(data
        .map(|(offset, bytes)| (offset, bytes.to_vec()))
        .collect())
}

#[cfg(test)]
mod tests;
