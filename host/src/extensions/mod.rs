//! Native extensions in dynos: compiled once, loaded by a guest call, and linked again when a dyno starts from an image.
//!
//! A guest loads an extension as a program calls `dlopen` (`sdk/ruby/mri/extension/dlopen.c`): it passes the module's bytes,
//! reserves memory for its data, and calls the functions that initialize it ([`imports`]). The code comes from the
//! [`ExtensionCache`], which prepares and compiles a module at its first use. What the guest's memory then holds is part of
//! an image as everything else; what it does not hold, the instance of the code, has a record there ([`ExtensionRecord`]),
//! by which a new dyno gets the same functions at the same entries of the table ([`linking`]).

mod cache;
mod code;
pub(crate) mod imports;
mod linking;
pub(crate) mod state;

pub(crate) use cache::ExtensionCache;
pub(crate) use code::ExtensionCode;
pub(crate) use linking::link;
pub(crate) use state::ExtensionPlace;

use serde::{Deserialize, Serialize};

pub use cache::ExtensionCodeError;

/// An extension that an image has loaded, in the order of loading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtensionRecord {
    /// BLAKE3 digest of the module, by which the pack keeps its code.
    pub digest: String,
    /// Address of its data.
    pub memory_base: u32,
    /// Number of its first entry in the table of functions.
    pub table_base: u32,
}
