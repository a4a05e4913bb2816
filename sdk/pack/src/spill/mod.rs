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
mod liveness;
mod pointers;
mod rewrite;

use std::collections::HashMap;

use wasm_encoder::{Encode, Module, NameSection, RawSection};
use wasmparser::{
    BlockType, CompositeInnerType, ElementItems, FuncType, FuncValidatorAllocations, KnownCustom,
    Name, Operator, Parser, Payload, TypeRef, ValidPayload, Validator, WasmFeatures,
};

/// The global that C's stack in linear memory grows down by, as the linker names it.
const STACK_POINTER: &str = "__stack_pointer";

/// A module whose roots cannot be made visible. The fault is that of the build it comes from.
#[derive(Debug, thiserror::Error)]
pub enum SpillError {
    /// It is not valid WebAssembly.
    #[error("not a valid module: {0}")]
    Parse(#[from] wasmparser::BinaryReaderError),
    /// Its name section, by which the stack and the collector are found, lacks a name.
    #[error("the module names no {0}: link it with its names")]
    Unnamed(String),
    /// It uses what this pass does not know.
    #[error("a function with {0} cannot be rewritten")]
    Unsupported(&'static str),
}

/// What the pass did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
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
pub fn expose(wasm: &[u8], collectors: &[&str]) -> Result<(Vec<u8>, Summary), SpillError> {
    let facts = Facts::read(wasm, collectors)?;
    let mut validator = Validator::new_with_features(WasmFeatures::all());
    let mut bodies = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        if let ValidPayload::Func(to_validate, body) = validator.payload(&payload?)? {
            bodies.push((to_validate, body));
        }
    }
    let reach = call_graph::Reach::of(&facts, bodies.iter().map(|(_, body)| body))?;
    let mut summary = Summary {
        functions: bodies.len(),
        collecting: reach.returning(),
        ..Summary::default()
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

/// What all functions need to know of their module.
struct Facts {
    types: Vec<FuncType>,
    /// The type of each function, imported ones first.
    functions: Vec<u32>,
    /// How many of them are imported.
    imported: u32,
    /// Functions that can be called indirectly.
    taken: Vec<u32>,
    stack_pointer: u32,
    collectors: Vec<u32>,
    /// The functions' names, for traps; names of locals are not kept.
    name_section: Option<NameSection>,
}

impl Facts {
    fn read(wasm: &[u8], collectors: &[&str]) -> Result<Self, SpillError> {
        let mut types = Vec::new();
        let mut functions = Vec::new();
        let mut imported = 0;
        let mut taken = Vec::new();
        let mut stack_pointer = None;
        let mut names: HashMap<&str, u32> = HashMap::new();
        let mut name_section = None;
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::TypeSection(reader) => {
                    for group in reader {
                        for kind in group?.into_types() {
                            match kind.composite_type.inner {
                                CompositeInnerType::Func(kind) => types.push(kind),
                                _ => {
                                    return Err(SpillError::Unsupported(
                                        "types of the GC proposal",
                                    ));
                                }
                            }
                        }
                    }
                }
                Payload::ImportSection(reader) => {
                    for import in reader.into_imports() {
                        if let TypeRef::Func(kind) = import?.ty {
                            functions.push(kind);
                            imported += 1;
                        }
                    }
                }
                Payload::FunctionSection(reader) => {
                    for kind in reader {
                        functions.push(kind?);
                    }
                }
                Payload::ElementSection(reader) => {
                    for element in reader {
                        match element?.items {
                            ElementItems::Functions(items) => {
                                for item in items {
                                    taken.push(item?);
                                }
                            }
                            ElementItems::Expressions(_, items) => {
                                for item in items {
                                    for operator in item?.get_operators_reader() {
                                        if let Operator::RefFunc { function_index } = operator? {
                                            taken.push(function_index);
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
                Payload::CustomSection(section) => {
                    if let KnownCustom::Name(reader) = section.as_known() {
                        for name in reader {
                            match name? {
                                Name::Function(map) => {
                                    let mut kept = wasm_encoder::NameMap::new();
                                    for name in map {
                                        let name = name?;
                                        names.insert(name.name, name.index);
                                        kept.append(name.index, name.name);
                                    }
                                    name_section.insert(NameSection::new()).functions(&kept);
                                }
                                Name::Global(map) => {
                                    for name in map {
                                        let name = name?;
                                        if name.name == STACK_POINTER {
                                            stack_pointer = Some(name.index);
                                        }
                                    }
                                }
                                _ => {}
                            }
                        }
                    }
                }
                _ => {}
            }
        }
        let unnamed = |name: &str| SpillError::Unnamed(name.to_owned());
        let find = |name: &&str| names.get(name).copied().ok_or_else(|| unnamed(name));
        Ok(Self {
            types,
            functions,
            imported,
            taken,
            stack_pointer: stack_pointer.ok_or_else(|| unnamed(STACK_POINTER))?,
            collectors: collectors.iter().map(find).collect::<Result<_, _>>()?,
            name_section,
        })
    }

    fn function_type(&self, function: u32) -> Option<&FuncType> {
        let kind = self.functions.get(function as usize)?;
        self.types.get(*kind as usize)
    }

    /// How many values a block takes and leaves.
    fn block_arity(&self, kind: BlockType) -> (usize, usize) {
        match kind {
            BlockType::Empty => (0, 0),
            BlockType::Type(_) => (0, 1),
            BlockType::FuncType(index) => self
                .types
                .get(index as usize)
                .map_or((0, 0), |kind| (kind.params().len(), kind.results().len())),
        }
    }
}

#[cfg(test)]
mod tests;
