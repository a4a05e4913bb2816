//! Resolution of a shared library's imports to the functions and variables of a pack.
//!
//! A loader of shared libraries gives each imported address a global, which the code reads at each use. The addresses of a
//! pack's variables never change, so that the bound module has them as constants; an address of its own is an offset from
//! one of two globals. The functions whose place in the table the module asks for get entries of its own table, unless
//! the pack's table has them, so that all that depends on the loader is in two numbers.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use wasm_encoder::reencode::{Error as ReencodeError, Reencode};
use wasm_encoder::{
    CodeSection, ConstExpr, ElementSection, Elements, EntityType, Function, FunctionSection,
    GlobalSection, GlobalType, ImportSection, Instruction, MemoryType, Module, NameMap,
    NameSection, RefType, TableType, TagSection, TypeSection, ValType,
};
use wasmparser::{FunctionBody, Operator};

use super::error::ExtensionError;
use super::own_globals::OwnGlobals;
use super::shared_module::{ImportedGlobal, SharedModule};
use super::symbols::{PackSymbols, STACK_HANDLER, SignatureCode};
use super::{ExtensionLayout, InitialGlobal, MEMORY_BASE, PACK, STACK_POINTER, TABLE, TABLE_BASE};
use crate::image::MEMORY;
use crate::split::IMAGE;

/// Name of the function of a bound module that returns the address of the limit of C's stack.
pub(super) const STACK_LIMIT: &str = "stack_limit";
/// Name of the global with C's stack pointer.
const STACK_POINTER_NAME: &str = "__stack_pointer";
/// The linker's function that stores addresses in the module's data.
const RELOCATE: &str = "__wasm_apply_data_relocs";
/// The linker's function that calls the constructors of C and C++.
const CONSTRUCT: &str = "__wasm_call_ctors";
/// Prefix of the functions by which Ruby starts to use an extension.
const ENTRY_POINT: &str = "Init_";
/// Names that the compiler gives to the main function of a program, which a build runs as an extension.
const MAIN: [&str; 2] = ["__main_argc_argv", "__main_void"];
/// The tag of C++'s exceptions. They do not cross extensions, so each has its own.
const CPP_EXCEPTION: &str = "__cpp_exception";

/// A module whose imports are resolved.
pub(super) struct BoundModule {
    pub(super) wasm: Vec<u8>,
    pub(super) layout: ExtensionLayout,
    /// Names of the imported functions during which the collector may run.
    pub(super) collecting: Vec<String>,
}

/// Resolves the imports of the shared library `wasm`.
///
/// # Errors
///
/// Returns an [`ExtensionError`].
pub(super) fn bind(wasm: &[u8], symbols: &PackSymbols) -> Result<BoundModule, ExtensionError> {
    let module = SharedModule::read(wasm)?;
    let binding = SymbolBinding::new(&module, symbols)?;
    binding.encode()
}

/// The place of a global's value in the bound module.
#[derive(Debug, Clone, Copy)]
pub(super) enum BoundGlobal {
    /// A global.
    Global(u32),
    /// A constant.
    Constant(i32),
    /// An offset from the global of this index.
    Offset(u32, i32),
}

/// The new places of all that a shared library refers to by an index.
struct SymbolBinding<'a> {
    module: &'a SharedModule<'a>,
    symbols: &'a PackSymbols,
    /// Functions that the bound module imports from the pack, with their types.
    imports: Vec<(&'a str, u32)>,
    /// Types of functions that trap, in place of missing ones that the module checks for.
    stubs: Vec<u32>,
    /// New indices of the functions, imported ones first.
    functions: Vec<u32>,
    globals: Vec<BoundGlobal>,
    own_globals: OwnGlobals,
    tags: Vec<u32>,
    /// Tags of C++ that the bound module defines.
    own_tags: Vec<wasmparser::TagType>,
    /// Entries of the table, by new indices.
    entries: Vec<Option<u32>>,
    entry_points: BTreeMap<String, u32>,
    initialize: u32,
    /// Index of the type without parameters and results.
    procedure: u32,
}

impl<'a> SymbolBinding<'a> {
    fn new(module: &'a SharedModule<'a>, symbols: &'a PackSymbols) -> Result<Self, ExtensionError> {
        let needs = module.needs.as_ref();
        let needs = needs.ok_or(ExtensionError::NotShared("it has no section dylink.0"))?;
        let mut missing = module.foreign.clone();
        // The two types that the bound module adds follow its own.
        let procedure = module.types.len() as u32;
        let mut imports: Vec<(&str, u32)> = Vec::new();
        let mut stubs = Vec::new();
        // Indices of stubs are known when all imports are.
        let mut places: Vec<Result<u32, usize>> = Vec::new();
        for (place, (name, kind)) in module.imports.iter().enumerate() {
            if module.foreign_functions.contains(&place) {
                continue;
            }
            match symbols.functions.get(*name) {
                Some(function) => {
                    let found = module.types.get(*kind as usize).map(SignatureCode::of);
                    if found.as_ref() != Some(&function.signature) {
                        return Err(ExtensionError::Signature {
                            name: (*name).to_owned(),
                            expected: function.signature.to_string(),
                            found: found.map(|found| found.to_string()).unwrap_or_default(),
                        });
                    }
                    places.push(Ok(imports.len() as u32));
                    imports.push((name, *kind));
                }
                None if needs.weak.contains(name) => {
                    places.push(Err(stubs.len()));
                    stubs.push(*kind);
                }
                None => missing.push((*name).to_owned()),
            }
        }
        let mut tags = Vec::new();
        let mut own_tags = Vec::new();
        let shared_tags = module
            .imported_tags
            .iter()
            .filter(|(name, _)| symbols.tags.contains(*name));
        let shared_tags = shared_tags.count() as u32;
        let mut next_shared = 0;
        for (name, tag) in &module.imported_tags {
            if symbols.tags.contains(*name) {
                tags.push(next_shared);
                next_shared += 1;
            } else if *name == CPP_EXCEPTION {
                tags.push(shared_tags + own_tags.len() as u32);
                own_tags.push(*tag);
            } else {
                missing.push((*name).to_owned());
            }
        }
        tags.extend(
            (0..module.tags.len() as u32).map(|place| shared_tags + own_tags.len() as u32 + place),
        );
        // Functions of the pack whose entries only the module needs, which it may not call.
        let mut wanted = Vec::new();
        for global in &module.imported_globals {
            if let ImportedGlobal::Entry(name) = global
                && module.exported_function(name).is_none()
                && let Some(function) = symbols.functions.get(*name)
                && function.entry.is_none()
                && !imports.iter().any(|(known, _)| known == name)
            {
                wanted.push(*name);
            }
        }
        if !wanted.is_empty() {
            // Their types may be absent; a wrong type of an entry would make calls of it trap.
            for name in wanted {
                let signature = symbols
                    .functions
                    .get(name)
                    .map(|function| &function.signature);
                let kind = module
                    .types
                    .iter()
                    .position(|kind| Some(&SignatureCode::of(kind)) == signature);
                match kind {
                    Some(kind) => imports.push((name, kind as u32)),
                    None => {
                        return Err(ExtensionError::Unsupported(
                            "the address of a function that it cannot call",
                        ));
                    }
                }
            }
        }
        imports.push((STACK_HANDLER, procedure));
        let first_own = imports.len() as u32;
        let first_stub = first_own + module.functions.len() as u32;
        let mut functions: Vec<u32> = places
            .into_iter()
            .map(|place| place.unwrap_or_else(|stub| first_stub + stub as u32))
            .collect();
        // After a missing import the indices are wrong, and an error follows.
        functions.resize(module.imports.len(), 0);
        functions.extend((0..module.functions.len() as u32).map(|place| first_own + place));

        if module.entries.len() > needs.table_size as usize {
            return Err(ExtensionError::Inconsistent(
                "more functions in its table than it asks for",
            ));
        }
        let renamed = |function: u32| {
            let found = functions.get(function as usize).copied();
            found.ok_or(ExtensionError::Inconsistent(
                "a function that does not exist",
            ))
        };
        let mut entries = Vec::new();
        for entry in &module.entries {
            entries.push(entry.map(renamed).transpose()?);
        }
        entries.resize(needs.table_size as usize, None);
        let mut known: HashMap<u32, u32> = HashMap::new();
        for (entry, function) in (0..).zip(&entries) {
            if let Some(function) = function {
                known.entry(*function).or_insert(entry);
            }
        }
        let mut entry_of = |function: u32, entries: &mut Vec<Option<u32>>| {
            *known.entry(function).or_insert_with(|| {
                entries.push(Some(function));
                entries.len() as u32 - 1
            })
        };

        let mut globals = Vec::new();
        for global in &module.imported_globals {
            globals.push(match global {
                ImportedGlobal::StackPointer => BoundGlobal::Global(STACK_POINTER),
                ImportedGlobal::MemoryBase => BoundGlobal::Global(MEMORY_BASE),
                ImportedGlobal::TableBase => BoundGlobal::Global(TABLE_BASE),
                ImportedGlobal::Address(name) => {
                    match (module.exported_variable(name), symbols.variables.get(*name)) {
                        (Some(offset), _) => BoundGlobal::Offset(MEMORY_BASE, offset),
                        (None, Some(address)) => BoundGlobal::Constant(address.cast_signed()),
                        (None, None) if needs.weak.contains(name) => BoundGlobal::Constant(0),
                        (None, None) => {
                            missing.push((*name).to_owned());
                            BoundGlobal::Constant(0)
                        }
                    }
                }
                ImportedGlobal::Entry(name) => {
                    let imported = imports.iter().position(|(known, _)| known == name);
                    let entry = symbols
                        .functions
                        .get(*name)
                        .and_then(|function| function.entry);
                    match (module.exported_function(name), entry, imported) {
                        (Some(function), _, _) => {
                            let entry = entry_of(renamed(function)?, &mut entries);
                            BoundGlobal::Offset(TABLE_BASE, entry.cast_signed())
                        }
                        (None, Some(entry), _) => BoundGlobal::Constant(entry.cast_signed()),
                        (None, None, Some(function)) => {
                            let entry = entry_of(function as u32, &mut entries);
                            BoundGlobal::Offset(TABLE_BASE, entry.cast_signed())
                        }
                        (None, None, None) if needs.weak.contains(name) => BoundGlobal::Constant(0),
                        (None, None, None) => {
                            missing.push((*name).to_owned());
                            BoundGlobal::Constant(0)
                        }
                    }
                }
            });
        }
        let own_globals = OwnGlobals::new(module)?;
        globals.extend(&own_globals.places);
        if !missing.is_empty() {
            missing.sort();
            missing.dedup();
            return Err(ExtensionError::Missing(missing));
        }

        let mut entry_points = BTreeMap::new();
        let mut exported: Vec<_> = module.exports.keys().copied().collect();
        exported.sort_unstable();
        for name in exported {
            let is_entry_point = |function| {
                MAIN.contains(&name)
                    || (name.starts_with(ENTRY_POINT) && is_procedure(module, function))
            };
            if let Some(function) = module.exported_function(name)
                && is_entry_point(function)
            {
                let entry = entry_of(renamed(function)?, &mut entries);
                entry_points.insert(name.to_owned(), entry);
            }
        }
        let initialize = entries.len() as u32;
        entries.push(Some(first_stub + stubs.len() as u32));
        Ok(Self {
            module,
            symbols,
            imports,
            stubs,
            functions,
            globals,
            own_globals,
            tags,
            own_tags,
            entries,
            entry_points,
            initialize,
            procedure,
        })
    }

    fn encode(mut self) -> Result<BoundModule, ExtensionError> {
        let module = self.module;
        let Some(needs) = module.needs.as_ref() else {
            return Err(ExtensionError::NotShared("it has no section dylink.0"));
        };
        let mut wasm = Module::new();
        let mut types = TypeSection::new();
        for group in &module.groups {
            self.parse_recursive_type_group(types.ty(), group.clone())?;
        }
        types.ty().function([], []);
        types.ty().function([], [ValType::I32]);
        wasm.section(&types);
        wasm.section(&self.import_section()?);
        let mut functions = FunctionSection::new();
        for kind in module.functions.iter().chain(&self.stubs) {
            functions.function(*kind);
        }
        functions.function(self.procedure);
        functions.function(self.procedure + 1);
        wasm.section(&functions);
        if !self.own_tags.is_empty() || !module.tags.is_empty() {
            let mut tags = TagSection::new();
            for tag in self.own_tags.clone().iter().chain(&module.tags) {
                let kind = self.tag_type(*tag)?;
                tags.tag(kind);
            }
            wasm.section(&tags);
        }
        wasm.section(&self.global_section()?);
        wasm.section(&self.element_section()?);
        let mut code = CodeSection::new();
        for (place, body) in module.bodies.iter().enumerate() {
            let body = match self.own_globals.relocated_by == Some(place) {
                true => empty(),
                false => self.body(body)?,
            };
            code.function(&body);
        }
        for _ in &self.stubs {
            let mut stub = Function::new([]);
            stub.instruction(&Instruction::Unreachable)
                .instruction(&Instruction::End);
            code.function(&stub);
        }
        code.function(&self.initialize_function()?);
        let mut limit = Function::new([]);
        let address = self.symbols.stack_limit.cast_signed();
        limit
            .instruction(&Instruction::I32Const(address))
            .instruction(&Instruction::End);
        code.function(&limit);
        wasm.section(&code);
        wasm.section(&self.names());
        drop(module.initial_data()?);
        let collects = |name: &str| {
            self.symbols
                .functions
                .get(name)
                .is_none_or(|function| function.collects)
        };
        // The handler must not collect, and the passes rely on it.
        let called = self
            .imports
            .iter()
            .filter(|(name, _)| *name != STACK_HANDLER && collects(name));
        Ok(BoundModule {
            wasm: wasm.finish(),
            layout: ExtensionLayout {
                memory_size: needs.memory_size,
                memory_alignment: needs.memory_alignment,
                table_size: self.entries.len() as u32,
                initialize: self.initialize,
                entry_points: self.entry_points.clone(),
                globals: self
                    .own_globals
                    .kept
                    .iter()
                    .map(|(_, value)| *value)
                    .collect(),
            },
            collecting: called.map(|(name, _)| (*name).to_owned()).collect(),
        })
    }

    fn import_section(&mut self) -> Result<ImportSection, ExtensionError> {
        let mut section = ImportSection::new();
        for (name, kind) in &self.imports {
            section.import(PACK, name, EntityType::Function(*kind));
        }
        let memory = MemoryType {
            minimum: 1,
            maximum: None,
            memory64: false,
            shared: false,
            page_size_log2: None,
        };
        section.import(IMAGE, MEMORY, EntityType::Memory(memory));
        let table = TableType {
            element_type: RefType::FUNCREF,
            table64: false,
            minimum: 0,
            maximum: None,
            shared: false,
        };
        section.import(PACK, TABLE, EntityType::Table(table));
        for (name, tag) in &self.module.imported_tags {
            if self.symbols.tags.contains(*name) {
                let kind = self.tag_type(*tag)?;
                section.import(PACK, name, EntityType::Tag(kind));
            }
        }
        Ok(section)
    }

    fn global_section(&mut self) -> Result<GlobalSection, ExtensionError> {
        let mut section = GlobalSection::new();
        for global in [STACK_POINTER, MEMORY_BASE, TABLE_BASE] {
            let kind = GlobalType {
                val_type: ValType::I32,
                mutable: global == STACK_POINTER,
                shared: false,
            };
            section.global(kind, &ConstExpr::i32_const(0));
        }
        for (kind, value) in self.own_globals.kept.clone() {
            let initial = match value {
                InitialGlobal::I32(value) => ConstExpr::i32_const(value),
                InitialGlobal::I64(value) => ConstExpr::i64_const(value),
                InitialGlobal::F32(bits) => ConstExpr::f32_const(wasm_encoder::Ieee32::new(bits)),
                InitialGlobal::F64(bits) => ConstExpr::f64_const(wasm_encoder::Ieee64::new(bits)),
                // The loader adds the base.
                InitialGlobal::Memory(_) | InitialGlobal::Table(_) => ConstExpr::i32_const(0),
            };
            let kind = self.global_type(kind)?;
            section.global(kind, &initial);
        }
        Ok(section)
    }

    fn element_section(&mut self) -> Result<ElementSection, ExtensionError> {
        let mut section = ElementSection::new();
        let offset = ConstExpr::global_get(TABLE_BASE);
        let functions: Option<Vec<u32>> = self.entries.iter().copied().collect();
        match functions {
            Some(functions) => {
                section.active(None, &offset, Elements::Functions(Cow::Owned(functions)));
            }
            None => {
                let expression = |entry: &Option<u32>| match entry {
                    Some(function) => ConstExpr::ref_func(*function),
                    None => ConstExpr::ref_null(wasm_encoder::HeapType::FUNC),
                };
                let expressions: Vec<_> = self.entries.iter().map(expression).collect();
                let elements = Elements::Expressions(RefType::FUNCREF, Cow::Owned(expressions));
                section.active(None, &offset, elements);
            }
        }
        if !self.module.declared.is_empty() {
            let mut declared = Vec::new();
            for function in &self.module.declared {
                declared.push(self.function_index(*function)?);
            }
            section.declared(Elements::Functions(Cow::Owned(declared)));
        }
        Ok(section)
    }

    fn body(&mut self, body: &FunctionBody<'_>) -> Result<Function, ExtensionError> {
        let mut function = self.new_function_with_parsed_locals(body)?;
        for operator in body.get_operators_reader()? {
            let operator = operator?;
            match operator {
                Operator::GlobalGet { global_index } => match self.global(global_index)? {
                    BoundGlobal::Global(global) => {
                        function.instruction(&Instruction::GlobalGet(global));
                    }
                    BoundGlobal::Constant(value) => {
                        function.instruction(&Instruction::I32Const(value));
                    }
                    BoundGlobal::Offset(base, offset) => {
                        function.instruction(&Instruction::GlobalGet(base));
                        if offset != 0 {
                            function.instruction(&Instruction::I32Const(offset));
                            function.instruction(&Instruction::I32Add);
                        }
                    }
                },
                Operator::GlobalSet { global_index } => match self.global(global_index)? {
                    BoundGlobal::Global(global)
                        if global != MEMORY_BASE && global != TABLE_BASE =>
                    {
                        function.instruction(&Instruction::GlobalSet(global));
                    }
                    _ => return Err(ExtensionError::Unsupported("code that moves it")),
                },
                Operator::MemoryInit { .. } | Operator::DataDrop { .. } => {
                    return Err(ExtensionError::Unsupported("passive data"));
                }
                // An image has no table: each dyno gets it from the modules.
                Operator::TableSet { .. }
                | Operator::TableGrow { .. }
                | Operator::TableFill { .. }
                | Operator::TableCopy { .. }
                | Operator::TableInit { .. }
                | Operator::ElemDrop { .. } => {
                    return Err(ExtensionError::Unsupported("code that changes the table"));
                }
                operator => {
                    let instruction = self.instruction(operator)?;
                    function.instruction(&instruction);
                }
            }
        }
        Ok(function)
    }

    /// Encodes the function that prepares the module's memory, as a loader does.
    fn initialize_function(&mut self) -> Result<Function, ExtensionError> {
        let module = self.module;
        let mut function = Function::new([]);
        let steps = [
            module.start,
            module.exported_function(RELOCATE),
            module.exported_function(CONSTRUCT),
        ];
        for step in steps.into_iter().flatten() {
            if !is_procedure(module, step) {
                return Err(ExtensionError::Inconsistent(
                    "a function of the loader with another type",
                ));
            }
            function.instruction(&Instruction::Call(self.function_index(step)?));
        }
        function.instruction(&Instruction::End);
        Ok(function)
    }

    /// Names the functions for the passes and for the messages of traps. Names that the passes look for are those of imports
    /// and of added functions only.
    fn names(&self) -> NameSection {
        let mut taken: HashSet<&str> = HashSet::from([STACK_LIMIT]);
        let mut functions: BTreeMap<u32, &str> = BTreeMap::new();
        for (index, (name, _)) in (0..).zip(&self.imports) {
            taken.insert(name);
            functions.insert(index, name);
        }
        for (function, name) in &self.module.names {
            let is_own = *function as usize >= self.module.imports.len();
            if let Some(index) = self.functions.get(*function as usize)
                && is_own
                && !taken.contains(name)
            {
                functions.insert(*index, name);
            }
        }
        let limit = self.imports.len() + self.module.functions.len() + self.stubs.len() + 1;
        functions.insert(limit as u32, STACK_LIMIT);
        let mut map = NameMap::new();
        for (index, name) in functions {
            map.append(index, name);
        }
        let mut globals = NameMap::new();
        globals.append(STACK_POINTER, STACK_POINTER_NAME);
        let mut section = NameSection::new();
        section.functions(&map);
        section.globals(&globals);
        section
    }

    fn global(&self, index: u32) -> Result<BoundGlobal, ExtensionError> {
        let found = self.globals.get(index as usize).copied();
        found.ok_or(ExtensionError::Inconsistent("a global that does not exist"))
    }
}

impl Reencode for SymbolBinding<'_> {
    type Error = ExtensionError;

    fn function_index(&mut self, function: u32) -> Result<u32, ReencodeError<ExtensionError>> {
        let found = self.functions.get(function as usize).copied();
        found.ok_or(ReencodeError::UserError(ExtensionError::Inconsistent(
            "a function that does not exist",
        )))
    }

    fn tag_index(&mut self, tag: u32) -> Result<u32, ReencodeError<ExtensionError>> {
        let found = self.tags.get(tag as usize).copied();
        found.ok_or(ReencodeError::UserError(ExtensionError::Inconsistent(
            "a tag that does not exist",
        )))
    }
}

impl From<ReencodeError<Self>> for ExtensionError {
    fn from(error: ReencodeError<Self>) -> Self {
        match error {
            ReencodeError::UserError(error) => error,
            ReencodeError::ParseError(error) => Self::Parse(error),
            _ => Self::Unsupported("what is not of a plain module"),
        }
    }
}

fn empty() -> Function {
    let mut function = Function::new([]);
    function.instruction(&Instruction::End);
    function
}

/// Returns whether a function has neither parameters nor results.
fn is_procedure(module: &SharedModule<'_>, function: u32) -> bool {
    let kind = module.function_type(function);
    kind.is_some_and(|kind| kind.params().is_empty() && kind.results().is_empty())
}
