//! Analyses of the origin of values on the operand stack, and of the values that may be pointers to objects.

use std::collections::HashMap;

use wasmparser::{FuncValidator, Operator, TryTable, ValType, ValidatorResources};

use super::error::SpillError;
use super::module_info::ModuleInfo;

/// Origin of a value: the operator that computed it and the index of the result, or `None` in unreachable code.
pub(super) type ValueSource = Option<(usize, usize)>;

/// A value that stays on the operand stack during a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PendingOperand {
    pub(super) source: (usize, usize),
    /// Position from the bottom of the operand stack.
    pub(super) height: usize,
    pub(super) kind: ValType,
}

/// Data flow of a function's operand stack.
pub(super) struct OperandTrace {
    /// Origins of the last three operands of each operator; the top of the stack is last.
    inputs: Vec<[ValueSource; 3]>,
    /// Values below the arguments of interesting calls, by the call's index.
    pub(super) waiting: HashMap<usize, Vec<PendingOperand>>,
    /// Height of the first result and types of all results, for operators with a result in `waiting`.
    pub(super) results: HashMap<usize, (usize, Vec<ValType>)>,
    pub(super) reachable: Vec<bool>,
}

struct TracedBlock {
    /// Number of values below the block.
    base: usize,
    parameters: usize,
    results: usize,
    /// True if the block is in unreachable code.
    dead: bool,
}

impl OperandTrace {
    /// Traces the operand stack of a valid function.
    ///
    /// `interesting` selects the calls during which values on the operand stack must be known.
    pub(super) fn of(
        info: &ModuleInfo,
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
            // The arity depends on the validator's blocks, which the operator may change.
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
                    let (parameters, results) = info.block_arity(*kind);
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
                        "an operand stack of unexpected height",
                    ));
                }
                kinds.truncate(height.min(kinds.len()));
                // Results may have other types than earlier values at the same height.
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

    /// Returns the origin of the value that a `local.set` or `local.tee` stores.
    fn assigned(&self, operator: usize) -> ValueSource {
        self.inputs[operator][2]
    }
}

/// Returns the local that an operator sets.
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

/// Values that may be pointers to objects of the collector.
pub(super) struct Pointers {
    locals: Vec<bool>,
    stack_pointer: u32,
}

impl Pointers {
    /// Finds the locals that may hold a pointer: parameters, and locals to which a possible pointer is assigned.
    pub(super) fn of(
        info: &ModuleInfo,
        trace: &OperandTrace,
        operators: &[(Operator<'_>, usize)],
        parameters: usize,
        locals: usize,
    ) -> Self {
        let mut found = Self {
            locals: (0..locals).map(|local| local < parameters).collect(),
            stack_pointer: info.stack_pointer,
        };
        loop {
            let mut changed = false;
            let mut known = HashMap::new();
            for (index, (operator, _)) in operators.iter().enumerate() {
                if let Some(local) = set_by(operator)
                    && !found.locals[local]
                    && trace.reachable[index]
                    && found.value(trace, operators, trace.assigned(index), &mut known)
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

    /// Tells whether a value may be a pointer.
    ///
    /// Pointers come from memory and from calls; arithmetic yields a pointer only if an operand is one. A constant is
    /// not a pointer, since the linker places nothing where objects lie.
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
