//! From which calls the collector can be reached.

use std::collections::HashMap;

use wasmparser::{FunctionBody, Operator};

use super::error::SpillError;
use super::module_info::ModuleInfo;

/// What a call may do as far as the collector is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct CallEffect {
    /// A collection may happen, and the call return after it.
    pub(super) returns: bool,
    /// A collection may happen, however the call ends: it may throw instead of returning.
    pub(super) collects: bool,
}

/// The effect of calling each function.
pub(super) struct Reachability {
    direct: Vec<CallEffect>,
    /// By type: of calling some function of the type that the module does not name.
    indirect: Vec<CallEffect>,
}

#[derive(Clone, Copy)]
enum Callee {
    Function(u32),
    Type(u32),
}

#[derive(Clone, Copy)]
struct CallSite {
    callee: Callee,
    /// Whether an exception that leaves the call is caught in the same function.
    caught: bool,
    /// Whether the call is known not to return.
    ends: bool,
}

impl Reachability {
    pub(super) fn of<'a>(
        facts: &ModuleInfo,
        bodies: impl Iterator<Item = &'a FunctionBody<'a>>,
    ) -> Result<Self, SpillError> {
        let mut taken = facts.taken.clone();
        let mut sites = vec![Vec::new(); facts.imported as usize];
        for body in bodies {
            sites.push(self::sites(body, &mut taken)?);
        }
        // One class for all types that are written alike.
        let mut classes = HashMap::new();
        let class: Vec<usize> = facts
            .types
            .iter()
            .enumerate()
            .map(|(index, kind)| *classes.entry(kind).or_insert(index))
            .collect();
        let class_of = |kind: u32| class.get(kind as usize).copied().unwrap_or_default();
        taken.sort_unstable();
        taken.dedup();
        let mut direct = vec![CallEffect::default(); facts.functions.len()];
        let all = CallEffect {
            returns: true,
            collects: true,
        };
        for collector in &facts.collectors {
            direct[*collector as usize] = all;
        }
        let mut indirect = vec![CallEffect::default(); facts.types.len()];
        loop {
            let mut changed = false;
            for function in &taken {
                let kind = facts.functions.get(*function as usize).copied();
                let known = &mut indirect[class_of(kind.unwrap_or_default())];
                changed |= known.join(direct[*function as usize]);
            }
            for function in 0..sites.len() {
                if direct[function] == all {
                    continue;
                }
                let mut effect = direct[function];
                for site in &sites[function] {
                    let callee = match site.callee {
                        Callee::Function(callee) => direct[callee as usize],
                        Callee::Type(kind) => indirect[class_of(kind)],
                    };
                    effect.collects |= callee.collects;
                    effect.returns |=
                        (callee.returns && !site.ends) || (callee.collects && site.caught);
                }
                changed |= direct[function].join(effect);
            }
            if !changed {
                break;
            }
        }
        let indirect = class.iter().map(|class| indirect[*class]).collect();
        Ok(Self { direct, indirect })
    }

    /// Of a call instruction; none for any other.
    pub(super) fn effect(&self, operator: &Operator<'_>) -> CallEffect {
        match callee(operator) {
            Some(Callee::Function(function)) => self.direct.get(function as usize).copied(),
            Some(Callee::Type(kind)) => self.indirect.get(kind as usize).copied(),
            None => None,
        }
        .unwrap_or_default()
    }

    /// How many functions may collect and return.
    pub(super) fn returning(&self) -> usize {
        self.direct.iter().filter(|effect| effect.returns).count()
    }
}

impl CallEffect {
    fn join(&mut self, other: Self) -> bool {
        let before = *self;
        self.returns |= other.returns;
        self.collects |= other.collects;
        *self != before
    }
}

fn callee(operator: &Operator<'_>) -> Option<Callee> {
    match operator {
        Operator::Call { function_index } | Operator::ReturnCall { function_index } => {
            Some(Callee::Function(*function_index))
        }
        Operator::CallIndirect { type_index, .. }
        | Operator::ReturnCallIndirect { type_index, .. }
        | Operator::CallRef { type_index }
        | Operator::ReturnCallRef { type_index } => Some(Callee::Type(*type_index)),
        _ => None,
    }
}

/// The calls of a function; functions whose address it takes are added to `taken`.
fn sites(body: &FunctionBody<'_>, taken: &mut Vec<u32>) -> Result<Vec<CallSite>, SpillError> {
    let mut found: Vec<CallSite> = Vec::new();
    // Of each open block: whether it catches.
    let mut blocks = Vec::new();
    let mut catching = 0_usize;
    // The last site, if nothing but a drop came after it.
    let mut fresh = false;
    for operator in body.get_operators_reader()? {
        let operator = operator?;
        match &operator {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => {
                blocks.push(false);
            }
            Operator::TryTable { try_table } => {
                blocks.push(!try_table.catches.is_empty());
                catching += usize::from(!try_table.catches.is_empty());
            }
            Operator::End => catching -= usize::from(blocks.pop() == Some(true)),
            Operator::RefFunc { function_index } => taken.push(*function_index),
            Operator::Unreachable if fresh => {
                if let Some(site) = found.last_mut() {
                    site.ends = true;
                }
            }
            Operator::Try { .. } | Operator::Catch { .. } | Operator::Delegate { .. } => {
                return Err(SpillError::Unsupported("the old encoding of exceptions"));
            }
            _ => {}
        }
        match callee(&operator) {
            Some(callee) => {
                found.push(CallSite {
                    callee,
                    caught: catching > 0,
                    ends: false,
                });
                fresh = true;
            }
            None => fresh &= matches!(operator, Operator::Drop),
        }
    }
    Ok(found)
}
