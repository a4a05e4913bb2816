//! Builds of apps: chooses the pack and starts a build process for it.
//!
//! The process boundary (child, limits, protocol) is in `corundum-build`.

use std::sync::Arc;

use corundum_abi::names::AppName;
use corundum_abi::outbound::OutboundPolicy;
use corundum_build::slots::{BuildSlot, BuildSlots, BuildUrgency, NoBuildSlot};
use corundum_build::{BuildJob, BuildProcessError, BuildSettings, BuildSource, FinishedBuild};
use corundum_pack::language::{KnownLanguage, LanguageSeries};
use corundum_store::{ConfigVars, Fault, HasFault, Store, StoreError};

use crate::app_urls::AppUrls;
use crate::outbound;
use crate::packs::cache::PackCache;
use crate::packs::open::PackOpenError;

/// A build without a result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppBuildError {
    /// The build process failed, or rejected the app.
    #[error(transparent)]
    Process(#[from] BuildProcessError),
    /// The pack cannot be opened.
    #[error(transparent)]
    Pack(#[from] PackOpenError),
    /// Other builds take all memory for builds.
    #[error(transparent)]
    Slot(#[from] NoBuildSlot),
}

impl AppBuildError {
    /// Returns whether the build has told the pusher itself why it failed.
    pub(crate) fn is_rejection(&self) -> bool {
        matches!(self, Self::Process(BuildProcessError::Rejected))
    }
}

impl HasFault for AppBuildError {
    fn fault(&self) -> Fault {
        match self {
            Self::Process(
                BuildProcessError::Rejected
                | BuildProcessError::Timeout
                | BuildProcessError::Signal(_),
            ) => Fault::Client,
            Self::Slot(_) => Fault::Conflict,
            Self::Process(_) | Self::Pack(_) => Fault::Node,
        }
    }
}

/// The settings of the app that its build gets.
pub(crate) struct BuildInput<'a> {
    pub(crate) config: &'a ConfigVars,
    /// The operator's policy for connections that the app opens.
    pub(crate) outbound: OutboundPolicy,
}

/// Builds apps.
pub struct Builder {
    settings: BuildSettings,
    packs: Arc<PackCache>,
    urls: AppUrls,
    slots: Arc<BuildSlots>,
    outbound: OutboundPolicy,
}

impl Builder {
    /// Creates a builder that builds with `settings` and the packs of `packs`, as many apps at once as there are `slots`.
    /// `outbound` is the operator's policy for all apps.
    pub fn new(
        settings: BuildSettings,
        packs: Arc<PackCache>,
        urls: AppUrls,
        slots: Arc<BuildSlots>,
        outbound: OutboundPolicy,
    ) -> Self {
        Self {
            settings,
            packs,
            urls,
            slots,
            outbound,
        }
    }

    /// Returns the input of a build of an app that `store` knows.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub(crate) fn input<'a>(
        &self,
        store: &dyn Store,
        app: &AppName,
        config: &'a ConfigVars,
    ) -> Result<BuildInput<'a>, StoreError> {
        Ok(BuildInput {
            config,
            outbound: outbound::policy(store, &self.outbound, app)?,
        })
    }

    /// Waits until the node has memory for a build of an app. `report` gets each line for the pusher.
    ///
    /// # Errors
    ///
    /// [`AppBuildError::Slot`].
    pub(crate) async fn slot(
        &self,
        app: &AppName,
        urgency: BuildUrgency,
        mut report: impl FnMut(&str) + Send,
    ) -> Result<BuildSlot, AppBuildError> {
        let waiting = |before: usize| match before {
            1 => report("       Waiting for 1 build..."),
            _ => report(&format!("       Waiting for {before} builds...")),
        };
        Ok(self.slots.acquire(app, urgency, waiting).await?)
    }

    /// Returns the languages of apps that can be built.
    ///
    /// # Errors
    ///
    /// [`AppBuildError::Pack`].
    pub(crate) fn languages(&self) -> Result<Vec<KnownLanguage>, AppBuildError> {
        Ok(self.packs.languages()?)
    }

    /// Returns how many builds run or wait before that of an app, if that one waits.
    pub(crate) fn builds_before(&self, app: &AppName) -> Option<usize> {
        self.slots.builds_before(app)
    }

    /// Compiles and boots an app in a child process. `report` gets each line for the pusher.
    ///
    /// # Errors
    ///
    /// [`AppBuildError`].
    pub(crate) async fn build(
        &self,
        slot: &BuildSlot,
        app: &AppName,
        series: &LanguageSeries,
        source: BuildSource,
        input: BuildInput<'_>,
        report: impl FnMut(&str) + Send,
    ) -> Result<FinishedBuild, AppBuildError> {
        let ready = self.packs.get(&self.packs.key(series)?).await?;
        let job = BuildJob {
            app,
            slot,
            pack: ready.directory.path(),
            source,
            host: self.urls.authority(app),
            config: input.config.clone().into_iter().collect(),
            outbound: input.outbound,
        };
        Ok(corundum_build::parent::run(&self.settings, job, report).await?)
    }
}
