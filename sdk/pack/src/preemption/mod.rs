//! Time slices: code that asks whether its turn is over.
//!
//! A host that runs many guests on few threads must be able to interrupt each of them. This pass makes a module's code ask
//! for it: wherever a run that does not end must come by again and again, the code compares the host's clock with the
//! time that it has last seen, and calls the host when they differ. The clock is one number in a memory of its own, which
//! all guests share and only the host can write to, since no other instruction of theirs names that memory.
//!
//! A run that does not end comes by the head of some loop, by a call through a table, or by one of a few functions that
//! every circle of calls by name goes through ([`cycles`]); there the comparisons stand. A pack may name functions that ask by themselves, as an interpreter does
//! at each jump of the program it runs: they are left alone, and calls of [`POLL`] in them become the comparison.
//!
//! The engine's own way (epochs) asks at the start of every function, which costs Ruby a fifth of its speed.

mod cycles;

use std::collections::{BTreeSet, HashMap};

use wasm_encoder::{
    BlockType, ConstExpr, Encode, EntityType, GlobalType, HeapType, Instruction, MemArg,
    MemoryType, Module, RawSection, RefType, ValType,
};
use wasmparser::{FunctionBody, KnownCustom, Name, Operator, Parser, Payload, TypeRef};

use crate::section::counted;

/// The module that code imports the clock and what belongs to it from.
pub const MODULE: &str = "corundum";
/// The shared memory of one page whose first four bytes are the clock.
pub const CLOCK: &str = "clock";
/// A reference to the host's function that is called when the clock has moved on; it returns the time that has now been
/// seen.
pub const TICK: &str = "tick";
/// A function without parameters and results that code imports to ask by itself.
pub const POLL: &str = "poll";

/// Sections by their number in the format.
mod section {
    pub(super) const TYPE: u8 = 1;
    pub(super) const IMPORT: u8 = 2;
    pub(super) const MEMORY: u8 = 5;
    pub(super) const GLOBAL: u8 = 6;
    pub(super) const CODE: u8 = 10;
    pub(super) const TAG: u8 = 13;
}

/// Counted up whenever what this pass inserts changes: code that was compiled before is then compiled anew.
pub const REVISION: u32 = 1;

/// A module that cannot be given time slices. The fault is the pack's maker's.
#[derive(Debug, thiserror::Error)]
pub enum PreemptionError {
    /// It is not valid WebAssembly.
    #[error("not a valid module: {0}")]
    Parse(#[from] wasmparser::BinaryReaderError),
    /// It has what such a module cannot have.
    #[error("a module with {0} cannot be given time slices")]
    Unsupported(&'static str),
    /// Its name section lacks a name.
    #[error("the module names no function {0}")]
    Unnamed(String),
}

const RESERVED: PreemptionError = PreemptionError::Unsupported(
    "imports of its own from `corundum`, other than the function `poll`,",
);

/// Inserts the comparisons into `wasm`, whose memories and globals are all imported, as [`super::split`] leaves them.
/// `polling` are the indices of functions that ask by themselves. A module without code stays as it is.
///
/// # Errors
///
/// [`PreemptionError`].
pub fn insert(wasm: &[u8], polling: &[u32]) -> Result<Vec<u8>, PreemptionError> {
    let facts = ModuleLayout::read(wasm)?;
    if facts.bodies.is_empty() {
        return Ok(wasm.to_vec());
    }
    let ours = ClockImports::new(&facts);
    let breakers = facts.breakers();
    let mut code = Vec::new();
    (facts.bodies.len() as u32).encode(&mut code);
    for (place, body) in facts.bodies.iter().enumerate() {
        let index = facts.imported + place as u32;
        let asks = match polling.contains(&index) {
            true => PollPoints::ByItself,
            false if breakers[place] => PollPoints::FromItsStart,
            false => PollPoints::Within,
        };
        rewrite(body, &facts, &ours, asks, wasm)?
            .as_slice()
            .encode(&mut code);
    }
    let mut module = Module::new();
    let mut before_code = ours.sections.into_iter().peekable();
    for payload in Parser::new(0).parse_all(wasm) {
        let Some((id, range)) = payload?.as_section() else {
            continue;
        };
        // Added entries are appended to those that are there, or stand where they would.
        while let Some(own) = before_code.next_if(|own| place(own.id) < place(id)) {
            own.write(&mut module, 0, &[]);
        }
        let bytes = &wasm[range.start..range.end];
        match before_code.next_if(|own| own.id == id) {
            Some(own) => {
                let (count, rest) = counted(bytes)?;
                own.write(&mut module, count, rest);
            }
            None if id == section::CODE => drop(module.section(&RawSection { id, data: &code })),
            None => drop(module.section(&RawSection { id, data: bytes })),
        }
    }
    Ok(module.finish())
}

/// The indices of the functions of these names.
///
/// # Errors
///
/// [`PreemptionError::Unnamed`] for the first that the module's name section does not have.
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

/// Where a section stands in a module's order; custom ones stand anywhere.
fn place(id: u8) -> u8 {
    match id {
        section::TAG => section::MEMORY * 2 + 1,
        id => id * 2,
    }
}

/// Where a function is made to ask.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PollPoints {
    /// Nowhere: it does so by itself.
    ByItself,
    /// In its loops, and before it calls through a table or a reference.
    Within,
    /// There and at its start.
    FromItsStart,
}

/// What the pass has to know of a module.
#[derive(Default)]
struct ModuleLayout<'a> {
    types: u32,
    imported: u32,
    memories: u32,
    globals: u32,
    /// The index of [`POLL`], where it is imported.
    poll: Option<u32>,
    bodies: Vec<FunctionBody<'a>>,
    /// What each function calls by name.
    calls: Vec<Vec<u32>>,
}

impl<'a> ModuleLayout<'a> {
    fn read(wasm: &'a [u8]) -> Result<Self, PreemptionError> {
        let mut facts = Self::default();
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::TypeSection(reader) => {
                    for group in reader {
                        facts.types += group?.types().len() as u32;
                    }
                }
                Payload::ImportSection(reader) => {
                    for import in reader.into_imports() {
                        let import = import?;
                        let ours = import.module == MODULE;
                        match import.ty {
                            TypeRef::Func(_) | TypeRef::FuncExact(_) => {
                                match import.name {
                                    _ if !ours => {}
                                    POLL => facts.poll = Some(facts.imported),
                                    // The host's function could be called with a clock that stands.
                                    _ => return Err(RESERVED),
                                }
                                facts.imported += 1;
                            }
                            // Who could name the clock's memory could stop it for all.
                            _ if ours => return Err(RESERVED),
                            TypeRef::Memory(_) => facts.memories += 1,
                            TypeRef::Global(_) => facts.globals += 1,
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
                    facts.calls.push(calls(&body)?);
                    facts.bodies.push(body);
                }
                _ => {}
            }
        }
        Ok(facts)
    }

    /// Functions at whose start to ask, so that no run is without an end that calls functions by name only; what calls
    /// through a table or a reference asks at each such call.
    fn breakers(&self) -> Vec<bool> {
        let defined = |callee: &u32| {
            let callee = callee.checked_sub(self.imported)? as usize;
            (callee < self.bodies.len()).then_some(callee)
        };
        let next: Vec<Vec<usize>> = self
            .calls
            .iter()
            .map(|calls| calls.iter().filter_map(defined).collect())
            .collect();
        cycles::breakers(&next)
    }
}

/// What a function calls by name.
fn calls(body: &FunctionBody<'_>) -> Result<Vec<u32>, PreemptionError> {
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

/// What is added to a module: a type, imports, and the time that its instance has last seen.
struct ClockImports {
    /// Ascending by their places.
    sections: [SectionAddition; 3],
    /// The comparison and the call that follows it.
    check: Vec<u8>,
}

/// Entries that are appended to a section.
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
    fn new(facts: &ModuleLayout<'_>) -> Self {
        let (tick_type, clock) = (facts.types, facts.memories);
        let (tick, seen) = (facts.globals, facts.globals + 1);
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
        let mut check = Vec::new();
        let at_clock = MemArg {
            offset: 0,
            align: 2,
            memory_index: clock,
        };
        for instruction in [
            Instruction::I32Const(0),
            // A plain load could be moved out of a loop by a compiler that sees no store in it.
            Instruction::I32AtomicLoad(at_clock),
            Instruction::GlobalGet(seen),
            Instruction::I32Ne,
            Instruction::If(BlockType::Empty),
            Instruction::GlobalGet(tick),
            Instruction::CallRef(tick_type),
            Instruction::GlobalSet(seen),
            Instruction::End,
        ] {
            instruction.encode(&mut check);
        }
        let addition = |id, count, entries| SectionAddition { id, count, entries };
        Self {
            sections: [
                addition(section::TYPE, 1, types),
                addition(section::IMPORT, 2, imports),
                addition(section::GLOBAL, 1, globals),
            ],
            check,
        }
    }
}

/// The clock's memory.
fn clock_type() -> MemoryType {
    MemoryType {
        minimum: 1,
        maximum: Some(1),
        memory64: false,
        shared: true,
        page_size_log2: None,
    }
}

fn rewrite(
    body: &FunctionBody<'_>,
    facts: &ModuleLayout<'_>,
    ours: &ClockImports,
    asks: PollPoints,
    wasm: &[u8],
) -> Result<Vec<u8>, PreemptionError> {
    let end = body.range().end;
    let mut reader = body.get_operators_reader()?;
    let mut code = wasm[body.range().start..reader.original_position()].to_vec();
    if asks == PollPoints::FromItsStart {
        code.extend_from_slice(&ours.check);
    }
    while reader.original_position() < end {
        let start = reader.original_position();
        let operator = reader.read()?;
        let bytes = &wasm[start..reader.original_position()];
        match operator {
            Operator::Call { function_index } if Some(function_index) == facts.poll => {
                code.extend_from_slice(&ours.check);
            }
            Operator::Loop { .. } if asks != PollPoints::ByItself => {
                code.extend_from_slice(bytes);
                code.extend_from_slice(&ours.check);
            }
            Operator::CallIndirect { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::CallRef { .. }
            | Operator::ReturnCallRef { .. }
                if asks != PollPoints::ByItself =>
            {
                code.extend_from_slice(&ours.check);
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
        let wasm = insert(&wat::parse_str(wat).unwrap(), polling).unwrap();
        let mut validator =
            wasmparser::Validator::new_with_features(wasmparser::WasmFeatures::all());
        validator.validate_all(&wasm).unwrap();
        wasm
    }

    /// How many comparisons stand in each function.
    fn comparisons(wasm: &[u8]) -> Vec<usize> {
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
    fn every_run_without_an_end_comes_by_a_comparison() {
        let found = comparisons(&inserted(GUEST, &[]));
        assert_eq!(found[..4], [0, 1, 0, 1]);
        assert_eq!(found[4] + found[5], 1, "one of two that call each other");
        assert_eq!(found[6..], [1, 2, 0]);
    }

    #[test]
    fn a_function_that_asks_by_itself_is_left_alone() {
        let interpreter = 8;
        let found = comparisons(&inserted(GUEST, &[interpreter]));
        assert_eq!(found[7], 1);
        assert_eq!(found[1], 1);
    }

    #[test]
    fn a_module_without_code_or_with_little_is_not_in_the_way() {
        let wasm = wat::parse_str("(module (import \"image\" \"memory\" (memory 1)))").unwrap();
        assert_eq!(insert(&wasm, &[]).unwrap(), wasm);
        inserted("(module (func (export \"go\") (loop (br 0))))", &[]);
        inserted("(module (tag) (func (loop (br 0))) (start 0))", &[]);
    }

    #[test]
    fn the_clock_cannot_be_named_by_a_guest() {
        for wat in [
            "(module (import \"corundum\" \"clock\" (memory 1 1 shared)))",
            "(module (import \"corundum\" \"tick\" (func (result i32))))",
            "(module (import \"corundum\" \"tick\" (global i32)))",
            "(module (memory 1))",
            "(module (global i32 (i32.const 1)))",
        ] {
            let wasm = wat::parse_str(wat).unwrap();
            let refused = insert(&wasm, &[]).unwrap_err();
            assert!(matches!(refused, PreemptionError::Unsupported(_)), "{wat}");
        }
        assert!(matches!(
            insert(b"no wasm", &[]),
            Err(PreemptionError::Parse(_))
        ));
    }

    #[test]
    fn functions_are_found_by_name() {
        let wasm = wat::parse_str("(module (func $a) (func $b))").unwrap();
        assert_eq!(
            functions_named(&wasm, ["b", "a"].into_iter()).unwrap(),
            [1, 0]
        );
        let missing = functions_named(&wasm, ["c"].into_iter()).unwrap_err();
        assert_eq!(missing.to_string(), "the module names no function c");
    }
}
