//! A static file: its content in each coding, and its headers.

use std::time::SystemTime;

use bytes::Bytes;
use corundum_abi::media;
use http::HeaderValue;
use httpdate::HttpDate;
use sha2::{Digest, Sha256};

use super::fingerprint::has_digest;
use super::{Settings, Source};
use crate::semantics::accept_encoding::{AcceptEncoding, ContentCoding};
use crate::semantics::preconditions::{DateStrength, Validators};

/// Hexadecimal digits of an entity tag: 128 bits of the content's SHA-256, which exclude collisions.
const TAG_DIGITS: usize = 32;

const PLAIN_TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Headers that the files of an app share.
pub(super) struct Common {
    modified: SystemTime,
    modified_text: HeaderValue,
    changing: HeaderValue,
    unchanging: HeaderValue,
}

impl Common {
    pub(super) fn new(settings: &Settings) -> Self {
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
pub(super) struct File {
    plain: Form,
    /// Sorted by size, the smallest first.
    encoded: Vec<Form>,
    pub(super) content_type: HeaderValue,
    pub(super) cache_control: HeaderValue,
    pub(super) modified_text: HeaderValue,
    modified: SystemTime,
}

/// A file's content in one coding or without any.
pub(super) struct Form {
    pub(super) coding: Option<ContentCoding>,
    pub(super) bytes: Bytes,
    /// Strong, since it is derived from the content and the coding.
    pub(super) etag: HeaderValue,
}

impl File {
    pub(super) fn new(source: &Source, common: &Common) -> Self {
        let digest = format!("{:x}", Sha256::digest(&source.content));
        let digest = &digest[..TAG_DIGITS];
        let smaller = |(_, bytes): &&(ContentCoding, Bytes)| bytes.len() < source.content.len();
        let mut encoded: Vec<Form> = source
            .encoded
            .iter()
            .filter(smaller)
            .map(|(coding, bytes)| Form::new(digest, Some(*coding), bytes.clone()))
            .collect();
        encoded.sort_by_key(|form| form.bytes.len());
        let unchanging = source.immutable || has_digest(&source.path);
        let cache_control = if unchanging {
            &common.unchanging
        } else {
            &common.changing
        };
        Self {
            plain: Form::new(digest, None, source.content.clone()),
            encoded,
            content_type: content_type(&source.path, &source.content),
            cache_control: cache_control.clone(),
            modified_text: common.modified_text.clone(),
            modified: common.modified,
        }
    }

    /// Returns the content without a coding.
    pub(super) fn content(&self) -> Bytes {
        self.plain.bytes.clone()
    }

    /// Returns the representation that a client prefers.
    pub(super) fn choose(&self, accepted: impl FnOnce() -> AcceptEncoding) -> &Form {
        if self.encoded.is_empty() {
            return &self.plain;
        }
        let coding = accepted().choose(self.encoded.iter().filter_map(|form| form.coding));
        let of = |coding| self.encoded.iter().find(|form| form.coding == Some(coding));
        coding.and_then(of).unwrap_or(&self.plain)
    }

    /// Whether clients get different representations.
    pub(super) fn varies(&self) -> bool {
        !self.encoded.is_empty()
    }

    pub(super) fn validators<'a>(&'a self, form: &'a Form) -> Validators<'a> {
        Validators {
            etag: Some(&form.etag),
            last_modified: Some(self.modified),
            // A release's files never change, and two releases are further apart than a second.
            date: DateStrength::Strong,
        }
    }
}

impl Form {
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
