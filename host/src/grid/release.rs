//! A release as the grid runs it.

use std::fmt;
use std::sync::Arc;

use corundum_abi::app_options::Isolation;
use corundum_abi::names::{AppName, ReleaseVersion};
use corundum_pack::archive::Archive;

use crate::image::Image;
use crate::outbound::OutboundRules;
use crate::pack::linked::Pack;
use crate::volume::VolumeSlot;

/// A release that dynos can be started from.
#[derive(Clone)]
pub struct GridRelease {
    /// The app.
    pub app: AppName,
    /// Number of the release.
    pub version: ReleaseVersion,
    /// Pack whose code the app runs on.
    pub pack: Arc<Pack>,
    /// Memory of the booted app.
    pub image: Arc<Image>,
    /// Files of the app.
    pub slug: Arc<Archive>,
    /// Command of the web process.
    pub arguments: Arc<[String]>,
    /// Config vars and the platform's defaults.
    pub environ: Arc<[(String, String)]>,
    /// State that one request may leave behind for the next.
    pub isolation: Isolation,
    /// Rules for connections that the app opens.
    pub outbound: OutboundRules,
    /// Persistent directory that all dynos have at `/data`, if the app has one.
    pub volume: Arc<VolumeSlot>,
}

impl fmt::Debug for GridRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.app, self.version)
    }
}
