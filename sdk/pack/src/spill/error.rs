//! Failures of the pass.

/// A module whose roots cannot be made visible. The fault is that of the build it comes from.
#[derive(Debug, thiserror::Error)]
pub enum SpillError {
    /// It is not valid WebAssembly.
    #[error("not a valid module: {0}")]
    Parse(#[from] wasmparser::BinaryReaderError),
    /// Its name section, by which the stack and the collector are found, lacks a name.
    #[error("the module names no {0}: link it with its names")]
    Unnamed(String),
    /// It uses what this pass does not know.
    #[error("a function with {0} cannot be rewritten")]
    Unsupported(&'static str),
}
