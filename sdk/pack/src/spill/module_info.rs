//! Facts about a module that the analyses of all functions need.

use std::collections::HashMap;

use wasm_encoder::NameSection;
use wasmparser::{
    BlockType, CompositeInnerType, ElementItems, FuncType, KnownCustom, Name, Operator, Parser,
    Payload, TypeRef,
};

use super::error::SpillError;

/// The linker's name for the global that holds C's stack pointer; C's stack in linear memory grows down.
const STACK_POINTER: &str = "__stack_pointer";

/// Types, functions and names of a module.
pub(super) struct ModuleInfo {
    pub(super) types: Vec<FuncType>,
    /// Index of each function's type, imported functions first.
    pub(super) functions: Vec<u32>,
    /// Number of imported functions.
    pub(super) imported: u32,
    /// Functions whose address is taken in a table, so that they can be called indirectly.
    pub(super) address_taken: Vec<u32>,
    pub(super) stack_pointer: u32,
    pub(super) collectors: Vec<u32>,
    /// Names of functions and globals, for backtraces of traps and for later passes. The pass drops the names of locals.
    pub(super) name_section: Option<NameSection>,
}

impl ModuleInfo {
    pub(super) fn read(wasm: &[u8], collectors: &[&str]) -> Result<Self, SpillError> {
        let mut types = Vec::new();
        let mut functions = Vec::new();
        let mut imported = 0;
        let mut address_taken = Vec::new();
        let mut stack_pointer = None;
        let mut names: HashMap<&str, u32> = HashMap::new();
        let mut name_section: Option<NameSection> = None;
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
                                    address_taken.push(item?);
                                }
                            }
                            ElementItems::Expressions(_, items) => {
                                for item in items {
                                    for operator in item?.get_operators_reader() {
                                        if let Operator::RefFunc { function_index } = operator? {
                                            address_taken.push(function_index);
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
                                    name_section.get_or_insert_default().functions(&kept);
                                }
                                Name::Global(map) => {
                                    let mut kept = wasm_encoder::NameMap::new();
                                    for name in map {
                                        let name = name?;
                                        if name.name == STACK_POINTER {
                                            stack_pointer = Some(name.index);
                                        }
                                        kept.append(name.index, name.name);
                                    }
                                    name_section.get_or_insert_default().globals(&kept);
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
            address_taken,
            stack_pointer: stack_pointer.ok_or_else(|| unnamed(STACK_POINTER))?,
            collectors: collectors.iter().map(find).collect::<Result<_, _>>()?,
            name_section,
        })
    }

    pub(super) fn function_type(&self, function: u32) -> Option<&FuncType> {
        let kind = self.functions.get(function as usize)?;
        self.types.get(*kind as usize)
    }

    /// Returns the numbers of a block's parameters and results.
    pub(super) fn block_arity(&self, kind: BlockType) -> (usize, usize) {
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
