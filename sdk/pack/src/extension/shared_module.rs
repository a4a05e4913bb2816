//! Reading of a shared library.

use std::collections::{HashMap, HashSet};

use wasmparser::{
    CompositeInnerType, ConstExpr, DataKind, ElementItems, ElementKind, ExternalKind, FuncType,
    FunctionBody, GlobalType, KnownCustom, Name, Operator, Parser, Payload, RecGroup, TagType,
    TypeRef,
};

use super::dylink::{self, LoadingNeeds};
use super::error::ExtensionError;
use super::{InitialGlobal, TABLE};

/// The module from which shared libraries import functions, the memory and the table.
const ENV: &str = "env";
/// The module from which they import addresses of variables.
const ADDRESSES: &str = "GOT.mem";
/// The module from which they import numbers of functions in the table.
const ENTRIES: &str = "GOT.func";

/// The parts of a shared library.
#[derive(Default)]
pub(super) struct SharedModule<'a> {
    pub(super) needs: Option<LoadingNeeds<'a>>,
    pub(super) groups: Vec<RecGroup>,
    pub(super) types: Vec<FuncType>,
    /// Imported functions: names and types.
    pub(super) imports: Vec<(&'a str, u32)>,
    /// Imported tags: names and types.
    pub(super) imported_tags: Vec<(&'a str, TagType)>,
    pub(super) imported_globals: Vec<ImportedGlobal<'a>>,
    /// Imports that no extension may have, as `module.name`.
    pub(super) foreign: Vec<String>,
    /// Places among `imports` of those of other modules.
    pub(super) foreign_functions: HashSet<usize>,
    /// Types of the functions that the module defines.
    pub(super) functions: Vec<u32>,
    pub(super) tags: Vec<TagType>,
    pub(super) globals: Vec<(GlobalType, InitialGlobal)>,
    pub(super) exports: HashMap<&'a str, (ExternalKind, u32)>,
    pub(super) start: Option<u32>,
    /// Entries of the table, from the module's first one.
    pub(super) entries: Vec<Option<u32>>,
    /// Functions to which code may make references.
    pub(super) declared: Vec<u32>,
    pub(super) data: Vec<(u32, &'a [u8])>,
    pub(super) bodies: Vec<FunctionBody<'a>>,
    pub(super) names: Vec<(u32, &'a str)>,
}

/// A global that a loader provides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ImportedGlobal<'a> {
    StackPointer,
    MemoryBase,
    TableBase,
    /// The address of a variable.
    Address(&'a str),
    /// The number of a function in the table.
    Entry(&'a str),
}

impl<'a> SharedModule<'a> {
    pub(super) fn read(wasm: &'a [u8]) -> Result<Self, ExtensionError> {
        let mut found = Self::default();
        for payload in Parser::new(0).parse_all(wasm) {
            found.add(payload?)?;
        }
        Ok(found)
    }

    fn add(&mut self, payload: Payload<'a>) -> Result<(), ExtensionError> {
        match payload {
            Payload::TypeSection(reader) => {
                for group in reader {
                    let group = group?;
                    for kind in group.types() {
                        let CompositeInnerType::Func(kind) = &kind.composite_type.inner else {
                            return Err(ExtensionError::Unsupported("types of the GC proposal"));
                        };
                        self.types.push(kind.clone());
                    }
                    self.groups.push(group);
                }
            }
            Payload::ImportSection(reader) => {
                for import in reader.into_imports() {
                    self.add_import(import?)?;
                }
            }
            Payload::FunctionSection(reader) => {
                for kind in reader {
                    self.functions.push(kind?);
                }
            }
            Payload::TableSection(_) => {
                return Err(ExtensionError::NotShared("it has a table of its own"));
            }
            Payload::MemorySection(_) => {
                return Err(ExtensionError::NotShared("it has a memory of its own"));
            }
            Payload::TagSection(reader) => {
                for tag in reader {
                    self.tags.push(tag?);
                }
            }
            Payload::GlobalSection(reader) => {
                for global in reader {
                    let global = global?;
                    let value = self.constant(&global.init_expr)?;
                    self.globals.push((global.ty, value));
                }
            }
            Payload::ExportSection(reader) => {
                for export in reader {
                    let export = export?;
                    self.exports
                        .insert(export.name, (export.kind, export.index));
                }
            }
            Payload::StartSection { func, .. } => self.start = Some(func),
            Payload::ElementSection(reader) => {
                for element in reader {
                    self.add_element(element?)?;
                }
            }
            Payload::DataSection(reader) => {
                for segment in reader {
                    let segment = segment?;
                    let DataKind::Active { offset_expr, .. } = segment.kind else {
                        return Err(ExtensionError::Unsupported("passive data"));
                    };
                    let InitialGlobal::Memory(offset) = self.constant(&offset_expr)? else {
                        return Err(ExtensionError::Unsupported("data at a fixed address"));
                    };
                    self.data.push((offset.cast_unsigned(), segment.data));
                }
            }
            Payload::CodeSectionEntry(body) => self.bodies.push(body),
            Payload::CustomSection(section) => match section.as_known() {
                KnownCustom::Dylink0(reader) if self.needs.is_none() => {
                    self.needs = Some(dylink::read(reader)?);
                }
                KnownCustom::Dylink0(_) => {
                    return Err(ExtensionError::Inconsistent("two sections dylink.0"));
                }
                // Damaged names are no reason to refuse a module.
                KnownCustom::Name(reader) => {
                    for subsection in reader.into_iter().flatten() {
                        if let Name::Function(names) = subsection {
                            let names = names.into_iter().flatten();
                            self.names.extend(names.map(|name| (name.index, name.name)));
                        }
                    }
                }
                _ => {}
            },
            _ => {}
        }
        Ok(())
    }

    fn add_import(&mut self, import: wasmparser::Import<'a>) -> Result<(), ExtensionError> {
        match (import.module, import.name, import.ty) {
            (ENV, name, TypeRef::Func(kind)) => self.imports.push((name, kind)),
            (ENV, "memory", TypeRef::Memory(memory)) if !memory.memory64 && !memory.shared => {}
            (ENV, TABLE, TypeRef::Table(_)) => {}
            (ENV, name, TypeRef::Tag(tag)) => self.imported_tags.push((name, tag)),
            (module, name, TypeRef::Global(kind)) => {
                let global = match (module, name) {
                    (ENV, "__stack_pointer") => ImportedGlobal::StackPointer,
                    (ENV, "__memory_base") => ImportedGlobal::MemoryBase,
                    (ENV, "__table_base") => ImportedGlobal::TableBase,
                    (ADDRESSES, name) => ImportedGlobal::Address(name),
                    (ENTRIES, name) => ImportedGlobal::Entry(name),
                    _ => return Err(ExtensionError::Missing(vec![format!("{module}.{name}")])),
                };
                if kind.content_type != wasmparser::ValType::I32 {
                    return Err(ExtensionError::Unsupported("addresses of 64 bits"));
                }
                self.imported_globals.push(global);
            }
            // A placeholder keeps the indices of functions right until all foreign imports are reported.
            (module, name, TypeRef::Func(kind)) => {
                self.foreign.push(format!("{module}.{name}"));
                self.foreign_functions.insert(self.imports.len());
                self.imports.push((name, kind));
            }
            (module, name, _) => self.foreign.push(format!("{module}.{name}")),
        }
        Ok(())
    }

    fn add_element(&mut self, element: wasmparser::Element<'_>) -> Result<(), ExtensionError> {
        let mut functions = Vec::new();
        match element.items {
            ElementItems::Functions(items) => {
                for item in items {
                    functions.push(Some(item?));
                }
            }
            ElementItems::Expressions(_, items) => {
                for item in items {
                    functions.push(match item?.get_operators_reader().read()? {
                        Operator::RefFunc { function_index } => Some(function_index),
                        Operator::RefNull { .. } => None,
                        _ => return Err(ExtensionError::Unsupported("a table of expressions")),
                    });
                }
            }
        }
        let offset_expr = match element.kind {
            ElementKind::Active { offset_expr, .. } => offset_expr,
            ElementKind::Declared => {
                self.declared.extend(functions.into_iter().flatten());
                return Ok(());
            }
            ElementKind::Passive => return Err(ExtensionError::Unsupported("a passive table")),
        };
        let InitialGlobal::Table(offset) = self.constant(&offset_expr)? else {
            return Err(ExtensionError::Unsupported(
                "functions at fixed entries of the table",
            ));
        };
        let start = offset.cast_unsigned() as usize;
        let end = start.saturating_add(functions.len());
        if end > dylink::MAX_TABLE as usize {
            return Err(ExtensionError::TooLarge(
                "functions in its table",
                dylink::MAX_TABLE as usize,
            ));
        }
        if self.entries.len() < end {
            self.entries.resize(end, None);
        }
        self.entries[start..end].copy_from_slice(&functions);
        Ok(())
    }

    /// Evaluates the initial value of a global or the place of a segment: a constant, or an offset from one of the bases.
    fn constant(&self, expression: &ConstExpr<'_>) -> Result<InitialGlobal, ExtensionError> {
        const OTHER: ExtensionError =
            ExtensionError::Unsupported("an initial value that is not a constant");
        let mut stack: Vec<InitialGlobal> = Vec::new();
        for operator in expression.get_operators_reader() {
            let value = match operator? {
                Operator::I32Const { value } => InitialGlobal::I32(value),
                Operator::I64Const { value } => InitialGlobal::I64(value),
                Operator::F32Const { value } => InitialGlobal::F32(value.bits()),
                Operator::F64Const { value } => InitialGlobal::F64(value.bits()),
                Operator::GlobalGet { global_index } => {
                    match self.imported_globals.get(global_index as usize) {
                        Some(ImportedGlobal::MemoryBase) => InitialGlobal::Memory(0),
                        Some(ImportedGlobal::TableBase) => InitialGlobal::Table(0),
                        _ => return Err(OTHER),
                    }
                }
                Operator::I32Add => {
                    use InitialGlobal::{I32, Memory, Table};
                    match (stack.pop(), stack.pop()) {
                        (Some(I32(a)), Some(I32(b))) => I32(a.wrapping_add(b)),
                        (Some(I32(a)), Some(Memory(b))) | (Some(Memory(a)), Some(I32(b))) => {
                            Memory(a.wrapping_add(b))
                        }
                        (Some(I32(a)), Some(Table(b))) | (Some(Table(a)), Some(I32(b))) => {
                            Table(a.wrapping_add(b))
                        }
                        _ => return Err(OTHER),
                    }
                }
                Operator::End => break,
                _ => return Err(OTHER),
            };
            stack.push(value);
        }
        match stack[..] {
            [value] => Ok(value),
            _ => Err(OTHER),
        }
    }

    /// Returns what the module's memory contains at first.
    pub(super) fn initial_data(
        &self,
    ) -> Result<impl Iterator<Item = (u32, &'a [u8])> + '_, ExtensionError> {
        let size = self.needs.as_ref().map_or(0, |needs| needs.memory_size);
        let fits = |(offset, bytes): &(u32, &[u8])| {
            let end = (*offset as usize).checked_add(bytes.len());
            end.is_some_and(|end| end <= size as usize)
        };
        match self.data.iter().all(fits) {
            true => Ok(self.data.iter().copied()),
            false => Err(ExtensionError::Inconsistent(
                "data outside of the memory that it asks for",
            )),
        }
    }

    /// Returns the type of a function, imported ones first.
    pub(super) fn function_type(&self, function: u32) -> Option<&FuncType> {
        let defined = (function as usize).checked_sub(self.imports.len());
        let kind = match defined {
            None => self.imports.get(function as usize).map(|(_, kind)| *kind),
            Some(place) => self.functions.get(place).copied(),
        };
        self.types.get(kind? as usize)
    }

    /// Returns the function that the module exports as `name`.
    pub(super) fn exported_function(&self, name: &str) -> Option<u32> {
        match self.exports.get(name) {
            Some((ExternalKind::Func, index)) => Some(*index),
            _ => None,
        }
    }

    /// Returns the offset of the variable that the module exports as `name` from its memory.
    pub(super) fn exported_variable(&self, name: &str) -> Option<i32> {
        let (ExternalKind::Global, index) = self.exports.get(name)? else {
            return None;
        };
        let place = (*index as usize).checked_sub(self.imported_globals.len())?;
        match self.globals.get(place)?.1 {
            InitialGlobal::I32(offset) | InitialGlobal::Memory(offset) => Some(offset),
            _ => None,
        }
    }
}
