//! Failures to prepare an extension.

use crate::preemption::PreemptionError;
use crate::spill::SpillError;
use crate::split::SplitError;
use crate::stack_limit::StackLimitError;

/// Most names that an error lists.
const LISTED: usize = 20;

/// Failure to prepare an extension for a pack.
#[derive(Debug, thiserror::Error)]
pub enum ExtensionError {
    /// The module is not valid WebAssembly, or uses a feature that guests may not use.
    #[error("invalid module: {0}")]
    Parse(#[from] wasmparser::BinaryReaderError),
    /// The module is a program, or was linked for something else.
    #[error("it is not a shared library for WebAssembly: {0}")]
    NotShared(&'static str),
    /// The module uses a feature that an extension cannot have.
    #[error("an extension cannot have {0}")]
    Unsupported(&'static str),
    /// The module asks for more than a dyno has.
    #[error("it asks for more than {1} {0}")]
    TooLarge(&'static str, usize),
    /// The module says one thing about itself and contains another.
    #[error("it contradicts itself: {0}")]
    Inconsistent(&'static str),
    /// The pack does not export what the module imports.
    #[error("it uses functions or variables that the runtime does not have: {}", listed(.0))]
    Missing(Vec<String>),
    /// The module imports a function of the pack with another type.
    #[error(
        "it calls {name} as {found}, but its type is {expected}: a declaration of it is missing or wrong"
    )]
    Signature {
        /// The function.
        name: String,
        /// Its type in the pack.
        expected: String,
        /// The type in the extension.
        found: String,
    },
    /// Pointers cannot be spilled.
    #[error(transparent)]
    Spill(#[from] SpillError),
    /// Stack checks cannot be inserted.
    #[error(transparent)]
    StackLimit(#[from] StackLimitError),
    /// Memory and globals cannot be separated from the code.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// Polls cannot be inserted.
    #[error(transparent)]
    Preemption(#[from] PreemptionError),
}

fn listed(names: &[String]) -> String {
    match names.len().checked_sub(LISTED) {
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names[..LISTED].join(", ")),
    }
}
