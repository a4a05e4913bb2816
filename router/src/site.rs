//! What the router knows of an app beside its dynos: how its requests are to be treated.

use std::sync::Arc;

use corundum_abi::names::{AppName, ReleaseVersion};

use crate::compress::Compression;
use crate::files::StaticFiles;
use crate::https_policy::HttpsPolicy;
use crate::metrics::AppMetrics;
use crate::own_page::OwnPages;

/// An app as the router serves it. Made anew when anything in it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// The app.
    pub app: AppName,
    /// The release that new requests get; none before the first push.
    pub release: Option<ReleaseVersion>,
    /// What the cache tells releases apart by in place of their numbers: the same for releases of the same code and config,
    /// so that a rollback finds its responses again.
    pub edition: Option<u64>,
    /// Where its requests are counted. The same for as long as the app exists.
    pub metrics: Arc<AppMetrics>,
    /// Bytes that the body of a request may have (413).
    pub max_body: u64,
    /// What it asks of encryption.
    pub https: HttpsPolicy,
    /// What it has in `public/`, if the release has anything there.
    pub files: Option<Arc<StaticFiles>>,
    /// Whether its owner has taken it out of service for a while.
    pub service: Service,
    /// Whether what its dynos answer is compressed.
    pub compression: Compression,
    /// What its visitors see in the place of the router's pages.
    pub pages: OwnPages,
}

/// Whether an app's requests are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Service {
    /// They are.
    #[default]
    Open,
    /// All are answered with the page of maintenance, those of static files too (H80).
    Maintenance,
}

/// The body of a request to an app whose quota nobody has set: more than forms and photographs have, less than what
/// would keep a dyno busy for hours.
pub const MAX_BODY: u64 = 1 << 30;

impl Site {
    /// An app with the settings of one that nobody has set any of.
    pub fn new(app: AppName) -> Self {
        Self::counted(app, Arc::default())
    }

    /// The same, counted in `figures`.
    pub fn counted(app: AppName, metrics: Arc<AppMetrics>) -> Self {
        Self {
            app,
            release: None,
            edition: None,
            metrics,
            max_body: MAX_BODY,
            https: HttpsPolicy::default(),
            files: None,
            service: Service::Open,
            compression: Compression::On,
            pages: OwnPages::default(),
        }
    }
}
