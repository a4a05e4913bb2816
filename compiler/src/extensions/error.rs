//! Failures to build native extensions.

use corundum_pack::sysroot::SysrootError;
use corundum_pack::toolchain::ToolchainError;

use crate::sandbox::SandboxError;

/// A native extension that cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum ExtensionBuildError {
    /// The pack loads no extensions.
    #[error(
        "this build of Ruby cannot load native extensions: the operator builds Ruby from source (corundum pack build)"
    )]
    Unsupported,
    /// The script or a compiler failed: the gem's fault, or that of its options.
    #[error("the native extension of {gem} does not compile:\n{}", log.trim_end())]
    Failed {
        /// Name and version of the gem.
        gem: String,
        /// The end of the output of the script and of the compilers.
        log: String,
    },
    /// The library was built, but dynos cannot load it.
    #[error("{file} of {gem} cannot be loaded in a dyno: {source}")]
    Link {
        /// Name and version of the gem.
        gem: String,
        /// The library.
        file: String,
        /// The reason.
        source: SandboxError,
    },
    /// The build printed something other than its result.
    #[error(
        "the build of a native extension printed no valid result: its script must not print to the standard output by itself"
    )]
    Output,
    /// The compiler cannot be installed.
    #[error(transparent)]
    Toolchain(#[from] ToolchainError),
    /// A library cannot be built.
    #[error(transparent)]
    Sysroot(#[from] SysrootError),
    /// The engine failed: the platform's fault.
    #[error(transparent)]
    Sandbox(SandboxError),
    /// The disk failed: the platform's fault.
    #[error("native extensions: {0}")]
    Io(#[from] std::io::Error),
}

impl ExtensionBuildError {
    /// Returns whether the operator has to act, and not the pusher.
    pub fn is_platform_fault(&self) -> bool {
        match self {
            Self::Failed { .. } | Self::Output | Self::Unsupported => false,
            Self::Link { source, .. } => matches!(source, SandboxError::Platform(_)),
            Self::Toolchain(_) | Self::Sysroot(_) | Self::Sandbox(_) | Self::Io(_) => true,
        }
    }
}
