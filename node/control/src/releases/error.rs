//! Errors of releases.

use corundum_compiler::process::CommandError;
use corundum_host::image::ImageError;
use corundum_host::slug::OpenSlugError;
use corundum_store::{Fault, HasFault, StoreError};

use crate::apps::config_vars::ConfigVarError;
use crate::builds::AppBuildError;
use crate::packs::open::PackOpenError;
use crate::processes::phase::PhaseError;
use crate::routing::static_files::StaticFilesError;
use crate::volumes::VolumeError;

/// A release that cannot be made or served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReleaseError {
    /// The build failed, after it had written `output`.
    #[error("{}{source}", prefix(output))]
    Build {
        /// The lines for the pusher.
        output: String,
        /// The failure.
        source: AppBuildError,
    },
    /// The config vars cannot be set.
    #[error(transparent)]
    Config(#[from] ConfigVarError),
    /// The app has no release to roll back to.
    #[error("no release to roll back to: see corundum releases")]
    NoTarget,
    /// A build, change or deletion of the app is in progress.
    #[error("the app is being built: wait for the build, then try again")]
    Busy,
    /// The store failed or does not have the app.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The pack cannot be opened.
    #[error(transparent)]
    Pack(#[from] PackOpenError),
    /// The image cannot be loaded.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The slug cannot be loaded.
    #[error(transparent)]
    Slug(#[from] OpenSlugError),
    /// The web process's command cannot be split into words.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The app's volume cannot be opened.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// The release phase failed.
    #[error("release command failed: {0}. The running release stays")]
    Phase(#[from] PhaseError),
    /// The static files cannot be found.
    #[error(transparent)]
    StaticFiles(#[from] StaticFilesError),
    /// A slug or an image cannot be moved into place.
    #[error("release: cannot move its files into place: {0}")]
    Files(#[from] std::io::Error),
    /// The node is shutting down.
    #[error("release: loading it was interrupted")]
    Interrupted,
}

fn prefix(output: &str) -> String {
    if output.is_empty() {
        String::new()
    } else {
        format!("{output}: ")
    }
}

impl From<AppBuildError> for ReleaseError {
    fn from(source: AppBuildError) -> Self {
        Self::Build {
            output: String::new(),
            source,
        }
    }
}

impl ReleaseError {
    /// Returns whether the build has told the pusher itself why it failed.
    pub(crate) fn is_rejection(&self) -> bool {
        matches!(self, Self::Build { source, .. } if source.is_rejection())
    }
}

impl HasFault for ReleaseError {
    fn fault(&self) -> Fault {
        match self {
            Self::Build { source, .. } => source.fault(),
            Self::Store(error) => error.fault(),
            Self::Config(_) | Self::Phase(_) => Fault::Client,
            // The Procfile of the release declares the command.
            Self::Command(_) => Fault::Client,
            Self::NoTarget => Fault::NotFound,
            Self::Busy => Fault::Conflict,
            Self::Volume(error) => error.fault(),
            Self::Pack(_)
            | Self::Image(_)
            | Self::Slug(_)
            | Self::StaticFiles(_)
            | Self::Files(_)
            | Self::Interrupted => Fault::Node,
        }
    }
}
