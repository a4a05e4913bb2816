//! Errors of fetching a gem.

use std::io;

use super::server_client::GemServerError;
use super::server_url::GemServerUrlError;
use crate::checksum::Checksum;

/// A gem that cannot be fetched. Each variant names who can correct it.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The operator does not allow the server. The lockfile's author chose it and could have chosen any address.
    #[error(
        "gem {name}: comes from {remote}, which this node does not fetch from; put {name}-{version}.gem into vendor/cache ({how} does so), or ask the node's operator to allow it with --gem-source {remote}"
    )]
    NotAllowed {
        /// Name of the gem.
        name: String,
        /// Version of the gem.
        version: String,
        /// URL in the lockfile, without credentials.
        remote: String,
        /// Command that gets the gem's file.
        how: &'static str,
    },
    /// The lockfile names a URL that the operator could not allow: the app author's fault.
    #[error(
        "gem {name}: unusable source {remote} in Gemfile.lock: {reason}; change the source in the Gemfile, run bundle lock, and commit Gemfile.lock"
    )]
    Source {
        /// Name of the gem.
        name: String,
        /// URL in the lockfile, without credentials.
        remote: String,
        /// Reason.
        reason: GemServerUrlError,
    },
    /// The server has no gem of this name: the app author's fault.
    #[error(
        "gem {name}: unknown at {server}; check its name in the Gemfile, or put {name}-{version}.gem into vendor/cache"
    )]
    UnknownGem {
        /// Name of the gem.
        name: String,
        /// Version of the gem.
        version: String,
        /// URL of the server.
        server: String,
    },
    /// The server has other versions of the gem: the app author's or the gem author's fault.
    #[error(
        "gem {name} {version}: unknown at {server}, because it was yanked or never published; choose another version (bundle update {name}), and commit Gemfile.lock"
    )]
    UnknownVersion {
        /// Name of the gem.
        name: String,
        /// Version of the gem.
        version: String,
        /// URL of the server.
        server: String,
    },
    /// The server has the version only for certain machines: the app's author chooses another version or gem.
    #[error(
        "gem {name} {version}: {server} has only precompiled builds ({platforms}), which a dyno cannot load, and no source (platform ruby); choose a version with a source (bundle update {name}) or another gem, and commit Gemfile.lock"
    )]
    Precompiled {
        /// Name of the gem.
        name: String,
        /// Version of the gem.
        version: String,
        /// URL of the server.
        server: String,
        /// Platforms of the builds.
        platforms: String,
    },
    /// The gem or its index entry differs from the locked one: possibly an attack on the app.
    #[error(transparent)]
    Checksum(Box<ChecksumMismatch>),
    /// Two servers have different gems of one name and version: the app's author names one.
    #[error(
        "gem {name} {version}: differs between {first} and {second}; say in the Gemfile which is meant (source \"…\" do … end), run bundle lock, and commit Gemfile.lock"
    )]
    Ambiguous {
        /// Name of the gem.
        name: String,
        /// Version of the gem.
        version: String,
        /// URL of one server.
        first: String,
        /// URL of the other server.
        second: String,
    },
    /// The server's index is invalid: the server's fault.
    #[error("gem {name}: invalid index at {server}: {reason}; ask the operator of the gem server")]
    Index {
        /// Name of the gem.
        name: String,
        /// URL of the server.
        server: String,
        /// Reason.
        reason: String,
    },
    /// All gems together exceed their limit of bytes: the app author's fault.
    #[error(
        "gems: larger than {0} together, more than a slug may hold; leave out gems that a running app does not need"
    )]
    TooMuch(String),
    /// All requests together exceed their time. The next push continues, because fetched gems are in the cache.
    #[error("gems: not fetched within {0} seconds; push again to continue with the gem {1}")]
    TooLong(u64, String),
    /// A request failed; the source error says whose fault it is.
    #[error("{error}\n(needed for the gem {name} {version})")]
    Server {
        /// Name of the gem.
        name: String,
        /// Version of the gem.
        version: String,
        /// Failure of the request.
        error: GemServerError,
    },
    /// The node's gem cache cannot be read or written: the platform's fault.
    #[error("{0}; ask the node's operator")]
    Cache(#[from] io::Error),
}

/// A gem whose SHA-256 differs from the expected one.
#[derive(Debug, thiserror::Error)]
#[error(
    "gem {name} {version} from {server}: differs from {witness}, and was not installed: expected SHA-256 {expected}, found {found}. {advice}"
)]
pub struct ChecksumMismatch {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) server: String,
    /// Source of the expected checksum.
    pub(super) witness: &'static str,
    pub(super) expected: Checksum,
    pub(super) found: Checksum,
    /// Next step for the pusher, as a sentence.
    pub(super) advice: &'static str,
}

impl FetchError {
    /// Returns why the server could not be asked, if so. Such an error says nothing about the gem.
    pub(super) fn not_asked(&self) -> Option<&'static str> {
        match self {
            Self::NotAllowed { .. } => Some("this node does not fetch from its server"),
            Self::Server {
                error: GemServerError::Unreachable { .. },
                ..
            } => Some("its server cannot be reached"),
            _ => None,
        }
    }

    /// Returns whether a server has said that it does not have the gem.
    pub(super) fn is_absence(&self) -> bool {
        matches!(
            self,
            Self::UnknownGem { .. } | Self::UnknownVersion { .. } | Self::Precompiled { .. }
        )
    }
}
