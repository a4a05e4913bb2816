//! Checks of the remaining stack, so that recursion in C raises an exception instead of ending the dyno.
//!
//! WebAssembly has two stacks: that of the engine, whose overflow traps, and C's in linear memory, below which no guard
//! page lies. This pass makes functions compare C's stack pointer with a limit after they have taken their frame, and
//! call a handler of the module below it. At that point the new stack pointer is in a local, so that the check is a
//! comparison with a word in memory and a branch that is not taken. The limit is a variable of the module, because each
//! of its coroutines has a stack of its own.
//!
//! Each recursion passes through a function that calls through a table, or through one of a few functions that cut every
//! cycle of direct calls; these check. One that cuts direct calls and has no frame gets one. As each turn of a recursion then
//! takes some of C's stack, the limit also bounds the engine's stack. A module may name functions that need no check because each of their
//! recursions passes through a check of the program's own.
//!
//! The pass runs after [`crate::spill`]. The handler must not collect garbage, because the analysis has not seen it, and
//! must return at once if its own callees call it.

use std::collections::HashMap;
use std::ops::Range;

use wasm_encoder::{BlockType, Encode, Instruction, MemArg, Module, RawSection};
use wasmparser::{
    CompositeInnerType, ElementItems, FuncType, FunctionBody, KnownCustom, Name, Operator, Parser,
    Payload, TypeRef, ValType,
};

use crate::cycles;

/// The linker's name for the global that holds C's stack pointer.
const STACK_POINTER: &str = "__stack_pointer";
/// Number of the code section in WebAssembly's binary format.
const CODE: u8 = 10;
/// Bytes of the frame of a function that had none.
const FRAME: i32 = 64;

/// Failure to insert checks into a module. The build that the module comes from is at fault.
#[derive(Debug, thiserror::Error)]
pub enum StackLimitError {
    /// The module is not valid WebAssembly.
    #[error("invalid module: {0}")]
    Parse(#[from] wasmparser::BinaryReaderError),
    /// The name section lacks a name that the pass needs.
    #[error("{0} not found in the module's name section: link the module without stripping names")]
    Unnamed(String),
    /// The module uses a feature that the pass does not support.
    #[error("cannot insert stack checks into a module with {0}")]
    Unsupported(&'static str),
    /// The handler has parameters or results.
    #[error("{0} must have neither parameters nor results")]
    Handler(String),
    /// The function does more than return the address of a variable.
    #[error("{0} must return the address of a variable and do nothing else")]
    Limit(String),
}

/// Statistics of the pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StackLimitSummary {
    /// Functions defined by the module.
    pub functions: usize,
    /// Functions that check the stack.
    pub checking: usize,
    /// Functions among them to which the pass added a frame.
    pub framed: usize,
    /// Address of the variable that holds the limit.
    pub limit: u32,
    /// Index of the global that holds C's stack pointer.
    pub stack_pointer: u32,
}

/// Makes the functions of `wasm` call the function `handler` when C's stack pointer is below a limit.
///
/// The limit is in the variable whose address the function `limit` returns.
///
/// `exempt` names functions that check by themselves.
///
/// # Errors
///
/// Returns [`StackLimitError`] if the module is invalid, lacks a name that the pass needs, or uses an unsupported
/// feature.
pub fn insert_stack_checks(
    wasm: &[u8],
    handler: &str,
    limit: &str,
    exempt: &[&str],
) -> Result<(Vec<u8>, StackLimitSummary), StackLimitError> {
    let layout = CallingModule::read(wasm, handler, limit, exempt)?;
    let check = layout.check();
    let plans = layout.plan();
    let mut code = Vec::new();
    (layout.bodies.len() as u32).encode(&mut code);
    for (place, body) in layout.bodies.iter().enumerate() {
        let kind = layout.function_type(layout.imported + place as u32);
        let rewritten = match plans[place] {
            FramePlan::Unchecked => wasm[body.range().start..body.range().end].to_vec(),
            FramePlan::Existing => layout.check_frame(body, &check, wasm)?,
            FramePlan::Added => layout.add_frame(body, kind, &check, wasm)?,
            FramePlan::Bare => layout.check_at_start(body, &check, wasm)?,
        };
        rewritten.as_slice().encode(&mut code);
    }
    let count = |plan| plans.iter().filter(|other| **other == plan).count();
    let summary = StackLimitSummary {
        functions: layout.bodies.len(),
        checking: layout.bodies.len() - count(FramePlan::Unchecked),
        framed: count(FramePlan::Added),
        limit: layout.limit,
        stack_pointer: layout.stack_pointer,
    };
    let mut module = Module::new();
    for payload in Parser::new(0).parse_all(wasm) {
        let Some((id, range)) = payload?.as_section() else {
            continue;
        };
        let data = match id {
            CODE => &code,
            _ => &wasm[range.start..range.end],
        };
        module.section(&RawSection { id, data });
    }
    Ok((module.finish(), summary))
}

/// Treatment of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FramePlan {
    /// The function is not part of a recursion, or another function in each of its recursions checks.
    Unchecked,
    /// The function checks when it has taken its frame.
    Existing,
    /// The function gets a frame, and checks.
    Added,
    /// The function checks at its start without a frame.
    Bare,
}

/// Facts about a module that the pass needs.
#[derive(Default)]
struct CallingModule<'a> {
    types: Vec<FuncType>,
    /// Index of each function's type, imported functions first.
    functions: Vec<u32>,
    imported: u32,
    address_taken: Vec<u32>,
    stack_pointer: u32,
    /// Address of the variable that holds the limit.
    limit: u32,
    handler: u32,
    /// Functions that check by themselves.
    exempt: Vec<u32>,
    bodies: Vec<FunctionBody<'a>>,
    /// Facts about each function that the module defines.
    calls: Vec<FunctionCalls>,
}

/// Calls and frame of a function.
#[derive(Default)]
struct FunctionCalls {
    direct: Vec<u32>,
    /// Indices of the types of indirect calls.
    indirect: Vec<u32>,
    /// True if the function takes a frame at its start.
    has_frame: bool,
    /// True if the function is an entry of a table.
    is_listed: bool,
}

impl<'a> CallingModule<'a> {
    fn read(
        wasm: &'a [u8],
        handler: &str,
        limit: &str,
        exempt: &[&str],
    ) -> Result<Self, StackLimitError> {
        let mut layout = Self::default();
        let mut names: HashMap<&str, u32> = HashMap::new();
        let mut stack_pointer = None;
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::TypeSection(reader) => {
                    for group in reader {
                        for kind in group?.into_types() {
                            let CompositeInnerType::Func(kind) = kind.composite_type.inner else {
                                return Err(StackLimitError::Unsupported(
                                    "types of the GC proposal",
                                ));
                            };
                            layout.types.push(kind);
                        }
                    }
                }
                Payload::ImportSection(reader) => {
                    for import in reader.into_imports() {
                        match import?.ty {
                            TypeRef::Func(kind) => {
                                layout.functions.push(kind);
                                layout.imported += 1;
                            }
                            TypeRef::Global(_) => {
                                return Err(StackLimitError::Unsupported("imported globals"));
                            }
                            _ => {}
                        }
                    }
                }
                Payload::FunctionSection(reader) => {
                    for kind in reader {
                        layout.functions.push(kind?);
                    }
                }
                Payload::ElementSection(reader) => {
                    for element in reader {
                        match element?.items {
                            ElementItems::Functions(items) => {
                                for item in items {
                                    layout.address_taken.push(item?);
                                }
                            }
                            ElementItems::Expressions(_, items) => {
                                for item in items {
                                    for operator in item?.get_operators_reader() {
                                        if let Operator::RefFunc { function_index } = operator? {
                                            layout.address_taken.push(function_index);
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
                Payload::CodeSectionEntry(body) => layout.bodies.push(body),
                Payload::CustomSection(section) => {
                    let KnownCustom::Name(reader) = section.as_known() else {
                        continue;
                    };
                    for subsection in reader {
                        match subsection? {
                            Name::Function(map) => {
                                for name in map {
                                    let name = name?;
                                    names.insert(name.name, name.index);
                                }
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
                _ => {}
            }
        }
        let unnamed = |name: &str| StackLimitError::Unnamed(name.to_owned());
        let find = |name: &&str| names.get(name).copied().ok_or_else(|| unnamed(name));
        layout.handler = find(&handler)?;
        layout.exempt = exempt.iter().map(find).collect::<Result<_, _>>()?;
        layout.stack_pointer = stack_pointer.ok_or_else(|| unnamed(STACK_POINTER))?;
        layout.limit = layout
            .returned_address(find(&limit)?)?
            .ok_or_else(|| StackLimitError::Limit(limit.to_owned()))?;
        let kind = layout.function_type(layout.handler);
        if kind.is_none_or(|kind| !kind.params().is_empty() || !kind.results().is_empty()) {
            return Err(StackLimitError::Handler(handler.to_owned()));
        }
        let calls = layout.bodies.iter().map(|body| layout.calls_of(body));
        layout.calls = calls.collect::<Result<_, _>>()?;
        for function in &layout.address_taken {
            if let Some(place) = function.checked_sub(layout.imported)
                && let Some(calls) = layout.calls.get_mut(place as usize)
            {
                calls.is_listed = true;
            }
        }
        Ok(layout)
    }

    /// Returns the constant that a function returns, if it does nothing else.
    fn returned_address(&self, function: u32) -> Result<Option<u32>, StackLimitError> {
        let body = self
            .place(function)
            .and_then(|place| self.bodies.get(place));
        let Some(body) = body else { return Ok(None) };
        let operators = body.get_operators_reader()?.into_iter();
        let operators = operators.collect::<Result<Vec<_>, _>>()?;
        Ok(match operators[..] {
            [Operator::I32Const { value }, Operator::End] => Some(value.cast_unsigned()),
            _ => None,
        })
    }

    fn function_type(&self, function: u32) -> Option<&FuncType> {
        let kind = self.functions.get(function as usize)?;
        self.types.get(*kind as usize)
    }

    fn calls_of(&self, body: &FunctionBody<'_>) -> Result<FunctionCalls, StackLimitError> {
        let mut found = FunctionCalls::default();
        for (index, operator) in body.get_operators_reader()?.into_iter().enumerate() {
            match operator? {
                Operator::Call { function_index }
                | Operator::ReturnCall { function_index }
                | Operator::RefFunc { function_index } => found.direct.push(function_index),
                Operator::CallIndirect { type_index, .. }
                | Operator::ReturnCallIndirect { type_index, .. }
                | Operator::CallRef { type_index }
                | Operator::ReturnCallRef { type_index } => found.indirect.push(type_index),
                // The compiler takes a frame before it does anything else.
                Operator::GlobalSet { global_index }
                    if global_index == self.stack_pointer && index <= FRAME_OPERATORS =>
                {
                    found.has_frame = true;
                }
                _ => {}
            }
        }
        found.direct.sort_unstable();
        found.direct.dedup();
        found.indirect.sort_unstable();
        found.indirect.dedup();
        Ok(found)
    }

    /// Decides which functions check the stack.
    fn plan(&self) -> Vec<FramePlan> {
        let recursive = cycles::cyclic(&self.call_graph());
        let mut may_check = recursive[..self.bodies.len()].to_vec();
        for function in self.exempt.iter().chain([&self.handler]) {
            if let Some(place) = self.place(*function) {
                may_check[place] = false;
            }
        }
        let direct: Vec<Vec<usize>> = (0..self.bodies.len())
            .map(|place| match may_check[place] {
                true => self.callees(place).filter(|to| may_check[*to]).collect(),
                false => Vec::new(),
            })
            .collect();
        let breakers = cycles::feedback_vertex_set(&direct);
        (0..self.bodies.len())
            .map(|place| {
                let calls = &self.calls[place];
                match (breakers[place], self.calls_through_table(place)) {
                    _ if !may_check[place] => FramePlan::Unchecked,
                    (false, false) => FramePlan::Unchecked,
                    _ if calls.has_frame => FramePlan::Existing,
                    (true, _) => FramePlan::Added,
                    (false, true) => FramePlan::Bare,
                }
            })
            .collect()
    }

    /// Tells whether a function calls through a table. Functions that only pass such a call on are left out, because they
    /// were called through a table themselves.
    fn calls_through_table(&self, place: usize) -> bool {
        let calls = &self.calls[place];
        let only_passes_on = !calls.has_frame && calls.direct.is_empty() && calls.is_listed;
        !calls.indirect.is_empty() && !only_passes_on
    }

    /// Returns the places of the functions of the module that a function calls directly.
    fn callees(&self, place: usize) -> impl Iterator<Item = usize> + '_ {
        let calls = self.calls[place].direct.iter();
        calls.filter_map(|function| self.place(*function))
    }

    fn place(&self, function: u32) -> Option<usize> {
        Some(function.checked_sub(self.imported)? as usize)
    }

    /// Returns the graph of all calls between functions, followed by a node for each type of an indirect call, which
    /// leads to the functions of that type whose address is taken.
    fn call_graph(&self) -> Vec<Vec<usize>> {
        let count = self.bodies.len();
        // Structurally equal types form one class.
        let mut classes = HashMap::new();
        let class: Vec<usize> = self
            .types
            .iter()
            .enumerate()
            .map(|(index, kind)| count + *classes.entry(kind).or_insert(index))
            .collect();
        let mut graph = vec![Vec::new(); count + self.types.len()];
        for (place, calls) in self.calls.iter().enumerate() {
            graph[place].extend(self.callees(place));
            graph[place].extend(calls.indirect.iter().map(|kind| class[*kind as usize]));
        }
        for function in &self.address_taken {
            if let Some(place) = self.place(*function) {
                graph[class[self.functions[*function as usize] as usize]].push(place);
            }
        }
        graph
    }

    /// Encodes the check. It expects the stack pointer on the operand stack.
    fn check(&self) -> Vec<u8> {
        let limit = MemArg {
            offset: u64::from(self.limit),
            align: 2,
            memory_index: 0,
        };
        let mut check = Vec::new();
        for instruction in [
            Instruction::I32Const(0),
            Instruction::I32Load(limit),
            Instruction::I32LtU,
            Instruction::If(BlockType::Empty),
            Instruction::Call(self.handler),
            Instruction::End,
        ] {
            instruction.encode(&mut check);
        }
        check
    }

    /// Inserts a check after the function has taken its frame.
    fn check_frame(
        &self,
        body: &FunctionBody<'_>,
        check: &[u8],
        wasm: &[u8],
    ) -> Result<Vec<u8>, StackLimitError> {
        let whole = body.range();
        let mut reader = body.get_operators_reader()?;
        let mut held = None;
        loop {
            match reader.read()? {
                Operator::LocalTee { local_index } | Operator::LocalGet { local_index } => {
                    held = Some(local_index);
                }
                Operator::GlobalSet { global_index } if global_index == self.stack_pointer => break,
                _ => held = None,
            }
        }
        let stack_pointer = match held {
            Some(local) => Instruction::LocalGet(local),
            None => Instruction::GlobalGet(self.stack_pointer),
        };
        let at = reader.original_position();
        Ok(inserted(whole, at, &stack_pointer, check, wasm))
    }

    /// Inserts a check at the start of the function.
    fn check_at_start(
        &self,
        body: &FunctionBody<'_>,
        check: &[u8],
        wasm: &[u8],
    ) -> Result<Vec<u8>, StackLimitError> {
        let whole = body.range();
        let at = body.get_operators_reader()?.original_position();
        let stack_pointer = Instruction::GlobalGet(self.stack_pointer);
        Ok(inserted(whole, at, &stack_pointer, check, wasm))
    }

    /// Adds a frame and a check to a function.
    fn add_frame(
        &self,
        body: &FunctionBody<'_>,
        kind: Option<&FuncType>,
        check: &[u8],
        wasm: &[u8],
    ) -> Result<Vec<u8>, StackLimitError> {
        let block = match kind.map_or(&[][..], FuncType::results) {
            [] => BlockType::Empty,
            [ValType::I32] => BlockType::Result(wasm_encoder::ValType::I32),
            [ValType::I64] => BlockType::Result(wasm_encoder::ValType::I64),
            [ValType::F32] => BlockType::Result(wasm_encoder::ValType::F32),
            [ValType::F64] => BlockType::Result(wasm_encoder::ValType::F64),
            _ => return Err(StackLimitError::Unsupported("a result of another type")),
        };
        let move_by = |code: &mut Vec<u8>, bytes: i32| {
            for instruction in [
                Instruction::GlobalGet(self.stack_pointer),
                Instruction::I32Const(bytes),
                Instruction::I32Add,
                Instruction::GlobalSet(self.stack_pointer),
            ] {
                instruction.encode(code);
            }
        };
        let whole = body.range();
        let mut reader = body.get_operators_reader()?;
        let mut code = wasm[whole.start..reader.original_position()].to_vec();
        move_by(&mut code, -FRAME);
        Instruction::GlobalGet(self.stack_pointer).encode(&mut code);
        code.extend_from_slice(check);
        // A branch to the function's own label ends this block, after which the frame is released.
        Instruction::Block(block).encode(&mut code);
        while reader.original_position() < whole.end {
            let start = reader.original_position();
            match reader.read()? {
                Operator::Return => move_by(&mut code, FRAME),
                Operator::ReturnCall { .. }
                | Operator::ReturnCallIndirect { .. }
                | Operator::ReturnCallRef { .. } => {
                    return Err(StackLimitError::Unsupported("tail calls"));
                }
                _ => {}
            }
            code.extend_from_slice(&wasm[start..reader.original_position()]);
        }
        // The function's last instruction, which is copied, ends the block.
        move_by(&mut code, FRAME);
        Instruction::End.encode(&mut code);
        Ok(code)
    }
}

/// Index of the last operator of the usual way to take a frame: get, constant, subtract, set or tee, get, and set.
const FRAME_OPERATORS: usize = 6;

/// Returns the body at `whole` with a check of the value that `stack_pointer` pushes, inserted at `at`.
fn inserted(
    whole: Range<usize>,
    at: usize,
    stack_pointer: &Instruction<'_>,
    check: &[u8],
    wasm: &[u8],
) -> Vec<u8> {
    let mut code = wasm[whole.start..at].to_vec();
    stack_pointer.encode(&mut code);
    code.extend_from_slice(check);
    code.extend_from_slice(&wasm[at..whole.end]);
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Inserts checks into a module with `functions`, and returns the number of calls of the handler in each of them.
    fn checks(functions: &str) -> (Vec<usize>, StackLimitSummary) {
        let text = format!(
            r#"(module
                (memory 1)
                (global $__stack_pointer (mut i32) (i32.const 65536))
                (table 2 funcref)
                (elem (i32.const 0) $low $listed)
                (func $low)
                (func $limit (result i32) (i32.const 1024))
                (func $listed (param i32) (result i32) (local.get 0))
                {functions})"#
        );
        let wasm = wat::parse_str(text).unwrap();
        let (wasm, summary) = insert_stack_checks(&wasm, "low", "limit", &[]).unwrap();
        wasmparser::Validator::new().validate_all(&wasm).unwrap();
        let layout = CallingModule::read(&wasm, "low", "limit", &[]).unwrap();
        let calls = layout.bodies.iter().map(|body| {
            let operators = body.get_operators_reader().unwrap().into_iter();
            let handler = |operator| matches!(operator, Ok(Operator::Call { function_index: 0 }));
            operators
                .filter(|operator| handler(operator.clone()))
                .count()
        });
        (calls.skip(3).collect(), summary)
    }

    const FRAME_TAKEN: &str = "(local $frame i32)
        (global.set 0 (local.tee $frame (i32.sub (global.get 0) (i32.const 32))))";

    #[test]
    fn recursive_function_with_a_frame_checks_once() {
        let (found, _) = checks(&format!(
            "(func $leaf {FRAME_TAKEN} (global.set 0 (i32.add (local.get $frame) (i32.const 32))))
             (func $deep {FRAME_TAKEN} (call $leaf) (call $deep) (global.set 0 (i32.add (local.get $frame) (i32.const 32))))"
        ));
        assert_eq!(found, [0, 1]);
    }

    #[test]
    fn recursion_through_a_table_checks() {
        let (found, _) = checks(&format!(
            "(elem (i32.const 1) $deep)
             (func $deep (param i32) (result i32) {FRAME_TAKEN} (call_indirect (param i32) (result i32) (i32.const 0) (i32.const 1)))"
        ));
        assert_eq!(found, [1]);
    }

    #[test]
    fn call_through_a_table_without_a_frame_checks() {
        let (found, summary) = checks(
            "(elem (i32.const 1) $deep)
             (func $deep (param i32) (result i32) (drop (call $listed (i32.const 1)))
                (call_indirect (param i32) (result i32) (i32.const 0) (i32.const 1)))",
        );
        assert_eq!((found, summary.framed), (vec![1], 0));
    }

    #[test]
    fn exempt_function_does_not_check() {
        let text = format!(
            "(module (memory 1) (global $__stack_pointer (mut i32) (i32.const 65536)) (func $low) (func $limit (result i32) (i32.const 8)) (func $deep {FRAME_TAKEN} (call $deep)))"
        );
        let wasm = wat::parse_str(text).unwrap();
        let (_, summary) = insert_stack_checks(&wasm, "low", "limit", &["deep"]).unwrap();
        assert_eq!(summary.checking, 0);
        assert!(insert_stack_checks(&wasm, "low", "limit", &["other"]).is_err());
    }

    #[test]
    fn recursion_without_frames_gets_one() {
        let (found, summary) = checks(
            "(func $odd (param i32) (result i32)
                (if (result i32) (local.get 0) (then (call $even (i32.sub (local.get 0) (i32.const 1)))) (else (return (i32.const 0)))))
             (func $even (param i32) (result i32)
                (br_if 0 (i32.const 1) (i32.eqz (local.get 0)))
                (drop)
                (call $odd (i32.sub (local.get 0) (i32.const 1))))",
        );
        assert_eq!(found.iter().sum::<usize>(), 1);
        assert_eq!((summary.checking, summary.framed), (1, 1));
    }

    #[test]
    fn module_without_the_needed_names_is_rejected() {
        for (wat, reason) in [
            ("(module (func $low))", "__stack_pointer"),
            (
                "(module (global $__stack_pointer (mut i32) (i32.const 99999)))",
                "low not found",
            ),
            (
                "(module (global $__stack_pointer (mut i32) (i32.const 99999)) (func $low))",
                "limit not found",
            ),
            (
                "(module (memory 1) (global $__stack_pointer (mut i32) (i32.const 9)) (func $low)
                    (func $limit (result i32) (i32.load (i32.const 8))))",
                "must return the address",
            ),
            (
                "(module (global $__stack_pointer (mut i32) (i32.const 99999)) (func $low (param i32))
                    (func $limit (result i32) (i32.const 8)))",
                "neither parameters nor results",
            ),
        ] {
            let error = insert_stack_checks(&wat::parse_str(wat).unwrap(), "low", "limit", &[]);
            let error = error.unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
