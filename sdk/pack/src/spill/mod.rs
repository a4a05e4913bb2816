//! Spilling of pointers to the stack in linear memory, where a conservative garbage collector finds them.
//!
//! A collector like MRI's scans the machine stack and registers for objects that C code still uses. In WebAssembly
//! these values live in locals and on the operand stack, which code cannot inspect. Therefore this pass rewrites each
//! function: during every call in which a collection may happen, every value that may be a pointer and is needed after
//! the call also lies in the function's frame on the stack in linear memory, which the collector scans.
//!
//! One store is cheap, but stores around every call cost a third of the interpreter's speed. The pass avoids most of
//! them by four analyses: whether a callee can reach the collector and return ([`call_graph`]), which values are live
//! across a call ([`liveness`]), which of these cannot be pointers ([`pointers`]), and whether a store is cheaper after
//! the value is computed or before the calls that need it ([`rewrite`]).

mod call_graph;
mod error;
mod liveness;
mod module_info;
mod pointers;
mod rewrite;

use wasm_encoder::{Encode, Module, RawSection};
use wasmparser::{
    FuncValidatorAllocations, Parser, Payload, ValidPayload, Validator, WasmFeatures,
};

pub use error::SpillError;

use module_info::ModuleInfo;

/// The functions that calls through a table may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndirectCalls {
    /// Functions of the module.
    Within,
    /// Functions of any module, each of which may collect.
    Anywhere,
}

/// A rewritten module.
#[derive(Debug)]
pub struct Spilled {
    /// The module.
    pub wasm: Vec<u8>,
    /// Statistics.
    pub summary: SpillSummary,
    /// For each function, imported ones first: true if a collection may happen during a call.
    pub collects: Vec<bool>,
}

/// Statistics of the pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SpillSummary {
    /// Functions defined by the module.
    pub functions: usize,
    /// Functions in which a collection may happen, and which may return after it.
    pub collecting: usize,
    /// Functions to which the pass added a frame.
    pub framed: usize,
    /// Inserted stores.
    pub stores: usize,
}

/// Rewrites all functions of `wasm`.
///
/// `collectors` names the functions that scan the stack, or during which other code scans it.
///
/// # Errors
///
/// Returns [`SpillError`] if the module is invalid, lacks a name that the pass needs, or uses an unsupported feature.
pub fn spill_pointers(
    wasm: &[u8],
    collectors: &[&str],
    indirect: IndirectCalls,
) -> Result<Spilled, SpillError> {
    let info = ModuleInfo::read(wasm, collectors)?;
    let mut validator = Validator::new_with_features(WasmFeatures::all());
    let mut bodies = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        if let ValidPayload::Func(to_validate, body) = validator.payload(&payload?)? {
            bodies.push((to_validate, body));
        }
    }
    let reach = call_graph::Reachability::of(&info, bodies.iter().map(|(_, body)| body), indirect)?;
    let mut summary = SpillSummary {
        functions: bodies.len(),
        collecting: reach.returning(),
        ..SpillSummary::default()
    };
    let mut code = Vec::new();
    (bodies.len() as u32).encode(&mut code);
    let mut allocations = FuncValidatorAllocations::default();
    for (to_validate, body) in bodies {
        let mut validator = to_validate.into_validator(allocations);
        let rewritten = rewrite::rewrite(&info, &reach, &mut validator, &body, wasm)?;
        summary.stores += rewritten.stores;
        summary.framed += usize::from(rewritten.stores > 0);
        rewritten.body.as_slice().encode(&mut code);
        allocations = validator.into_allocations();
    }
    let mut module = Module::new();
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload?;
        let Some((id, range)) = payload.as_section() else {
            continue;
        };
        let data = match payload {
            Payload::CodeSectionStart { .. } => &code,
            Payload::CustomSection(_) => continue,
            _ => &wasm[range.start..range.end],
        };
        module.section(&RawSection { id, data });
    }
    if let Some(names) = &info.name_section {
        module.section(names);
    }
    Ok(Spilled {
        wasm: module.finish(),
        summary,
        collects: reach.collects(),
    })
}

#[cfg(test)]
mod tests;
