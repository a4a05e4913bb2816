//! Analysis of the locals that are live at each operator.
//!
//! The analysis divides a function into basic blocks, and propagates sets of locals backwards through them until a
//! fixed point is reached.

use wasmparser::{Catch, Operator};

use super::error::SpillError;

/// A set of locals.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Locals(Vec<u64>);

impl Locals {
    pub(super) fn none(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    pub(super) fn add(&mut self, local: usize) {
        self.0[local / 64] |= 1 << (local % 64);
    }

    pub(super) fn remove(&mut self, local: usize) {
        self.0[local / 64] &= !(1 << (local % 64));
    }

    pub(super) fn has(&self, local: usize) -> bool {
        self.0[local / 64] & (1 << (local % 64)) != 0
    }

    /// Adds all locals of `other`, and tells whether the set has changed.
    pub(super) fn join(&mut self, other: &Self) -> bool {
        let mut new = 0;
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            new |= theirs & !*mine;
            *mine |= theirs;
        }
        new != 0
    }

    pub(super) fn keep(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine &= theirs;
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().flat_map(|(index, word)| {
            let mut word = *word;
            std::iter::from_fn(move || {
                (word != 0).then(|| {
                    let bit = word.trailing_zeros() as usize;
                    word &= word - 1;
                    index * 64 + bit
                })
            })
        })
    }
}

/// Control flow of a function.
pub(super) struct FlowGraph {
    /// Number of operators.
    count: usize,
    /// True if a branch or handler targets the function's own label.
    pub(super) leaves_by_branch: bool,
    /// First operator of each block, ascending. A block ends where the next one starts.
    starts: Vec<usize>,
    /// Successors of each block.
    next: Vec<Vec<usize>>,
    /// For each operator, the index in `handlers` of the list of blocks that may handle its exceptions.
    caught: Vec<u32>,
    /// Lists of blocks that handle exceptions; the first list is empty.
    handlers: Vec<Vec<usize>>,
    /// Number of loops around each block.
    depth: Vec<u8>,
    /// For each block, true if all paths from it end in a trap or a throw.
    fails: Vec<bool>,
}

struct OpenBlock {
    /// Operator to which a branch to the block's label jumps.
    label: usize,
    is_loop: bool,
    /// Index of the list of handlers outside of the block.
    outer: u32,
}

impl FlowGraph {
    pub(super) fn of(operators: &[(Operator<'_>, usize)]) -> Result<Self, SpillError> {
        let ends = matching(operators)?;
        let count = operators.len();
        let mut edges: Vec<(usize, usize)> = Vec::new();
        // Operators after which control does not just continue with the next one.
        let mut diverts = vec![false; count];
        let mut leaves_by_branch = false;
        let mut leader = vec![false; count + 1];
        let mut caught = vec![0; count];
        let mut depth = vec![0; count];
        let mut handlers: Vec<Vec<usize>> = vec![Vec::new()];
        let mut loops = 0_u8;
        let mut open: Vec<OpenBlock> = vec![OpenBlock {
            label: count - 1,
            is_loop: false,
            outer: 0,
        }];
        let mut current = 0;
        for (index, (operator, _)) in operators.iter().enumerate() {
            caught[index] = current;
            depth[index] = loops;
            let mut label = |relative: u32| {
                let position = open.len().saturating_sub(1 + relative as usize);
                leaves_by_branch |= position == 0;
                open[position].label
            };
            let mut jumps = Vec::new();
            let mut falls = true;
            match operator {
                Operator::Block { .. } => open.push(OpenBlock {
                    label: ends[index].1,
                    is_loop: false,
                    outer: current,
                }),
                Operator::Loop { .. } => {
                    leader[index + 1] = true;
                    loops = loops.saturating_add(1);
                    open.push(OpenBlock {
                        label: index + 1,
                        is_loop: true,
                        outer: current,
                    });
                }
                Operator::If { .. } => {
                    // A false condition jumps past the `else`, or to the end.
                    let (other, end) = ends[index];
                    jumps.push(if other == end { end } else { other + 1 });
                    open.push(OpenBlock {
                        label: end,
                        is_loop: false,
                        outer: current,
                    });
                }
                Operator::Else => {
                    jumps.push(ends[index].1);
                    falls = false;
                }
                Operator::TryTable { try_table } => {
                    let outer = current;
                    // Labels of catch clauses are relative to the enclosing block.
                    let mut list = handlers[current as usize].clone();
                    for clause in &try_table.catches {
                        let relative = match clause {
                            Catch::One { label, .. }
                            | Catch::OneRef { label, .. }
                            | Catch::All { label }
                            | Catch::AllRef { label } => *label,
                        };
                        let target = label(relative);
                        leader[target] = true;
                        list.push(target);
                    }
                    if !list.is_empty() {
                        handlers.push(list);
                        current = handlers.len() as u32 - 1;
                    }
                    open.push(OpenBlock {
                        label: ends[index].1,
                        is_loop: false,
                        outer,
                    });
                }
                Operator::End => {
                    if let Some(closed) = open.pop() {
                        current = closed.outer;
                        loops = loops.saturating_sub(u8::from(closed.is_loop));
                    }
                }
                Operator::Br { relative_depth } => {
                    jumps.push(label(*relative_depth));
                    falls = false;
                }
                Operator::BrIf { relative_depth }
                | Operator::BrOnNull { relative_depth }
                | Operator::BrOnNonNull { relative_depth } => jumps.push(label(*relative_depth)),
                Operator::BrTable { targets } => {
                    for target in targets.targets() {
                        jumps.push(label(target?));
                    }
                    jumps.push(label(targets.default()));
                    jumps.sort_unstable();
                    jumps.dedup();
                    falls = false;
                }
                Operator::Return
                | Operator::Unreachable
                | Operator::Throw { .. }
                | Operator::ThrowRef
                | Operator::ReturnCall { .. }
                | Operator::ReturnCallIndirect { .. }
                | Operator::ReturnCallRef { .. } => falls = false,
                _ => {}
            }
            if !jumps.is_empty() || !falls {
                diverts[index] = true;
                leader[index + 1] = true;
                if falls && index + 1 < count {
                    edges.push((index, index + 1));
                }
                for target in jumps {
                    leader[target] = true;
                    edges.push((index, target));
                }
            }
        }
        leader[0] = true;
        let starts: Vec<usize> = (0..count).filter(|index| leader[*index]).collect();
        let block_of = |operator: usize| starts.partition_point(|start| *start <= operator) - 1;
        let mut next = vec![Vec::new(); starts.len()];
        for (from, to) in &edges {
            next[block_of(*from)].push(block_of(*to));
        }
        for (block, start) in starts.iter().enumerate().skip(1) {
            // A label alone separates these blocks.
            if !diverts[start - 1] {
                next[block - 1].push(block);
            }
        }
        for list in &mut handlers {
            for target in list.iter_mut() {
                *target = block_of(*target);
            }
            list.sort_unstable();
            list.dedup();
        }
        let depth = starts.iter().map(|start| depth[*start]).collect();
        let mut fails = vec![false; starts.len()];
        for block in (0..starts.len()).rev() {
            let end = starts.get(block + 1).copied().unwrap_or(count);
            let next: &[usize] = &next[block];
            fails[block] = matches!(
                operators[end - 1].0,
                Operator::Unreachable | Operator::Throw { .. } | Operator::ThrowRef
            ) || (!next.is_empty() && next.iter().all(|next| fails[*next]));
        }
        Ok(Self {
            count,
            leaves_by_branch,
            starts,
            next,
            caught,
            handlers,
            depth,
            fails,
        })
    }

    /// Estimates from the control flow how often each block runs in a call of the function.
    ///
    /// The estimate assumes that both ways of a branch are equally likely, that loops run eight times, and that paths
    /// which end in a trap or a throw are rare.
    pub(super) fn frequencies(&self) -> Vec<f64> {
        const ROUNDS: f64 = 8.0;
        const RARE: f64 = 1e-3;
        let count = self.starts.len();
        let mut heads = vec![false; count];
        for (block, next) in self.next.iter().enumerate() {
            for target in next {
                heads[*target] |= *target <= block;
            }
        }
        let mut found = vec![0.0_f64; count];
        found[0] = 1.0;
        for block in 0..count {
            if heads[block] {
                found[block] *= ROUNDS;
            }
            // Only handlers of exceptions have no predecessors.
            found[block] = found[block].max(1e-6);
            let weight = |next: usize| if self.fails[next] { RARE } else { 1.0 };
            let total: f64 = self.next[block].iter().map(|next| weight(*next)).sum();
            for next in &self.next[block] {
                if *next > block {
                    let left = self.depth[block].saturating_sub(self.depth[*next]);
                    let share = weight(*next) / total / ROUNDS.powi(i32::from(left));
                    found[*next] += found[block] * share;
                }
            }
        }
        found
    }

    /// Returns the blocks that may handle an exception of this operator.
    pub(super) fn catching(&self, operator: usize) -> &[usize] {
        &self.handlers[self.caught[operator] as usize]
    }

    /// Computes the set of locals at the start of each block.
    ///
    /// `step` changes the set after an operator into the set before it. The sets of its handlers are added to the set after
    /// an operator that may throw.
    pub(super) fn backwards(
        &self,
        operators: &[(Operator<'_>, usize)],
        locals: usize,
        step: impl Fn(usize, &mut Locals),
    ) -> Vec<Locals> {
        let mut at = vec![Locals::none(locals); self.starts.len()];
        loop {
            let mut changed = false;
            for block in (0..self.starts.len()).rev() {
                let set = self.walk(block, operators, &at, locals, &step, |_, _| ());
                changed |= at[block].join(&set);
            }
            if !changed {
                return at;
            }
        }
    }

    /// Visits every operator with the set after it.
    ///
    /// `at` holds the sets that [`FlowGraph::backwards`] has computed with the same `step`.
    pub(super) fn visit(
        &self,
        operators: &[(Operator<'_>, usize)],
        at: &[Locals],
        locals: usize,
        step: impl Fn(usize, &mut Locals),
        mut see: impl FnMut(usize, usize, &Locals),
    ) {
        for block in 0..self.starts.len() {
            self.walk(block, operators, at, locals, &step, |index, set| {
                see(block, index, set);
            });
        }
    }

    /// Walks backwards through a block, and returns the set at its start.
    fn walk(
        &self,
        block: usize,
        operators: &[(Operator<'_>, usize)],
        at: &[Locals],
        locals: usize,
        step: impl Fn(usize, &mut Locals),
        mut see: impl FnMut(usize, &Locals),
    ) -> Locals {
        let mut set = Locals::none(locals);
        for next in &self.next[block] {
            set.join(&at[*next]);
        }
        let end = self.starts.get(block + 1).copied().unwrap_or(self.count);
        for index in (self.starts[block]..end).rev() {
            see(index, &set);
            if may_throw(&operators[index].0) {
                for handler in self.catching(index) {
                    set.join(&at[*handler]);
                }
            }
            step(index, &mut set);
        }
        set
    }
}

fn may_throw(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::Call { .. }
            | Operator::CallIndirect { .. }
            | Operator::CallRef { .. }
            | Operator::Throw { .. }
            | Operator::ThrowRef
    )
}

/// Finds the matching `else` and `end` of each operator that opens a block.
///
/// A block without `else` has its `end` twice, and so has each `else`.
fn matching(operators: &[(Operator<'_>, usize)]) -> Result<Vec<(usize, usize)>, SpillError> {
    let mut found = vec![(0, 0); operators.len()];
    let mut open: Vec<(usize, Option<usize>)> = Vec::new();
    for (index, (operator, _)) in operators.iter().enumerate() {
        match operator {
            Operator::Block { .. }
            | Operator::Loop { .. }
            | Operator::If { .. }
            | Operator::TryTable { .. } => open.push((index, None)),
            Operator::Else => {
                if let Some(last) = open.last_mut() {
                    last.1 = Some(index);
                }
            }
            Operator::End => {
                if let Some((start, other)) = open.pop() {
                    found[start] = (other.unwrap_or(index), index);
                    if let Some(other) = other {
                        found[other] = (index, index);
                    }
                } else if index + 1 != operators.len() {
                    return Err(SpillError::Unsupported("unbalanced blocks"));
                }
            }
            _ => {}
        }
    }
    Ok(found)
}
