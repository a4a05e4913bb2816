//! What the router knows of an app beside its dynos: how its requests are to be treated.

use std::sync::Arc;

use corundum_sdk::names::{AppName, ReleaseVersion};

use crate::figures::AppFigures;
use crate::https::Https;

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
    pub figures: Arc<AppFigures>,
    /// Bytes that the body of a request may have (413).
    pub max_body: u64,
    /// What it asks of encryption.
    pub https: Https,
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
    pub fn counted(app: AppName, figures: Arc<AppFigures>) -> Self {
        Self {
            app,
            release: None,
            edition: None,
            figures,
            max_body: MAX_BODY,
            https: Https::default(),
        }
    }
}
