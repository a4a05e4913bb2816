//! A static file: its content in each coding, and its headers.

use std::time::SystemTime;

use bytes::Bytes;
use corundum_abi::media;
use http::HeaderValue;
use httpdate::HttpDate;
use sha2::{Digest, Sha256};

use super::fingerprint::has_digest;
use super::source::{StaticFileSettings, StaticFileSource};
use crate::semantics::accept_encoding::{AcceptEncoding, ContentCoding};
use crate::semantics::preconditions::{DateStrength, Validators};

/// Hexadecimal digits of an entity tag: 128 bits of the content's SHA-256, which exclude collisions.
const TAG_DIGITS: usize = 32;

const PLAIN_TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Headers that the files of an app share.
pub(super) struct SharedHeaders {
    modified: SystemTime,
    modified_text: HeaderValue,
    changing: HeaderValue,
    unchanging: HeaderValue,
}

impl SharedHeaders {
    pub(super) fn new(settings: &StaticFileSettings) -> Self {
        let modified = HttpDate::from(settings.modified);
        let text = |text: String, default| {
            HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(default))
        };
        let changing = match settings.max_age.as_secs() {
            0 => "public, no-cache".to_owned(),
            seconds => format!("public, max-age={seconds}"),
        };
        Self {
            // In whole seconds, like the header that conditions are compared with.
            modified: modified.into(),
            modified_text: text(modified.to_string(), ""),
            changing: text(changing, "no-cache"),
            unchanging: HeaderValue::from_static("public, max-age=31536000, immutable"),
        }
    }
}

/// A static file.
pub(super) struct StaticFile {
    plain: Representation,
    /// Sorted by size, the smallest first.
    encoded: Vec<Representation>,
    pub(super) content_type: HeaderValue,
    pub(super) cache_control: HeaderValue,
    pub(super) modified_text: HeaderValue,
    modified: SystemTime,
}

/// A file's content in one coding or without any.
pub(super) struct Representation {
    pub(super) coding: Option<ContentCoding>,
    pub(super) bytes: Bytes,
    /// Strong, since it is derived from the content and the coding.
    pub(super) etag: HeaderValue,
}

impl StaticFile {
    pub(super) fn new(source: &StaticFileSource, shared: &SharedHeaders) -> Self {
        let digest = format!("{:x}", Sha256::digest(&source.content));
        let digest = &digest[..TAG_DIGITS];
        let smaller = |(_, bytes): &&(ContentCoding, Bytes)| bytes.len() < source.content.len();
        let mut encoded: Vec<Representation> = source
            .encoded
            .iter()
            .filter(smaller)
            .map(|(coding, bytes)| Representation::new(digest, Some(*coding), bytes.clone()))
            .collect();
        encoded.sort_by_key(|representation| representation.bytes.len());
        let unchanging = source.immutable || has_digest(&source.path);
        let cache_control = if unchanging {
            &shared.unchanging
        } else {
            &shared.changing
        };
        Self {
            plain: Representation::new(digest, None, source.content.clone()),
            encoded,
            content_type: content_type(&source.path, &source.content),
            cache_control: cache_control.clone(),
            modified_text: shared.modified_text.clone(),
            modified: shared.modified,
        }
    }

    /// Returns the content without a coding.
    pub(super) fn content(&self) -> Bytes {
        self.plain.bytes.clone()
    }

    /// Returns the representation that a client prefers.
    pub(super) fn choose(&self, accepted: impl FnOnce() -> AcceptEncoding) -> &Representation {
        if self.encoded.is_empty() {
            return &self.plain;
        }
        let coding = accepted().choose(
            self.encoded
                .iter()
                .filter_map(|representation| representation.coding),
        );
        let of = |coding| {
            self.encoded
                .iter()
                .find(|representation| representation.coding == Some(coding))
        };
        coding.and_then(of).unwrap_or(&self.plain)
    }

    /// Returns whether clients get different representations.
    pub(super) fn varies(&self) -> bool {
        !self.encoded.is_empty()
    }

    pub(super) fn validators<'a>(&'a self, representation: &'a Representation) -> Validators<'a> {
        Validators {
            etag: Some(&representation.etag),
            last_modified: Some(self.modified),
            // A release's files never change, and two releases are further apart than a second.
            date: DateStrength::Strong,
        }
    }
}

impl Representation {
    fn new(digest: &str, coding: Option<ContentCoding>, bytes: Bytes) -> Self {
        let tag = match coding {
            None => format!("\"{digest}\""),
            Some(coding) => format!("\"{digest}-{}\"", coding.name()),
        };
        Self {
            coding,
            bytes,
            etag: HeaderValue::from_str(&tag).unwrap_or(HeaderValue::from_static("\"\"")),
        }
    }
}

/// Returns the file's media type. Text that is valid UTF-8 says so, since browsers guess otherwise.
fn content_type(path: &str, content: &[u8]) -> HeaderValue {
    let kind = media::of_path(path);
    if kind.starts_with("text/") && std::str::from_utf8(content).is_ok() {
        let kind = format!("{kind}; charset=utf-8");
        return HeaderValue::from_maybe_shared(Bytes::from(kind)).unwrap_or(PLAIN_TEXT);
    }
    HeaderValue::from_static(kind)
}
