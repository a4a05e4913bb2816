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
mod source;

use std::collections::HashMap;
use std::fmt;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response};

use self::file::StaticFile;
pub use self::source::{PathMatching, StaticFileSettings, StaticFileSource};

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
        if !matches!(request.method, Method::GET | Method::HEAD) {
            return None;
        }
        let file = self.find(request.uri.path())?;
        Some(response::respond(file, request))
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
