//! Static files, which are served without a dyno: an app's `public/` directory.
//!
//! A [`StaticFiles`] index is built once when a release is loaded. A request looks up its path and clones handles of
//! bytes that stay in place. [`file`] is one file with its encoded representations, [`response`] answers a request for
//! it. The caller decides where the files come from.

pub(crate) mod delivery;
mod file;
mod fingerprint;
mod path;
mod response;

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::Response;
use http::request::Parts;

use self::file::StaticFile;
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

/// An app's static files by path.
pub struct StaticFiles {
    files: Vec<StaticFile>,
    by_path: HashMap<Box<str>, usize>,
}

impl StaticFiles {
    /// Indexes files: computes entity tags and all headers of their responses.
    pub fn new(
        sources: impl IntoIterator<Item = StaticFileSource>,
        settings: &StaticFileSettings,
    ) -> Self {
        let mut files = Vec::new();
        let mut by_path = HashMap::new();
        let mut pages = Vec::new();
        let shared = file::SharedHeaders::new(settings);
        for source in sources {
            let at = files.len();
            if settings.paths == PathMatching::Pages {
                pages.extend(page_paths(&source.path).map(|path| (path, at)));
            }
            files.push(StaticFile::new(&source, &shared));
            by_path.insert(source.path.into(), at);
        }
        for (path, at) in pages {
            by_path.entry(path).or_insert(at);
        }
        Self { files, by_path }
    }

    /// Returns the number of files.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Returns whether there are no files.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Returns the content of the file at `path`.
    pub fn content(&self, path: &str) -> Option<Bytes> {
        self.find(path).map(StaticFile::content)
    }

    /// Answers a GET or HEAD of a file. Returns `None` for every other request, which goes to a dyno.
    pub(crate) fn answer(&self, request: &Parts) -> Option<Response<Bytes>> {
        response::respond(self, request)
    }

    fn find(&self, path: &str) -> Option<&StaticFile> {
        let path = path::decode(path)?;
        self.by_path.get(&*path).map(|at| &self.files[*at])
    }
}

impl fmt::Debug for StaticFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticFiles")
            .field("files", &self.len())
            .finish_non_exhaustive()
    }
}

/// Compares identity: two indexes of the same files are not compared by content.
impl PartialEq for StaticFiles {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for StaticFiles {}

/// Returns the short paths of an HTML page.
fn page_paths(path: &str) -> impl Iterator<Item = Box<str>> {
    let directory = path
        .strip_suffix("index.html")
        .filter(|rest| rest.ends_with('/'));
    let short = match directory {
        Some(directory) => directory.strip_suffix('/').filter(|rest| !rest.is_empty()),
        None => path
            .strip_suffix(".html")
            .filter(|rest| !rest.ends_with('/')),
    };
    directory.into_iter().chain(short).map(Into::into)
}

#[cfg(test)]
mod tests;
