//! Makes the roots of a conservative garbage collector visible on WebAssembly.
//!
//! A collector like MRI's finds objects that C code still works with by scanning the machine stack and registers. In
//! WebAssembly, such values live in locals and on the operand stack, which no code can look into. This pass therefore
//! rewrites each function so that, during every call in which a collection may happen, every value that may be a pointer
//! and is still needed after it also lies in the function's frame on the stack in linear memory, where the collector
//! scans.
//!
//! A store costs little, a store around every call costs a third of the interpreter's speed. So the pass asks first
//! whether the collector can be reached at all from a callee and come back ([`call_graph`]), which values are live across the
//! call ([`liveness`]), which of them cannot be pointers ([`pointers`]), and whether it is cheaper to store a value where it is
//! made or where it is needed ([`rewrite`]).

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

/// What the pass did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SpillSummary {
    /// Functions defined by the module.
    pub functions: usize,
    /// Functions in which a collection may happen, and which return after it.
    pub collecting: usize,
    /// Functions that got a frame.
    pub framed: usize,
    /// Stores inserted.
    pub stores: usize,
}

/// Rewrites `wasm`. `collectors` are the names of the functions that scan the stack, or during which other code does.
///
/// # Errors
///
/// [`SpillError`].
pub fn expose(wasm: &[u8], collectors: &[&str]) -> Result<(Vec<u8>, SpillSummary), SpillError> {
    let facts = ModuleInfo::read(wasm, collectors)?;
    let mut validator = Validator::new_with_features(WasmFeatures::all());
    let mut bodies = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        if let ValidPayload::Func(to_validate, body) = validator.payload(&payload?)? {
            bodies.push((to_validate, body));
        }
    }
    let reach = call_graph::Reachability::of(&facts, bodies.iter().map(|(_, body)| body))?;
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
        let rewritten = rewrite::rewrite(&facts, &reach, &mut validator, &body, wasm)?;
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
    if let Some(names) = &facts.name_section {
        module.section(names);
    }
    Ok((module.finish(), summary))
}

#[cfg(test)]
mod tests;
