//! Options of an app that its build records in the slug and its dynos follow.

use serde::{Deserialize, Serialize};

/// State that one request may leave behind for the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// A dyno serves request after request, as a process does.
    #[default]
    App,
    /// A dyno serves one request, so no state can pass from one user to another.
    Request,
}

/// Sample requests that an app serves before its memory is saved as an image.
///
/// Samples fill the app's caches, which all of its dynos then share: a first response writes to a quarter of the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WarmUp {
    /// The app serves sample requests.
    #[default]
    Requests,
    /// The app serves none, because its image must not remember the effects of a request.
    None,
}
