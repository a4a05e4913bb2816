//! Globals that a shared library defines.
//!
//! A linker keeps the addresses of hidden variables and functions in globals, of which a large library has some hundred, and adds
//! a function that adds the base to each when the module starts. A dyno would have to be given each of them. Their values are
//! offsets from the module's bases, by which the bound module replaces them.

use std::collections::{BTreeMap, HashMap};

use wasmparser::{GlobalType, Operator};

use super::bind::BoundGlobal;
use super::error::ExtensionError;
use super::shared_module::{ImportedGlobal, SharedModule};
use super::{InitialGlobal, MEMORY_BASE, TABLE_BASE};

/// The globals of a module's own.
pub(super) struct OwnGlobals {
    /// The value or the place of each global.
    pub(super) places: Vec<BoundGlobal>,
    /// Types and initial values of those that stay globals.
    pub(super) kept: Vec<(GlobalType, InitialGlobal)>,
    /// Place among the module's functions of the one that does nothing but set globals that do not stay.
    pub(super) relocated_by: Option<usize>,
}

impl OwnGlobals {
    pub(super) fn new(module: &SharedModule<'_>) -> Result<Self, ExtensionError> {
        let written = written(module)?;
        let first = module.imported_globals.len() as u32;
        let relocation = Relocation::find(module)?.filter(|relocation| {
            let values = relocation.values.keys();
            let mut set_once =
                values.map(|global| *global >= first && written.get(global) == Some(&1));
            set_once.all(|is_set_once| is_set_once)
        });
        let mut own = Self {
            places: Vec::new(),
            kept: Vec::new(),
            relocated_by: relocation.as_ref().map(|relocation| relocation.function),
        };
        for (index, (kind, value)) in (first..).zip(&module.globals) {
            let relocated = relocation
                .as_ref()
                .and_then(|found| found.values.get(&index));
            let constant = match value {
                _ if written.contains_key(&index) => None,
                InitialGlobal::I32(value) => Some(BoundGlobal::Constant(*value)),
                InitialGlobal::Memory(offset) => Some(BoundGlobal::Offset(MEMORY_BASE, *offset)),
                InitialGlobal::Table(offset) => Some(BoundGlobal::Offset(TABLE_BASE, *offset)),
                _ => None,
            };
            own.places.push(match relocated.copied().or(constant) {
                Some(place) => place,
                None => {
                    own.kept.push((*kind, *value));
                    BoundGlobal::Global(TABLE_BASE + own.kept.len() as u32)
                }
            });
        }
        Ok(own)
    }
}

/// Returns how many instructions set each global.
fn written(module: &SharedModule<'_>) -> Result<HashMap<u32, u32>, ExtensionError> {
    let mut written = HashMap::new();
    for body in &module.bodies {
        for operator in body.get_operators_reader()? {
            if let Operator::GlobalSet { global_index } = operator? {
                *written.entry(global_index).or_default() += 1;
            }
        }
    }
    Ok(written)
}

/// The linker's function that adds the bases.
struct Relocation {
    /// Its place among the module's functions.
    function: usize,
    /// The values that it gives to globals.
    values: BTreeMap<u32, BoundGlobal>,
}

impl Relocation {
    /// Finds the function. It is the module's first code: the start function, or what that calls first.
    fn find(module: &SharedModule<'_>) -> Result<Option<Self>, ExtensionError> {
        let own = |function: u32| (function as usize).checked_sub(module.imports.len());
        let Some(start) = module.start.and_then(own) else {
            return Ok(None);
        };
        let operators = Self::operators(module, start)?;
        let function = match operators.first() {
            Some(Operator::Call { function_index }) => own(*function_index),
            _ => Some(start),
        };
        let Some(function) = function else {
            return Ok(None);
        };
        let operators = match function == start {
            true => operators,
            false => Self::operators(module, function)?,
        };
        let Some((Operator::End, steps)) = operators.split_last() else {
            return Ok(None);
        };
        let mut values = BTreeMap::new();
        for step in steps.chunks(4) {
            let [
                Operator::GlobalGet { global_index: base },
                Operator::I32Const { value },
                Operator::I32Add,
                Operator::GlobalSet { global_index },
            ] = step
            else {
                return Ok(None);
            };
            let base = match module.imported_globals.get(*base as usize) {
                Some(ImportedGlobal::MemoryBase) => MEMORY_BASE,
                Some(ImportedGlobal::TableBase) => TABLE_BASE,
                _ => return Ok(None),
            };
            values.insert(*global_index, BoundGlobal::Offset(base, *value));
        }
        Ok((!values.is_empty()).then_some(Self { function, values }))
    }

    fn operators<'a>(
        module: &SharedModule<'a>,
        function: usize,
    ) -> Result<Vec<Operator<'a>>, ExtensionError> {
        let Some(body) = module.bodies.get(function) else {
            return Ok(Vec::new());
        };
        let operators = body.get_operators_reader()?.into_iter();
        Ok(operators.collect::<Result<_, _>>()?)
    }
}
