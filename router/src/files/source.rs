//! Input of a static file index: the files and the settings that they are served with.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::semantics::accept_encoding::ContentCoding;

/// Settings of an app's static files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticFileSettings {
    /// Value of `Last-Modified`: the time since which clients may have fetched these files.
    pub modified: SystemTime,
    /// Time for which clients may reuse a file without a request, unless its name contains a digest.
    pub max_age: Duration,
    /// Paths that lead to a file.
    pub paths: PathMatching,
}

/// Paths that lead to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathMatching {
    /// Its own path only.
    Exact,
    /// Also `a/` and `a` for `a/index.html`, and `b` for `b.html`. A file with exactly that path takes precedence.
    Pages,
}

/// A file to index.
#[derive(Debug)]
pub struct StaticFileSource {
    /// Path below the app's root, e.g. `/assets/app.css`.
    pub path: String,
    /// The content.
    pub content: Bytes,
    /// The content in other codings.
    pub encoded: Vec<(ContentCoding, Bytes)>,
    /// True if the content under this name never changes, although the name contains no digest.
    pub immutable: bool,
}
