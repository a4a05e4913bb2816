//! Analysis of the calls from which the collector can be reached.

use std::collections::HashMap;

use wasmparser::{FunctionBody, Operator};

use super::IndirectCalls;
use super::error::SpillError;
use super::module_info::ModuleInfo;

/// Effect of a call with regard to the collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct CallEffect {
    /// A collection may happen, after which the call returns.
    pub(super) returns: bool,
    /// A collection may happen, after which the call returns, throws or traps.
    pub(super) collects: bool,
}

/// Effects of all calls in a module.
pub(super) struct Reachability {
    direct: Vec<CallEffect>,
    /// Effects of indirect calls, by the callee's type.
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
    /// True if the calling function catches an exception of the callee.
    caught: bool,
    /// True if the call is known not to return.
    ends: bool,
}

impl Reachability {
    pub(super) fn of<'a>(
        info: &ModuleInfo,
        bodies: impl Iterator<Item = &'a FunctionBody<'a>>,
        callees: IndirectCalls,
    ) -> Result<Self, SpillError> {
        let mut address_taken = info.address_taken.clone();
        let mut sites = vec![Vec::new(); info.imported as usize];
        for body in bodies {
            sites.push(self::sites(body, &mut address_taken)?);
        }
        // Structurally equal types form one class.
        let mut classes = HashMap::new();
        let class: Vec<usize> = info
            .types
            .iter()
            .enumerate()
            .map(|(index, kind)| *classes.entry(kind).or_insert(index))
            .collect();
        let class_of = |kind: u32| class.get(kind as usize).copied().unwrap_or_default();
        address_taken.sort_unstable();
        address_taken.dedup();
        let mut direct = vec![CallEffect::default(); info.functions.len()];
        let all = CallEffect {
            returns: true,
            collects: true,
        };
        for collector in &info.collectors {
            direct[*collector as usize] = all;
        }
        let through_table = match callees {
            IndirectCalls::Within => CallEffect::default(),
            IndirectCalls::Anywhere => all,
        };
        let mut indirect = vec![through_table; info.types.len()];
        loop {
            let mut changed = false;
            for function in &address_taken {
                let kind = info.functions.get(*function as usize).copied();
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

    /// Returns the effect of a call, and no effect for any other operator.
    pub(super) fn effect(&self, operator: &Operator<'_>) -> CallEffect {
        match callee(operator) {
            Some(Callee::Function(function)) => self.direct.get(function as usize).copied(),
            Some(Callee::Type(kind)) => self.indirect.get(kind as usize).copied(),
            None => None,
        }
        .unwrap_or_default()
    }

    /// Returns for each function whether a collection may happen during a call.
    pub(super) fn collects(&self) -> Vec<bool> {
        self.direct.iter().map(|effect| effect.collects).collect()
    }

    /// Counts the functions in which a collection may happen and which may return after it.
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

/// Returns the calls of a function, and adds the functions whose address it takes to `address_taken`.
fn sites(
    body: &FunctionBody<'_>,
    address_taken: &mut Vec<u32>,
) -> Result<Vec<CallSite>, SpillError> {
    let mut found: Vec<CallSite> = Vec::new();
    // For each open block, true if it catches exceptions.
    let mut blocks = Vec::new();
    let mut catching = 0_usize;
    // True if only drops followed the last call, so that an `unreachable` marks it as not returning.
    let mut after_call = false;
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
            Operator::RefFunc { function_index } => address_taken.push(*function_index),
            Operator::Unreachable if after_call => {
                if let Some(site) = found.last_mut() {
                    site.ends = true;
                }
            }
            Operator::Try { .. } | Operator::Catch { .. } | Operator::Delegate { .. } => {
                return Err(SpillError::Unsupported("the legacy encoding of exceptions"));
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
                after_call = true;
            }
            None => after_call &= matches!(operator, Operator::Drop),
        }
    }
    Ok(found)
}
