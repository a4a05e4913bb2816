//! Rewriting of a single function, with the decision where to store each value.

use std::collections::HashMap;

use wasm_encoder::{BlockType, Encode, Instruction, MemArg};
use wasmparser::{FuncValidator, FunctionBody, Operator, ValType, ValidatorResources};

use super::call_graph::{CallEffect, Reachability};
use super::error::SpillError;
use super::liveness::{FlowGraph, Locals};
use super::module_info::ModuleInfo;
use super::pointers::{OperandTrace, PendingOperand, Pointers, set_by};
use crate::section::split_count;

/// Alignment of C's stack in bytes.
const ALIGNMENT: u32 = 16;

/// A function after the pass.
pub(super) struct Rewritten {
    /// Locals and code of the function.
    pub(super) body: Vec<u8>,
    pub(super) stores: usize,
}

/// Positions of stores in the function, as indices of its operators.
#[derive(Default)]
struct SpillPlan {
    /// Locals to be stored before an operator.
    before: HashMap<usize, Vec<usize>>,
    /// Local to be stored after the operator that sets it.
    after: HashMap<usize, usize>,
    /// Parameters to be stored at the start.
    at_start: Vec<usize>,
    /// Results to be stored after an operator, as values that stay on the operand stack.
    results: HashMap<usize, Vec<PendingOperand>>,
    /// True if a branch targets the function's own label. A block around the code makes such a branch pass the end of
    /// the function, where the frame is released.
    wrapped: bool,
}

/// Rewrites a function of the module `wasm`.
pub(super) fn rewrite(
    info: &ModuleInfo,
    reach: &Reachability,
    validator: &mut FuncValidator<ValidatorResources>,
    body: &FunctionBody<'_>,
    wasm: &[u8],
) -> Result<Rewritten, SpillError> {
    let mut locals: Vec<ValType> = Vec::new();
    let unknown = SpillError::Unsupported("an unknown type");
    let kind = info.function_type(validator.index()).ok_or(unknown)?;
    locals.extend_from_slice(kind.params());
    let parameters = locals.len();
    let mut reader = body.get_locals_reader()?;
    for _ in 0..reader.get_count() {
        let offset = reader.original_position();
        let (count, kind) = reader.read()?;
        validator.define_locals(offset, count, kind)?;
        locals.extend(std::iter::repeat_n(kind, count as usize));
    }
    let mut operators = Vec::new();
    let mut reader = body.get_operators_reader()?;
    let first = reader.original_position();
    while !reader.eof() {
        operators.push(reader.read_with_offset()?);
    }
    let whole = body.range();
    let unchanged = || Rewritten {
        body: wasm[whole.start..whole.end].to_vec(),
        stores: 0,
    };
    let effects: HashMap<usize, CallEffect> = operators
        .iter()
        .enumerate()
        .map(|(index, (operator, _))| (index, reach.effect(operator)))
        .filter(|(_, effect)| effect.collects)
        .collect();
    if effects.is_empty() {
        return Ok(unchanged());
    }
    let results = kind.results();
    // If the function catches exceptions, values on the operand stack may be used later even if a call does not return.
    let catches = operators.iter().any(
        |(operator, _)| matches!(operator, Operator::TryTable { try_table } if !try_table.catches.is_empty()),
    );
    let interesting = |index| {
        let effect = effects.get(&index);
        effect.is_some_and(|effect| effect.returns || catches)
    };
    let trace = OperandTrace::of(info, validator, &operators, interesting, results.len())?;
    let pointers = Pointers::of(info, &trace, &operators, parameters, locals.len());
    let plan = plan(&operators, &effects, &trace, &pointers, &locals, parameters)?;
    let mut writer = FunctionWriter::new(info, &locals);
    if plan.is_empty() {
        return Ok(unchanged());
    }
    writer.write(&plan, &trace, &operators, whole.end, results, wasm)?;
    Ok(Rewritten {
        body: writer.finish(&wasm[whole.start..first])?,
        stores: writer.stores,
    })
}

/// Decides which values to store, and where.
fn plan(
    operators: &[(Operator<'_>, usize)],
    effects: &HashMap<usize, CallEffect>,
    trace: &OperandTrace,
    pointers: &Pointers,
    locals: &[ValType],
    parameters: usize,
) -> Result<SpillPlan, SpillError> {
    let graph = FlowGraph::of(operators)?;
    let count = locals.len();
    let mut candidates = Locals::none(count);
    for (local, kind) in locals.iter().enumerate() {
        if holds(*kind) && pointers.local(local) {
            candidates.add(local);
        }
    }
    let live_step = |index: usize, set: &mut Locals| match &operators[index].0 {
        Operator::LocalGet { local_index } => set.add(*local_index as usize),
        operator => drop_set(operator, set),
    };
    let live = graph.backwards(operators, count, live_step);
    // Locals that are needed after each call.
    let mut needs: HashMap<usize, Locals> = HashMap::new();
    graph.visit(operators, &live, count, live_step, |_, index, set| {
        if let Some(effect) = effects.get(&index)
            && trace.reachable[index]
        {
            let mut need = if effect.returns {
                set.clone()
            } else {
                Locals::none(count)
            };
            for block in graph.catching(index) {
                need.join(&live[*block]);
            }
            need.keep(&candidates);
            needs.insert(index, need);
        }
    });
    // Locals whose current value a later call needs in the frame.
    let need_step = |index: usize, set: &mut Locals| match needs.get(&index) {
        Some(need) => drop(set.join(need)),
        None => drop_set(&operators[index].0, set),
    };
    let needed = graph.backwards(operators, count, need_step);
    // Compares the cost of storing a value once it is computed with that of storing it before each call that needs it.
    let frequencies = graph.frequencies();
    let mut made = vec![0.0; count];
    let mut called = vec![0.0; count];
    let mut makers: Vec<(usize, usize)> = Vec::new();
    graph.visit(operators, &needed, count, need_step, |block, index, set| {
        if let Some(local) = set_by(&operators[index].0)
            && candidates.has(local)
            && set.has(local)
            && trace.reachable[index]
        {
            made[local] += frequencies[block];
            makers.push((index, local));
        }
        for local in needs.get(&index).into_iter().flat_map(Locals::iter) {
            called[local] += frequencies[block];
        }
    });
    for (local, made) in made.iter_mut().enumerate().take(parameters) {
        if candidates.has(local) && needed[0].has(local) {
            *made += 1.0;
        }
    }
    let at_maker = |local: usize| made[local] <= called[local];
    let mut plan = SpillPlan {
        wrapped: graph.leaves_by_branch,
        ..SpillPlan::default()
    };
    for (index, need) in &needs {
        let stores: Vec<usize> = need.iter().filter(|local| !at_maker(*local)).collect();
        if !stores.is_empty() {
            plan.before.insert(*index, stores);
        }
    }
    plan.after = makers
        .into_iter()
        .filter(|(_, local)| at_maker(*local))
        .collect();
    plan.at_start = (0..parameters)
        .filter(|local| candidates.has(*local) && needed[0].has(*local) && at_maker(*local))
        .collect();
    let mut known = HashMap::new();
    for value in trace.waiting.values().flatten() {
        let stored = plan.results.entry(value.source.0).or_default();
        if holds(value.kind)
            && !stored.contains(value)
            && pointers.value(trace, operators, Some(value.source), &mut known)
        {
            stored.push(*value);
        }
    }
    plan.results.retain(|_, values| !values.is_empty());
    Ok(plan)
}

/// Removes the local that an operator sets from a set.
fn drop_set(operator: &Operator<'_>, set: &mut Locals) {
    if let Some(local) = set_by(operator) {
        set.remove(local);
    }
}

impl SpillPlan {
    fn is_empty(&self) -> bool {
        self.before.is_empty()
            && self.after.is_empty()
            && self.at_start.is_empty()
            && self.results.is_empty()
    }
}

/// Tells whether a value of this type can hold a pointer.
fn holds(kind: ValType) -> bool {
    matches!(kind, ValType::I32 | ValType::I64 | ValType::V128)
}

fn size(kind: ValType) -> u32 {
    match kind {
        ValType::I32 => 4,
        ValType::I64 => 8,
        _ => 16,
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum SlotKey {
    Local(usize),
    /// Value at a height of the operand stack, with its size.
    Operand(usize, u32),
}

struct FunctionWriter {
    stack_pointer: u32,
    kinds: Vec<ValType>,
    /// Types of the added locals, in order.
    added: Vec<ValType>,
    /// Added locals that hold operands, by height and type.
    operands: HashMap<(usize, ValType), u32>,
    frame: u32,
    slots: HashMap<SlotKey, u32>,
    size: u32,
    code: Vec<u8>,
    stores: usize,
}

impl FunctionWriter {
    fn new(info: &ModuleInfo, locals: &[ValType]) -> Self {
        Self {
            stack_pointer: info.stack_pointer,
            kinds: locals.to_vec(),
            added: vec![ValType::I32],
            operands: HashMap::new(),
            frame: locals.len() as u32,
            slots: HashMap::new(),
            size: 0,
            code: Vec::new(),
            stores: 0,
        }
    }

    fn write(
        &mut self,
        plan: &SpillPlan,
        trace: &OperandTrace,
        operators: &[(Operator<'_>, usize)],
        end: usize,
        results: &[ValType],
        wasm: &[u8],
    ) -> Result<(), SpillError> {
        // Larger slots come first, so that all slots are aligned.
        let mut keys: Vec<(SlotKey, u32)> = Vec::new();
        let stored = plan.before.values().flatten().chain(plan.after.values());
        for local in stored.chain(&plan.at_start) {
            keys.push((SlotKey::Local(*local), size(self.kinds[*local])));
        }
        for value in plan.results.values().flatten() {
            let size = size(value.kind);
            keys.push((SlotKey::Operand(value.height, size), size));
        }
        keys.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        keys.dedup();
        for (key, size) in keys {
            self.slots.insert(key, self.size);
            self.size += size;
        }
        self.size = self.size.next_multiple_of(ALIGNMENT);

        self.emit(&Instruction::GlobalGet(self.stack_pointer));
        self.emit(&Instruction::I32Const(self.size as i32));
        self.emit(&Instruction::I32Sub);
        self.emit(&Instruction::LocalTee(self.frame));
        self.emit(&Instruction::GlobalSet(self.stack_pointer));
        for local in &plan.at_start {
            self.store_local(*local);
        }
        if plan.wrapped {
            let kind = match results {
                [] => BlockType::Empty,
                [one] => BlockType::Result(encoded(*one)?),
                _ => return Err(SpillError::Unsupported("a branch with several results")),
            };
            self.emit(&Instruction::Block(kind));
        }
        for (index, (operator, offset)) in operators.iter().enumerate() {
            let next = operators.get(index + 1).map_or(end, |(_, offset)| *offset);
            let last = index + 1 == operators.len();
            for local in plan.before.get(&index).into_iter().flatten() {
                self.store_local(*local);
            }
            match operator {
                Operator::Return
                | Operator::ReturnCall { .. }
                | Operator::ReturnCallIndirect { .. }
                | Operator::ReturnCallRef { .. } => self.leave(),
                Operator::End if last => {
                    if plan.wrapped {
                        self.emit(&Instruction::End);
                    }
                    self.leave();
                }
                _ => {}
            }
            self.code.extend_from_slice(&wasm[*offset..next]);
            if let Some(local) = plan.after.get(&index) {
                self.store_local(*local);
            }
            if let Some(values) = plan.results.get(&index) {
                self.store_results(values, &trace.results[&index])?;
            }
        }
        Ok(())
    }

    fn emit(&mut self, instruction: &Instruction<'_>) {
        instruction.encode(&mut self.code);
    }

    fn leave(&mut self) {
        self.emit(&Instruction::LocalGet(self.frame));
        self.emit(&Instruction::I32Const(self.size as i32));
        self.emit(&Instruction::I32Add);
        self.emit(&Instruction::GlobalSet(self.stack_pointer));
    }

    fn store_local(&mut self, local: usize) {
        let kind = self.kinds[local];
        self.store(local as u32, kind, SlotKey::Local(local));
    }

    fn store(&mut self, local: u32, kind: ValType, place: SlotKey) {
        self.stores += 1;
        let at = |align| MemArg {
            offset: u64::from(self.slots[&place]),
            align,
            memory_index: 0,
        };
        let store = match kind {
            ValType::I32 => Instruction::I32Store(at(2)),
            ValType::I64 => Instruction::I64Store(at(3)),
            _ => Instruction::V128Store(at(4)),
        };
        self.emit(&Instruction::LocalGet(self.frame));
        self.emit(&Instruction::LocalGet(local));
        self.emit(&store);
    }

    /// Stores the results of the last operator, and restores them on the operand stack.
    fn store_results(
        &mut self,
        values: &[PendingOperand],
        (height, kinds): &(usize, Vec<ValType>),
    ) -> Result<(), SpillError> {
        let mut held = Vec::new();
        for (place, kind) in kinds.iter().enumerate() {
            held.push(self.operand(height + place, *kind));
        }
        for local in held.iter().rev() {
            self.emit(&Instruction::LocalSet(*local));
        }
        for value in values {
            let local = held[value.source.1];
            let place = SlotKey::Operand(value.height, size(value.kind));
            self.store(local, value.kind, place);
        }
        for local in held {
            self.emit(&Instruction::LocalGet(local));
        }
        Ok(())
    }

    /// Returns the local for the operand at a height; two such operands are never needed at once.
    fn operand(&mut self, height: usize, kind: ValType) -> u32 {
        let next = (self.kinds.len() + self.added.len()) as u32;
        let added = &mut self.added;
        *self.operands.entry((height, kind)).or_insert_with(|| {
            added.push(kind);
            next
        })
    }

    /// Assembles the function's body from the existing declaration of locals, the added locals, and the new code.
    fn finish(&self, declared: &[u8]) -> Result<Vec<u8>, SpillError> {
        let (groups, rest) = split_count(declared)?;
        let mut body = Vec::new();
        (groups + self.added.len() as u32).encode(&mut body);
        body.extend_from_slice(rest);
        for kind in &self.added {
            1_u32.encode(&mut body);
            encoded(*kind)?.encode(&mut body);
        }
        body.extend_from_slice(&self.code);
        Ok(body)
    }
}

fn encoded(kind: ValType) -> Result<wasm_encoder::ValType, SpillError> {
    use wasm_encoder::ValType as To;
    Ok(match kind {
        ValType::I32 => To::I32,
        ValType::I64 => To::I64,
        ValType::F32 => To::F32,
        ValType::F64 => To::F64,
        ValType::V128 => To::V128,
        ValType::Ref(kind) if kind == wasmparser::RefType::EXNREF => {
            To::Ref(wasm_encoder::RefType::EXNREF)
        }
        ValType::Ref(_) => return Err(SpillError::Unsupported("references on the operand stack")),
    })
}
