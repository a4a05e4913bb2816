//! Keys of stored responses.

use http::HeaderMap;
use http::header::HeaderName;

use super::vary;

/// Bytes of a key.
pub(crate) type Key = std::sync::Arc<[u8]>;

/// Version of an app's code and config. Responses of different versions share nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentVersion {
    /// Number of a release.
    Release(u64),
    /// Hash that is the same for releases of the same code and config, so that a rollback finds its responses again.
    Content(u64),
}

/// Identity of a resource: two that differ in any field share no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resource<'a> {
    /// The app.
    pub app: &'a str,
    /// Version of its code and config.
    pub version: ContentVersion,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Host and port as the app sees them, in lower case.
    pub authority: &'a [u8],
    /// Path and query, unchanged: the app may distinguish spellings that RFC 3986 calls equivalent.
    pub target: &'a [u8],
}

impl Resource<'_> {
    /// Writes the primary key. Each field's length precedes it, so that no two resources have the same bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        field(out, self.app.as_bytes());
        let (kind, number) = match self.version {
            ContentVersion::Release(number) => (0, number),
            ContentVersion::Content(number) => (1, number),
        };
        out.push(kind);
        out.extend_from_slice(&number.to_le_bytes());
        field(out, self.scheme.as_bytes());
        field(out, self.authority);
        field(out, self.target);
    }
}

/// Appends a request's part of a variant's key: the headers that `Vary` names (RFC 9111 section 4.1).
pub fn encode_variant(out: &mut Vec<u8>, names: &[HeaderName], request: &HeaderMap) {
    for name in names {
        field(out, name.as_str().as_bytes());
        // An absent header and an empty one are different.
        out.push(u8::from(request.contains_key(name)));
        let start = begin(out);
        vary::normalise(name, request, out);
        end(out, start);
    }
}

fn field(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = begin(out);
    out.extend_from_slice(bytes);
    end(out, start);
}

/// Reserves space for a length and returns the position after it.
fn begin(out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&[0; 4]);
    out.len()
}

/// Fills in the length of the bytes since `start`.
fn end(out: &mut [u8], start: usize) {
    // The router limits a request's head to far less than 4 GiB.
    let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    out[start - 4..start].copy_from_slice(&length.to_le_bytes());
}
