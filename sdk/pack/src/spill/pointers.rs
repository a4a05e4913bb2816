//! Where each value on the operand stack comes from, and which values cannot be pointers to objects.

use std::collections::HashMap;

use wasmparser::{FuncValidator, Operator, TryTable, ValType, ValidatorResources};

use super::error::SpillError;
use super::module_info::ModuleInfo;

/// A value by the operator that made it, and which of that operator's results it is. None where no code runs.
pub(super) type ValueSource = Option<(usize, usize)>;

/// A value on the operand stack that waits while a call runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PendingOperand {
    pub(super) source: (usize, usize),
    /// Its place from the bottom of the operand stack.
    pub(super) height: usize,
    pub(super) kind: ValType,
}

/// What a first walk over a function finds.
pub(super) struct OperandTrace {
    /// Of each operator: where its last three operands come from, the last one last.
    inputs: Vec<[ValueSource; 3]>,
    /// The values that wait beneath the arguments of calls of interest.
    pub(super) waiting: HashMap<usize, Vec<PendingOperand>>,
    /// Of each operator: the types of its results, where one of them waits later; the height of the first.
    pub(super) results: HashMap<usize, (usize, Vec<ValType>)>,
    pub(super) reachable: Vec<bool>,
}

struct TracedBlock {
    /// Values beneath it.
    base: usize,
    parameters: usize,
    results: usize,
    /// Whether it stands in code that cannot run.
    dead: bool,
}

impl OperandTrace {
    /// Walks over a valid function; `interesting` tells which operators are calls whose waiting values matter.
    pub(super) fn of(
        facts: &ModuleInfo,
        validator: &mut FuncValidator<ValidatorResources>,
        operators: &[(Operator<'_>, usize)],
        interesting: impl Fn(usize) -> bool,
        function_results: usize,
    ) -> Result<Self, SpillError> {
        let mut inputs = Vec::with_capacity(operators.len());
        let mut waiting: HashMap<usize, Vec<PendingOperand>> = HashMap::new();
        let mut reachable = Vec::with_capacity(operators.len());
        let mut stack: Vec<ValueSource> = Vec::new();
        let mut kinds: Vec<ValType> = Vec::new();
        let mut blocks = vec![TracedBlock {
            base: 0,
            parameters: 0,
            results: function_results,
            dead: false,
        }];
        let mut results: HashMap<usize, (usize, Vec<ValType>)> = HashMap::new();
        for (index, (operator, offset)) in operators.iter().enumerate() {
            let dead = |validator: &FuncValidator<ValidatorResources>| {
                validator
                    .get_control_frame(0)
                    .is_none_or(|frame| frame.unreachable)
            };
            let was_dead = dead(validator);
            // Arity must be asked for before the operator changes the validator's blocks.
            let arity = if is_control(operator) || was_dead {
                None
            } else {
                operator.operator_arity(validator)
            };
            let mut operands = [None; 3];
            if !was_dead {
                for (place, source) in operands.iter_mut().rev().zip(stack.iter().rev()) {
                    *place = *source;
                }
            }
            if !was_dead
                && interesting(index)
                && let Some((taken, _)) = arity
            {
                let beneath = stack.len().saturating_sub(taken as usize);
                let values = stack[..beneath].iter().zip(&kinds).enumerate();
                let values = values.filter_map(|(height, (source, kind))| {
                    Some(PendingOperand {
                        source: (*source)?,
                        height,
                        kind: *kind,
                    })
                });
                let values: Vec<PendingOperand> = values.collect();
                if !values.is_empty() {
                    waiting.insert(index, values);
                }
            }
            validator.op(*offset, operator)?;
            match operator {
                Operator::Block { blockty: kind }
                | Operator::Loop { blockty: kind }
                | Operator::If { blockty: kind }
                | Operator::TryTable {
                    try_table: TryTable { ty: kind, .. },
                } => {
                    let (parameters, results) = facts.block_arity(*kind);
                    let condition = usize::from(matches!(operator, Operator::If { .. }));
                    let base = stack.len().saturating_sub(parameters + condition);
                    blocks.push(TracedBlock {
                        base,
                        parameters,
                        results,
                        dead: was_dead,
                    });
                    if !was_dead {
                        stack.truncate(base);
                        stack.extend((0..parameters).map(|result| Some((index, result))));
                    }
                }
                Operator::Else => {
                    if let Some(block) = blocks.last()
                        && !block.dead
                    {
                        stack.truncate(block.base);
                        stack.extend((0..block.parameters).map(|result| Some((index, result))));
                    }
                }
                Operator::End => {
                    if let Some(block) = blocks.pop()
                        && !block.dead
                    {
                        stack.truncate(block.base);
                        stack.extend((0..block.results).map(|result| Some((index, result))));
                    }
                }
                _ => {
                    if let Some((taken, given)) = arity {
                        stack.truncate(stack.len().saturating_sub(taken as usize));
                        stack.extend((0..given as usize).map(|result| Some((index, result))));
                    }
                }
            }
            let height = validator.operand_stack_height() as usize;
            if !blocks.is_empty() && !dead(validator) {
                if height != stack.len() {
                    return Err(SpillError::Unsupported(
                        "an operand stack of another height",
                    ));
                }
                kinds.truncate(height.min(kinds.len()));
                // Results may have other types than what lay there before.
                let made = stack
                    .iter()
                    .position(|source| source.is_some_and(|(maker, _)| maker == index))
                    .unwrap_or(height);
                kinds.truncate(made);
                for place in kinds.len()..height {
                    let kind = validator.get_operand_type(height - 1 - place).flatten();
                    kinds.push(kind.unwrap_or(ValType::I32));
                }
                if made < height {
                    results.insert(index, (made, kinds[made..].to_vec()));
                }
            }
            inputs.push(operands);
            reachable.push(!was_dead);
        }
        let wanted: std::collections::HashSet<usize> = waiting
            .values()
            .flatten()
            .map(|value| value.source.0)
            .collect();
        results.retain(|index, _| wanted.contains(index));
        Ok(Self {
            inputs,
            waiting,
            results,
            reachable,
        })
    }

    /// Where the value that a `local.set` or `local.tee` stores comes from.
    fn stored(&self, operator: usize) -> ValueSource {
        self.inputs[operator][2]
    }
}

/// The local that an operator sets.
pub(super) fn set_by(operator: &Operator<'_>) -> Option<usize> {
    match operator {
        Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
            Some(*local_index as usize)
        }
        _ => None,
    }
}

fn is_control(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::Block { .. }
            | Operator::Loop { .. }
            | Operator::If { .. }
            | Operator::Else
            | Operator::End
            | Operator::TryTable { .. }
    )
}

/// Which values may be pointers to objects of the collector.
pub(super) struct Pointers {
    locals: Vec<bool>,
    stack_pointer: u32,
}

impl Pointers {
    /// Finds the locals that may hold a pointer: parameters, and all that something is stored in which may be one.
    pub(super) fn of(
        facts: &ModuleInfo,
        trace: &OperandTrace,
        operators: &[(Operator<'_>, usize)],
        parameters: usize,
        locals: usize,
    ) -> Self {
        let mut found = Self {
            locals: (0..locals).map(|local| local < parameters).collect(),
            stack_pointer: facts.stack_pointer,
        };
        loop {
            let mut changed = false;
            let mut known = HashMap::new();
            for (index, (operator, _)) in operators.iter().enumerate() {
                if let Some(local) = set_by(operator)
                    && !found.locals[local]
                    && trace.reachable[index]
                    && found.value(trace, operators, trace.stored(index), &mut known)
                {
                    found.locals[local] = true;
                    changed = true;
                }
            }
            if !changed {
                return found;
            }
        }
    }

    pub(super) fn local(&self, local: usize) -> bool {
        self.locals[local]
    }

    /// Whether a value may be a pointer. Pointers come from memory and from calls; arithmetic makes none that was not
    /// among its operands. A constant is none, since objects lie where the linker puts nothing.
    pub(super) fn value(
        &self,
        trace: &OperandTrace,
        operators: &[(Operator<'_>, usize)],
        source: ValueSource,
        known: &mut HashMap<usize, bool>,
    ) -> bool {
        let Some((index, _)) = source else {
            return true;
        };
        if let Some(known) = known.get(&index) {
            return *known;
        }
        let [first, second, third] = trace.inputs[index];
        let mut of = |source| self.value(trace, operators, source, known);
        use Operator as O;
        let small = |source: ValueSource| {
            matches!(source.map(|(index, _)| &operators[index].0),
                Some(O::I32Const { value }) if (0..1 << 16).contains(value))
        };
        let answer = match &operators[index].0 {
            O::LocalGet { local_index } => self.locals[*local_index as usize],
            O::LocalTee { .. } => of(third),
            O::GlobalGet { global_index } => *global_index != self.stack_pointer,
            O::I32And if small(second) || small(third) => false,
            O::I32Add
            | O::I32Sub
            | O::I32And
            | O::I32Or
            | O::I32Xor
            | O::I64Add
            | O::I64Sub
            | O::I64And
            | O::I64Or
            | O::I64Xor => of(second) || of(third),
            O::I32Shl | O::I32ShrS | O::I32ShrU | O::I64Shl | O::I64ShrS | O::I64ShrU => of(second),
            O::I32WrapI64 | O::I64ExtendI32U | O::I64ExtendI32S => of(third),
            O::Select | O::TypedSelect { .. } => of(first) || of(second),
            O::I32Const { .. }
            | O::I64Const { .. }
            | O::I32Load8S { .. }
            | O::I32Load8U { .. }
            | O::I32Load16S { .. }
            | O::I32Load16U { .. }
            | O::I64Load8S { .. }
            | O::I64Load8U { .. }
            | O::I64Load16S { .. }
            | O::I64Load16U { .. }
            | O::I32Eqz
            | O::I32Eq
            | O::I32Ne
            | O::I32LtS
            | O::I32LtU
            | O::I32GtS
            | O::I32GtU
            | O::I32LeS
            | O::I32LeU
            | O::I32GeS
            | O::I32GeU
            | O::I64Eqz
            | O::I64Eq
            | O::I64Ne
            | O::I64LtS
            | O::I64LtU
            | O::I64GtS
            | O::I64GtU
            | O::I64LeS
            | O::I64LeU
            | O::I64GeS
            | O::I64GeU
            | O::F32Eq
            | O::F32Ne
            | O::F32Lt
            | O::F32Gt
            | O::F32Le
            | O::F32Ge
            | O::F64Eq
            | O::F64Ne
            | O::F64Lt
            | O::F64Gt
            | O::F64Le
            | O::F64Ge
            | O::I32Clz
            | O::I32Ctz
            | O::I32Popcnt
            | O::I32Mul
            | O::I32DivS
            | O::I32DivU
            | O::I32RemS
            | O::I32RemU
            | O::I64Clz
            | O::I64Ctz
            | O::I64Popcnt
            | O::I64Mul
            | O::I64DivS
            | O::I64DivU
            | O::I64RemS
            | O::I64RemU
            | O::I32Extend8S
            | O::I32Extend16S
            | O::I32TruncF64S
            | O::I32TruncF64U
            | O::I32TruncSatF64S
            | O::I32TruncSatF64U
            | O::I64TruncF64S
            | O::I64TruncF64U
            | O::I64TruncSatF64S
            | O::I64TruncSatF64U
            | O::I64ReinterpretF64
            | O::MemorySize { .. }
            | O::MemoryGrow { .. } => false,
            _ => true,
        };
        known.insert(index, answer);
        answer
    }
}
