//! Failures of the spill pass.

/// Failure to rewrite a module. The build that the module comes from is at fault.
#[derive(Debug, thiserror::Error)]
pub enum SpillError {
    /// The module is not valid WebAssembly.
    #[error("invalid module: {0}")]
    Parse(#[from] wasmparser::BinaryReaderError),
    /// The name section, by which the pass finds the stack pointer and the collector, lacks a name.
    #[error("{0} not found in the module's name section: link the module without stripping names")]
    Unnamed(String),
    /// The module uses a feature that the pass does not support.
    #[error("cannot rewrite a function with {0}")]
    Unsupported(&'static str),
}
