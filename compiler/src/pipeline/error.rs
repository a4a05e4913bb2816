//! Errors of a build, by the stage that fails.

use std::fmt;
use std::io;

use corundum_pack::language::BadPackName;

use super::gemfile::GemfileError;
use crate::app_json::AppJsonError;
use crate::command_line::CommandLineError;
use crate::detect::DetectError;
use crate::extensions::ExtensionBuildError;
use crate::gems::{FetchError, GemError};
use crate::process::CommandError;
use crate::procfile::ProcfileError;
use crate::sandbox::SandboxError;
use crate::slug::{SlugDescriptionError, SlugWriteError};
use crate::slugignore::SlugignoreError;
use crate::tree::TreeError;

/// Advice for a task that compiles assets and fails.
const ASSETS_ADVICE: &str = "\
The task assets:precompile runs in a dyno, which starts no other programs: no node, yarn or tailwindcss. If the task needs
one, run it before the push and commit its results: public/assets, or app/assets/builds";

/// A build that failed. The pusher corrects the app, unless a variant names another fault.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The pushed tree is invalid.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// `.slugignore` is invalid.
    #[error(transparent)]
    Slugignore(#[from] SlugignoreError),
    /// The tree holds no app of the pack's language.
    #[error(transparent)]
    NotDetected(#[from] DetectError),
    /// `app.json` is invalid.
    #[error(transparent)]
    AppJson(#[from] AppJsonError),
    /// The Gemfile cannot be evaluated.
    #[error(transparent)]
    Gemfile(#[from] GemfileError),
    /// A gem cannot be installed; the operator or a gem server may be at fault too.
    #[error(transparent)]
    Gems(#[from] GemError),
    /// A native extension cannot be built.
    #[error(transparent)]
    Extension(#[from] ExtensionBuildError),
    /// The app's assets cannot be compiled.
    #[error("compiling the app's assets failed: see the output above{}{}\n{ASSETS_ADVICE}",
        .error.iter().map(|error| format!("\n{error}")).collect::<String>(),
        .cause.iter().map(|cause| format!("\n{cause}")).collect::<String>())]
    Assets {
        /// The message of the exception that ended the task.
        cause: Option<String>,
        /// The failure of the sandbox, if the task did not end.
        error: Option<SandboxError>,
    },
    /// The Procfile is invalid.
    #[error(transparent)]
    Procfile(#[from] ProcfileError),
    /// The command of the release phase cannot be carried out.
    #[error("Procfile: the release phase cannot run: {0}")]
    ReleasePhase(#[from] CommandLineError),
    /// The command of an existing slug's web process cannot be split.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The slug is too large or cannot be written.
    #[error(transparent)]
    Slug(#[from] SlugWriteError),
    /// An existing slug cannot be opened: the platform's fault.
    #[error(transparent)]
    OpenSlug(SandboxError),
    /// An existing slug has no usable description: the platform's fault.
    #[error(transparent)]
    Description(#[from] SlugDescriptionError),
    /// The pack's manifest has an invalid name of a language or a series: the platform's fault.
    #[error("pack: invalid manifest: {0}")]
    Series(#[from] BadPackName),
    /// The app does not boot.
    #[error("{error}{}", .cause.iter().map(|cause| format!("\n{cause}")).collect::<String>())]
    Boot {
        /// The failure of the sandbox.
        error: SandboxError,
        /// The message of the exception that the app ended with.
        cause: Option<String>,
    },
    /// The output directory cannot be written: the platform's fault.
    #[error("build output: {0}")]
    Output(#[from] io::Error),
}

impl BuildError {
    /// Returns the phase that failed, as the pusher is told.
    pub fn phase(&self) -> BuildPhase {
        match self {
            Self::Boot { .. } => BuildPhase::Boot,
            _ => BuildPhase::Compile,
        }
    }

    /// Returns whether the operator has to act, and not the pusher.
    pub fn is_platform_fault(&self) -> bool {
        match self {
            Self::OpenSlug(_) | Self::Description(_) | Self::Series(_) | Self::Output(_) => true,
            Self::Tree(TreeError::Io(_)) | Self::Slug(SlugWriteError::Io(_)) => true,
            Self::Gemfile(GemfileError::Failed(error)) | Self::Boot { error, .. } => {
                matches!(error, SandboxError::Platform(_))
            }
            Self::Assets { error, .. } => matches!(error, Some(SandboxError::Platform(_))),
            Self::Extension(error) => error.is_platform_fault(),
            Self::Gemfile(GemfileError::Archive(_)) => true,
            Self::Gems(GemError::Io(_) | GemError::Fetch(FetchError::Cache(_))) => true,
            _ => false,
        }
    }
}

/// Half of a build that its last line of output names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildPhase {
    /// Everything up to the slug.
    Compile,
    /// The boot of the slug.
    Boot,
}

impl fmt::Display for BuildPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Compile => "compile",
            Self::Boot => "boot",
        })
    }
}
