//! The functions and variables of a pack that extensions may use.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use wasm_encoder::{
    Encode, ExportKind, ExportSection, Module, RawSection, TableSection, TableType,
};
use wasmparser::{
    CompositeInnerType, ElementItems, ElementKind, ExternalKind, FuncType, Operator, Parser,
    Payload, TypeRef, ValType,
};

use super::TABLE;
use super::error::ExtensionError;
use crate::section::split_count;

/// Name of the pack's function that extensions call when little of C's stack is left.
pub(super) const STACK_HANDLER: &str = "stack_low";
/// Entries of a pack's table that are left for extensions. The table has a fixed size, since the engine then checks calls
/// against a constant; an entry without a function takes no memory.
const SPARE_ENTRIES: u32 = 20_000;

/// Functions, variables and tags of a pack that extensions may use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackSymbols {
    /// Functions by name.
    pub functions: BTreeMap<String, FunctionSymbol>,
    /// Addresses of variables by name.
    pub variables: BTreeMap<String, u32>,
    /// Names of the tags of exceptions that cross modules.
    pub tags: BTreeSet<String>,
    /// Entries of the table that the pack itself takes.
    pub table_used: u32,
    /// All entries of the table.
    pub table_size: u32,
    /// Address of the variable that holds the limit of C's stack.
    pub stack_limit: u32,
    /// Name under which images export the global with C's stack pointer.
    pub stack_pointer: String,
}

impl PackSymbols {
    /// Encodes the symbols for the pack's directory.
    pub fn to_json(&self) -> Vec<u8> {
        // Names, numbers and texts are always valid JSON.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// A function of a pack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionSymbol {
    /// The function's type.
    pub signature: SignatureCode,
    /// The function's entry in the pack's table, if its address is taken there. C compares such addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<u32>,
    /// True if the garbage collector may run during a call.
    pub collects: bool,
}

/// A function's type as a text: a letter for each parameter, a colon, and a letter for each result.
///
/// The letters are i (i32), I (i64), f (f32), F (f64) and ? (another type).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignatureCode(String);

impl SignatureCode {
    /// Returns the text for a type.
    pub fn of(kind: &FuncType) -> Self {
        let letter = |kind: &ValType| match kind {
            ValType::I32 => 'i',
            ValType::I64 => 'I',
            ValType::F32 => 'f',
            ValType::F64 => 'F',
            _ => '?',
        };
        let letters = |kinds: &[ValType]| kinds.iter().map(letter).collect::<String>();
        Self(format!(
            "{}:{}",
            letters(kind.params()),
            letters(kind.results())
        ))
    }
}

impl fmt::Display for SignatureCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = |letters: &str| {
            let word = |letter| match letter {
                'i' => "i32",
                'I' => "i64",
                'f' => "f32",
                'F' => "f64",
                _ => "another type",
            };
            letters.chars().map(word).collect::<Vec<_>>().join(", ")
        };
        let (parameters, results) = self.0.split_once(':').unwrap_or((&self.0, ""));
        write!(f, "({}) -> ({})", words(parameters), words(results))
    }
}

/// Takes the symbols out of a pack's linked module, and leaves room for extensions in its table.
///
/// The linker exports the address of each variable as a global, which would cost every dyno of the pack; the returned module
/// has none of these. `collecting` tells by a function's index whether the collector may run during a call of it.
///
/// # Errors
///
/// Returns an [`ExtensionError`] if the module is invalid, or exports no table or no handler of full stacks.
pub fn take_symbols(
    wasm: &[u8],
    collecting: impl Fn(u32) -> bool,
    stack_limit: u32,
    stack_pointer: &str,
) -> Result<(Vec<u8>, PackSymbols), ExtensionError> {
    let found = PackExports::read(wasm)?;
    let addresses = found.addresses();
    let mut symbols = PackSymbols {
        stack_limit,
        stack_pointer: stack_pointer.to_owned(),
        table_used: found.table,
        table_size: found.table.saturating_add(SPARE_ENTRIES),
        ..PackSymbols::default()
    };
    let mut exports = ExportSection::new();
    for (name, kind, index) in &found.exports {
        let name = (*name).to_owned();
        match kind {
            ExternalKind::Func => {
                if let Some(kind) = found.function_type(*index) {
                    let function = FunctionSymbol {
                        signature: SignatureCode::of(kind),
                        entry: found.entries.get(index).copied(),
                        collects: collecting(*index),
                    };
                    symbols.functions.insert(name.clone(), function);
                }
                exports.export(&name, ExportKind::Func, *index);
            }
            ExternalKind::Global if *index >= addresses => {
                let address = found
                    .globals
                    .get(*index as usize)
                    .and_then(|global| global.address);
                symbols.variables.insert(name, address.unwrap_or_default());
            }
            ExternalKind::Global => drop(exports.export(&name, ExportKind::Global, *index)),
            ExternalKind::Memory => drop(exports.export(&name, ExportKind::Memory, *index)),
            ExternalKind::Table => drop(exports.export(&name, ExportKind::Table, *index)),
            ExternalKind::Tag => {
                symbols.tags.insert(name.clone());
                exports.export(&name, ExportKind::Tag, *index);
            }
            ExternalKind::FuncExact => {}
        }
    }
    let has_table = found
        .exports
        .iter()
        .any(|(name, kind, index)| (*name, *kind, *index) == (TABLE, ExternalKind::Table, 0));
    if !has_table || found.table == 0 {
        return Err(ExtensionError::NotShared("the pack exports no table"));
    }
    if !symbols.functions.contains_key(STACK_HANDLER) {
        return Err(ExtensionError::Missing(vec![STACK_HANDLER.to_owned()]));
    }
    let mut module = Module::new();
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload?;
        let Some((id, range)) = payload.as_section() else {
            continue;
        };
        let bytes = &wasm[range.start..range.end];
        match payload {
            Payload::ExportSection(_) => drop(module.section(&exports)),
            Payload::TableSection(_) => {
                let mut tables = TableSection::new();
                tables.table(TableType {
                    element_type: wasm_encoder::RefType::FUNCREF,
                    table64: false,
                    minimum: u64::from(symbols.table_size),
                    maximum: Some(u64::from(symbols.table_size)),
                    shared: false,
                });
                module.section(&tables);
            }
            Payload::GlobalSection(_) => {
                let (_, entries) = split_count(bytes)?;
                let end = found
                    .globals
                    .get(addresses as usize)
                    .map_or(range.end, |global| global.start);
                let kept = end - (range.end - entries.len());
                let mut data = Vec::new();
                addresses.encode(&mut data);
                data.extend_from_slice(&entries[..kept]);
                module.section(&RawSection { id, data: &data });
            }
            _ => drop(module.section(&RawSection { id, data: bytes })),
        }
    }
    Ok((module.finish(), symbols))
}

/// A global of the pack's module.
struct PackGlobal {
    /// The address, for a global that can be the address of a variable: a constant i32.
    address: Option<u32>,
    /// Place of the global's first byte in the module.
    start: usize,
}

/// Facts about a pack's module.
#[derive(Default)]
struct PackExports<'a> {
    types: Vec<FuncType>,
    /// Index of each function's type, imported functions first.
    functions: Vec<u32>,
    globals: Vec<PackGlobal>,
    /// Index of the last global that code refers to.
    last_used: Option<u32>,
    exports: Vec<(&'a str, ExternalKind, u32)>,
    /// Entries of the table by the function that they hold.
    entries: BTreeMap<u32, u32>,
    /// Size of the table.
    table: u32,
}

impl<'a> PackExports<'a> {
    fn read(wasm: &'a [u8]) -> Result<Self, ExtensionError> {
        let mut found = Self::default();
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::TypeSection(reader) => {
                    for group in reader {
                        for kind in group?.into_types() {
                            let CompositeInnerType::Func(kind) = kind.composite_type.inner else {
                                return Err(ExtensionError::Unsupported(
                                    "types of the GC proposal",
                                ));
                            };
                            found.types.push(kind);
                        }
                    }
                }
                Payload::ImportSection(reader) => {
                    for import in reader.into_imports() {
                        match import?.ty {
                            TypeRef::Func(kind) => found.functions.push(kind),
                            TypeRef::Global(_) => {
                                return Err(ExtensionError::Unsupported("imported globals"));
                            }
                            _ => {}
                        }
                    }
                }
                Payload::FunctionSection(reader) => {
                    for kind in reader {
                        found.functions.push(kind?);
                    }
                }
                Payload::TableSection(reader) => {
                    for table in reader {
                        let size = table?.ty.initial;
                        found.table = found.table.max(u32::try_from(size).unwrap_or(u32::MAX));
                    }
                }
                Payload::GlobalSection(reader) => {
                    for global in reader.into_iter_with_offsets() {
                        let (start, global) = global?;
                        let mut operators = global.init_expr.get_operators_reader();
                        let value = match operators.read()? {
                            Operator::I32Const { value } if !global.ty.mutable => Some(value),
                            _ => None,
                        };
                        let address = value.map(i32::cast_unsigned);
                        found.globals.push(PackGlobal { address, start });
                    }
                }
                Payload::ExportSection(reader) => {
                    for export in reader {
                        let export = export?;
                        found.exports.push((export.name, export.kind, export.index));
                    }
                }
                Payload::ElementSection(reader) => {
                    for element in reader {
                        found.add_entries(element?)?;
                    }
                }
                Payload::CodeSectionEntry(body) => {
                    for operator in body.get_operators_reader()? {
                        if let Operator::GlobalGet { global_index }
                        | Operator::GlobalSet { global_index } = operator?
                        {
                            found.last_used = found.last_used.max(Some(global_index));
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(found)
    }

    fn add_entries(&mut self, element: wasmparser::Element<'_>) -> Result<(), ExtensionError> {
        let ElementKind::Active { offset_expr, .. } = element.kind else {
            return Ok(());
        };
        let Operator::I32Const { value } = offset_expr.get_operators_reader().read()? else {
            return Err(ExtensionError::Unsupported(
                "a table whose place is not a constant",
            ));
        };
        let ElementItems::Functions(items) = element.items else {
            return Err(ExtensionError::Unsupported("a table of expressions"));
        };
        for (entry, function) in (value.cast_unsigned()..).zip(items) {
            self.entries.entry(function?).or_insert(entry);
        }
        Ok(())
    }

    /// Returns the index of the first global that, with all that follow, is only the address of a variable.
    fn addresses(&self) -> u32 {
        let used = self.last_used.map_or(0, |last| last + 1);
        let other = self
            .globals
            .iter()
            .rposition(|global| global.address.is_none());
        used.max(other.map_or(0, |last| last as u32 + 1))
    }

    fn function_type(&self, function: u32) -> Option<&FuncType> {
        let kind = self.functions.get(function as usize)?;
        self.types.get(*kind as usize)
    }
}
