//! Files that are served without a dyno: what an app has in `public/`.
//!
//! A [`StaticFiles`] is made once, when a release is loaded; a request then looks its path up and clones handles of bytes
//! that stay where they are. [`file`] is one file with its encoded forms, [`response`] what a request gets of it.
//! Where the files come from is for who makes it.

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

use self::file::File;
use crate::semantics::accept_encoding::ContentCoding;

/// How an app's files are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Since when clients may have got these files.
    pub modified: SystemTime,
    /// How long a client may keep a file without asking again, if its name holds no digest.
    pub max_age: Duration,
    /// Which paths lead to a file.
    pub paths: Paths,
}

/// Which paths lead to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paths {
    /// Its own alone.
    Exact,
    /// Also, to `a/index.html`, those of `a/` and `a`; and to `b.html`, that of `b`. A file of the very name prevails.
    Pages,
}

/// A file to be served.
#[derive(Debug)]
pub struct Source {
    /// Its path below the app's root, as `/assets/app.css`.
    pub path: String,
    /// Its bytes.
    pub content: Bytes,
    /// The same, encoded.
    pub encoded: Vec<(ContentCoding, Bytes)>,
    /// Whether its content never changes under this name, though nothing in the name says so.
    pub immutable: bool,
}

/// An app's files by their paths.
pub struct StaticFiles {
    files: Vec<File>,
    by_path: HashMap<Box<str>, usize>,
}

impl StaticFiles {
    /// Indexes files: hashes them, and makes ready all that their answers need.
    pub fn new(sources: impl IntoIterator<Item = Source>, settings: &Settings) -> Self {
        let mut files = Vec::new();
        let mut by_path = HashMap::new();
        let mut pages = Vec::new();
        let common = file::Common::new(settings);
        for source in sources {
            let at = files.len();
            if settings.paths == Paths::Pages {
                pages.extend(page_paths(&source.path).map(|path| (path, at)));
            }
            files.push(File::new(&source, &common));
            by_path.insert(source.path.into(), at);
        }
        for (path, at) in pages {
            by_path.entry(path).or_insert(at);
        }
        Self { files, by_path }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The bytes of the file at `path`.
    pub fn content(&self, path: &str) -> Option<Bytes> {
        self.find(path).map(File::content)
    }

    /// The answer to a request, if it is a GET or HEAD of a file; all others are for a dyno.
    pub(crate) fn answer(&self, request: &Parts) -> Option<Response<Bytes>> {
        response::respond(self, request)
    }

    fn find(&self, path: &str) -> Option<&File> {
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

/// The very same index: two that were made of the same files are not compared.
impl PartialEq for StaticFiles {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for StaticFiles {}

/// The other paths of a page.
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
