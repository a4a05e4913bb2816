//! An app as the router sees it: everything about it except its dynos.

use std::sync::Arc;

use corundum_abi::names::{AppName, ReleaseVersion};

use crate::compress::Compression;
use crate::custom_error_pages::CustomErrorPages;
use crate::files::StaticFiles;
use crate::https_policy::HttpsPolicy;
use crate::metrics::AppMetrics;

/// An app's configuration for the router. It is immutable; a change to the app replaces it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualHost {
    /// The app.
    pub app: AppName,
    /// Release that new requests go to; none before the first push.
    pub release: Option<ReleaseVersion>,
    /// Hash that identifies the content of cached responses in place of the release's number. Releases of the same code
    /// and config have the same one, so that a rollback finds its responses again.
    pub content_version: Option<u64>,
    /// Counters of its requests, the same for as long as the app exists.
    pub metrics: Arc<AppMetrics>,
    /// Largest request body in bytes (413).
    pub max_body: u64,
    /// Redirects to https, and HSTS.
    pub https: HttpsPolicy,
    /// Files of the release's `public/`, if it has any.
    pub files: Option<Arc<StaticFiles>>,
    /// Maintenance mode, which its owner switches.
    pub availability: Availability,
    /// Compression of its dynos' responses.
    pub compression: Compression,
    /// Pages that replace the router's error pages.
    pub pages: CustomErrorPages,
}

/// Maintenance mode of an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Availability {
    /// Requests are served.
    #[default]
    Open,
    /// Every request, those for static files too, gets the maintenance page (H80).
    Maintenance,
}

/// Default limit of request bodies: more than forms and photographs need, less than an upload that keeps a dyno busy
/// for hours.
pub const MAX_BODY: u64 = 1 << 30;

impl VirtualHost {
    /// An app with default settings.
    pub fn new(app: AppName) -> Self {
        Self::counted(app, Arc::default())
    }

    /// An app with default settings whose requests are counted in `metrics`.
    pub fn counted(app: AppName, metrics: Arc<AppMetrics>) -> Self {
        Self {
            app,
            release: None,
            content_version: None,
            metrics,
            max_body: MAX_BODY,
            https: HttpsPolicy::default(),
            files: None,
            availability: Availability::Open,
            compression: Compression::On,
            pages: CustomErrorPages::default(),
        }
    }
}
