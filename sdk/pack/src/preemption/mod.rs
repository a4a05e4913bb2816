//! Cooperative preemption: code that polls for the end of its time slice.
//!
//! A host that runs many guests on few threads must be able to interrupt each of them. This pass inserts polls into a
//! module's code at points that any endless execution passes again and again. A poll compares the host's clock with the
//! time that the guest last saw, and calls the host if they differ. The clock is a number in a memory of its own that
//! all guests share. Only the host can write to it, because no other instruction of a guest refers to that memory.
//!
//! An endless execution passes the start of some loop, a call through a table, or one of a few functions that cut every
//! cycle of direct calls ([`crate::cycles`]); the pass inserts polls there. A pack may name functions that poll by themselves,
//! as an interpreter does at each jump of the program that it runs. The pass inserts no polls into these, and replaces
//! their calls of [`POLL`] by the comparison.
//!
//! The engine's own mechanism (epochs) polls at the start of every function, which slows Ruby down by a fifth.

use std::collections::{BTreeSet, HashMap};

use wasm_encoder::{
    BlockType, ConstExpr, Encode, EntityType, GlobalType, HeapType, Instruction, MemArg,
    MemoryType, Module, RawSection, RefType, ValType,
};
use wasmparser::{FunctionBody, KnownCustom, Name, Operator, Parser, Payload, TypeRef};

use crate::cycles;
use crate::section::split_count;

/// Name of the module from which code imports the clock and the functions for polling.
pub const MODULE: &str = "corundum";
/// Name of the shared memory of one page whose first four bytes are the clock.
pub const CLOCK: &str = "clock";
/// Name of the reference to the host's function that code calls after the clock has changed. The function returns the
/// time that the guest has then seen.
pub const TICK: &str = "tick";
/// Name of the function, without parameters and results, that code imports to poll by itself.
pub const POLL: &str = "poll";

/// Numbers of sections in WebAssembly's binary format.
mod section {
    pub(super) const TYPE: u8 = 1;
    pub(super) const IMPORT: u8 = 2;
    pub(super) const MEMORY: u8 = 5;
    pub(super) const GLOBAL: u8 = 6;
    pub(super) const CODE: u8 = 10;
    pub(super) const TAG: u8 = 13;
}

/// Revision of the inserted code; increment it with every change, so that hosts compile cached modules again.
pub const REVISION: u32 = 1;

/// Failure to insert polls into a module. The author of the pack is at fault.
#[derive(Debug, thiserror::Error)]
pub enum PreemptionError {
    /// The module is not valid WebAssembly.
    #[error("invalid module: {0}")]
    Parse(#[from] wasmparser::BinaryReaderError),
    /// The module has a feature that a preemptible module cannot have.
    #[error("cannot insert polls into a module with {0}")]
    Unsupported(&'static str),
    /// The module's name section lacks a function.
    #[error("function {0} not found in the module's name section")]
    Unnamed(String),
}

const RESERVED: PreemptionError =
    PreemptionError::Unsupported("imports from `corundum` other than the function `poll`");

/// Inserts polls into `wasm`, which must import all of its memories and globals, as [`crate::split`] makes it do.
///
/// `polling` holds the indices of functions that poll by themselves. A module without code is returned unchanged.
///
/// # Errors
///
/// Returns [`PreemptionError::Parse`] for an invalid module, and [`PreemptionError::Unsupported`] for one that defines
/// memories or globals or imports the clock itself.
pub fn insert_polls(wasm: &[u8], polling: &[u32]) -> Result<Vec<u8>, PreemptionError> {
    let layout = ModuleLayout::read(wasm)?;
    if layout.bodies.is_empty() {
        return Ok(wasm.to_vec());
    }
    let added = ClockImports::new(&layout);
    let breakers = layout.cycle_breakers();
    let mut code = Vec::new();
    (layout.bodies.len() as u32).encode(&mut code);
    for (place, body) in layout.bodies.iter().enumerate() {
        let index = layout.imported + place as u32;
        let points = match polling.contains(&index) {
            true => PollPoints::None,
            false if breakers[place] => PollPoints::AlsoStart,
            false => PollPoints::LoopsAndCalls,
        };
        rewrite(body, &layout, &added, points, wasm)?
            .as_slice()
            .encode(&mut code);
    }
    let mut module = Module::new();
    let mut before_code = added.sections.into_iter().peekable();
    for payload in Parser::new(0).parse_all(wasm) {
        let Some((id, range)) = payload?.as_section() else {
            continue;
        };
        // Appends added entries to existing sections, and writes missing sections in their place.
        while let Some(own) = before_code.next_if(|own| section_order(own.id) < section_order(id)) {
            own.write(&mut module, 0, &[]);
        }
        let bytes = &wasm[range.start..range.end];
        match before_code.next_if(|own| own.id == id) {
            Some(own) => {
                let (count, rest) = split_count(bytes)?;
                own.write(&mut module, count, rest);
            }
            None if id == section::CODE => drop(module.section(&RawSection { id, data: &code })),
            None => drop(module.section(&RawSection { id, data: bytes })),
        }
    }
    Ok(module.finish())
}

/// Returns the indices of the functions with these names.
///
/// # Errors
///
/// Returns [`PreemptionError::Unnamed`] for the first name that is missing in the module's name section.
pub fn functions_named<'a>(
    wasm: &[u8],
    names: impl Iterator<Item = &'a str>,
) -> Result<Vec<u32>, PreemptionError> {
    let mut known = HashMap::new();
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::CustomSection(section) = payload?
            && let KnownCustom::Name(reader) = section.as_known()
        {
            for subsection in reader {
                if let Name::Function(functions) = subsection? {
                    for function in functions {
                        let function = function?;
                        known.insert(function.name, function.index);
                    }
                }
            }
        }
    }
    let find = |name: &str| known.get(name).copied();
    names
        .map(|name| find(name).ok_or_else(|| PreemptionError::Unnamed(name.to_owned())))
        .collect()
}

/// Returns a key for the order in which sections must appear; custom sections may appear anywhere.
fn section_order(id: u8) -> u8 {
    match id {
        section::TAG => section::MEMORY * 2 + 1,
        id => id * 2,
    }
}

/// Points of a function at which the pass inserts polls.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PollPoints {
    /// No points, because the function polls by itself.
    None,
    /// Loops, and calls through a table or a reference.
    LoopsAndCalls,
    /// Loops, calls through a table or a reference, and the function's start.
    AlsoStart,
}

/// Facts about a module that the pass needs.
#[derive(Default)]
struct ModuleLayout<'a> {
    types: u32,
    imported: u32,
    memories: u32,
    globals: u32,
    /// Index of [`POLL`], if the module imports it.
    poll: Option<u32>,
    bodies: Vec<FunctionBody<'a>>,
    /// Functions that each function calls directly.
    direct_calls: Vec<Vec<u32>>,
}

impl<'a> ModuleLayout<'a> {
    fn read(wasm: &'a [u8]) -> Result<Self, PreemptionError> {
        let mut layout = Self::default();
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::TypeSection(reader) => {
                    for group in reader {
                        layout.types += group?.types().len() as u32;
                    }
                }
                Payload::ImportSection(reader) => {
                    for import in reader.into_imports() {
                        let import = import?;
                        let is_reserved = import.module == MODULE;
                        match import.ty {
                            TypeRef::Func(_) | TypeRef::FuncExact(_) => {
                                match import.name {
                                    _ if !is_reserved => {}
                                    POLL => layout.poll = Some(layout.imported),
                                    // A guest that called the host's function directly could do so while the clock
                                    // stands still.
                                    _ => return Err(RESERVED),
                                }
                                layout.imported += 1;
                            }
                            // A guest that could write to the clock's memory could stop the clock for all.
                            _ if is_reserved => return Err(RESERVED),
                            TypeRef::Memory(_) => layout.memories += 1,
                            TypeRef::Global(_) => layout.globals += 1,
                            TypeRef::Table(_) | TypeRef::Tag(_) => {}
                        }
                    }
                }
                Payload::MemorySection(_) => {
                    return Err(PreemptionError::Unsupported("a memory of its own"));
                }
                Payload::GlobalSection(_) => {
                    return Err(PreemptionError::Unsupported("globals of its own"));
                }
                Payload::CodeSectionEntry(body) => {
                    layout.direct_calls.push(direct_calls(&body)?);
                    layout.bodies.push(body);
                }
                _ => {}
            }
        }
        Ok(layout)
    }

    /// Marks the functions that must poll at their start, so that no recursion of direct calls runs without polling.
    ///
    /// Indirect calls need no such function, since each of them polls.
    fn cycle_breakers(&self) -> Vec<bool> {
        let defined = |callee: &u32| {
            let callee = callee.checked_sub(self.imported)? as usize;
            (callee < self.bodies.len()).then_some(callee)
        };
        let next: Vec<Vec<usize>> = self
            .direct_calls
            .iter()
            .map(|calls| calls.iter().filter_map(defined).collect())
            .collect();
        cycles::feedback_vertex_set(&next)
    }
}

/// Returns the functions that a function calls directly, or to which it makes references.
fn direct_calls(body: &FunctionBody<'_>) -> Result<Vec<u32>, PreemptionError> {
    let mut named = BTreeSet::new();
    for operator in body.get_operators_reader()? {
        if let Operator::Call { function_index }
        | Operator::ReturnCall { function_index }
        | Operator::RefFunc { function_index } = operator?
        {
            named.insert(function_index);
        }
    }
    Ok(named.into_iter().collect())
}

/// Additions to a module: a type, imports, and a global for the time that the instance last saw.
struct ClockImports {
    /// Sorted in the order of sections.
    sections: [SectionAddition; 3],
    /// Encoded poll: the comparison, and the conditional call of the host.
    poll: Vec<u8>,
}

/// Entries that the pass appends to a section.
struct SectionAddition {
    id: u8,
    count: u32,
    entries: Vec<u8>,
}

impl SectionAddition {
    fn write(self, module: &mut Module, count: u32, before: &[u8]) {
        let mut data = Vec::new();
        (count + self.count).encode(&mut data);
        data.extend_from_slice(before);
        data.extend_from_slice(&self.entries);
        module.section(&RawSection {
            id: self.id,
            data: &data,
        });
    }
}

impl ClockImports {
    fn new(layout: &ModuleLayout<'_>) -> Self {
        let (tick_type, clock) = (layout.types, layout.memories);
        let (tick, seen) = (layout.globals, layout.globals + 1);
        // (func (result i32))
        let types = vec![0x60, 0, 1, 0x7f];
        let mut imports = Vec::new();
        let mut import = |name: &str, kind: EntityType| {
            MODULE.encode(&mut imports);
            name.encode(&mut imports);
            kind.encode(&mut imports);
        };
        import(CLOCK, EntityType::Memory(clock_type()));
        let tick_reference = RefType {
            nullable: false,
            heap_type: HeapType::Concrete(tick_type),
        };
        let global = |val_type, mutable| GlobalType {
            val_type,
            mutable,
            shared: false,
        };
        import(
            TICK,
            EntityType::Global(global(ValType::Ref(tick_reference), false)),
        );
        let mut globals = Vec::new();
        global(ValType::I32, true).encode(&mut globals);
        ConstExpr::i32_const(0).encode(&mut globals);
        let mut poll = Vec::new();
        let at_clock = MemArg {
            offset: 0,
            align: 2,
            memory_index: clock,
        };
        for instruction in [
            Instruction::I32Const(0),
            // A compiler could move a plain load out of a loop that contains no store.
            Instruction::I32AtomicLoad(at_clock),
            Instruction::GlobalGet(seen),
            Instruction::I32Ne,
            Instruction::If(BlockType::Empty),
            Instruction::GlobalGet(tick),
            Instruction::CallRef(tick_type),
            Instruction::GlobalSet(seen),
            Instruction::End,
        ] {
            instruction.encode(&mut poll);
        }
        let addition = |id, count, entries| SectionAddition { id, count, entries };
        Self {
            sections: [
                addition(section::TYPE, 1, types),
                addition(section::IMPORT, 2, imports),
                addition(section::GLOBAL, 1, globals),
            ],
            poll,
        }
    }
}

/// Returns the type of the clock's memory.
fn clock_type() -> MemoryType {
    MemoryType {
        minimum: 1,
        maximum: Some(1),
        memory64: false,
        shared: true,
        page_size_log2: None,
    }
}

/// Returns the body of a function with polls inserted at `points`, and in place of its calls of [`POLL`].
fn rewrite(
    body: &FunctionBody<'_>,
    layout: &ModuleLayout<'_>,
    added: &ClockImports,
    points: PollPoints,
    wasm: &[u8],
) -> Result<Vec<u8>, PreemptionError> {
    let end = body.range().end;
    let mut reader = body.get_operators_reader()?;
    let mut code = wasm[body.range().start..reader.original_position()].to_vec();
    if points == PollPoints::AlsoStart {
        code.extend_from_slice(&added.poll);
    }
    while reader.original_position() < end {
        let start = reader.original_position();
        let operator = reader.read()?;
        let bytes = &wasm[start..reader.original_position()];
        match operator {
            Operator::Call { function_index } if Some(function_index) == layout.poll => {
                code.extend_from_slice(&added.poll);
            }
            Operator::Loop { .. } if points != PollPoints::None => {
                code.extend_from_slice(bytes);
                code.extend_from_slice(&added.poll);
            }
            Operator::CallIndirect { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::CallRef { .. }
            | Operator::ReturnCallRef { .. }
                if points != PollPoints::None =>
            {
                code.extend_from_slice(&added.poll);
                code.extend_from_slice(bytes);
            }
            _ => code.extend_from_slice(bytes),
        }
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inserted(wat: &str, polling: &[u32]) -> Vec<u8> {
        let wasm = insert_polls(&wat::parse_str(wat).unwrap(), polling).unwrap();
        let mut validator =
            wasmparser::Validator::new_with_features(wasmparser::WasmFeatures::all());
        validator.validate_all(&wasm).unwrap();
        wasm
    }

    /// Counts the polls in each function.
    fn polls(wasm: &[u8]) -> Vec<usize> {
        let mut found = Vec::new();
        for payload in Parser::new(0).parse_all(wasm) {
            if let Payload::CodeSectionEntry(body) = payload.unwrap() {
                let operators = body.get_operators_reader().unwrap().into_iter();
                let loads = operators
                    .filter(|operator| matches!(operator, Ok(Operator::I32AtomicLoad { .. })));
                found.push(loads.count());
            }
        }
        found
    }

    const GUEST: &str = r#"(module
        (import "corundum" "poll" (func $poll))
        (import "image" "memory" (memory 1))
        (import "image" "g0" (global (mut i32)))
        (table 1 funcref)
        (elem (i32.const 0) $leaf)
        (func $leaf (result i32) (global.get 0))
        (func $looping (loop (br 0)))
        (func $caller (drop (call $leaf)))
        (func $itself (call $itself))
        (func $ping (call $pong))
        (func $pong (call $ping))
        (func $through (drop (call_indirect (result i32) (i32.const 0))))
        (func $interpreter (loop (call $poll) (br 0)))
        (func (export "go") (call $interpreter) (call $looping)))"#;

    #[test]
    fn every_endless_execution_polls() {
        let found = polls(&inserted(GUEST, &[]));
        assert_eq!(found[..4], [0, 1, 0, 1]);
        assert_eq!(
            found[4] + found[5],
            1,
            "one of two mutually recursive functions"
        );
        assert_eq!(found[6..], [1, 2, 0]);
    }

    #[test]
    fn self_polling_function_gets_no_additional_polls() {
        let interpreter = 8;
        let found = polls(&inserted(GUEST, &[interpreter]));
        assert_eq!(found[7], 1);
        assert_eq!(found[1], 1);
    }

    #[test]
    fn modules_without_code_memory_or_imports_are_accepted() {
        let wasm = wat::parse_str("(module (import \"image\" \"memory\" (memory 1)))").unwrap();
        assert_eq!(insert_polls(&wasm, &[]).unwrap(), wasm);
        inserted("(module (func (export \"go\") (loop (br 0))))", &[]);
        inserted("(module (tag) (func (loop (br 0))) (start 0))", &[]);
    }

    #[test]
    fn guest_that_imports_the_clock_is_rejected() {
        for wat in [
            "(module (import \"corundum\" \"clock\" (memory 1 1 shared)))",
            "(module (import \"corundum\" \"tick\" (func (result i32))))",
            "(module (import \"corundum\" \"tick\" (global i32)))",
            "(module (memory 1))",
            "(module (global i32 (i32.const 1)))",
        ] {
            let wasm = wat::parse_str(wat).unwrap();
            let rejected = insert_polls(&wasm, &[]).unwrap_err();
            assert!(matches!(rejected, PreemptionError::Unsupported(_)), "{wat}");
        }
        assert!(matches!(
            insert_polls(b"no wasm", &[]),
            Err(PreemptionError::Parse(_))
        ));
    }

    #[test]
    fn functions_named_returns_indices_in_the_order_of_the_names() {
        let wasm = wat::parse_str("(module (func $a) (func $b))").unwrap();
        assert_eq!(
            functions_named(&wasm, ["b", "a"].into_iter()).unwrap(),
            [1, 0]
        );
        let missing = functions_named(&wasm, ["c"].into_iter()).unwrap_err();
        assert_eq!(
            missing.to_string(),
            "function c not found in the module's name section"
        );
    }
}
