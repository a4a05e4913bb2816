//! Sources that the build of a pack downloads.

use serde::Deserialize;

/// A source with a pinned digest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PinnedSource {
    /// File name below `$SOURCES`.
    pub name: String,
    /// Path in Debian's pool.
    #[serde(default)]
    pub debian: Option<String>,
    /// URL of the file.
    #[serde(default)]
    pub url: Option<String>,
    /// SHA-256 of the file.
    pub sha256: String,
    /// SPDX expression of the licence.
    pub licence: String,
}
