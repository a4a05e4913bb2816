//! What a stored response is found by.

use http::HeaderMap;
use http::header::HeaderName;

use super::vary;

/// The bytes of a key.
pub(crate) type Key = std::sync::Arc<[u8]>;

/// What tells an app's releases apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edition {
    /// Their number.
    Release(u64),
    /// What is the same for releases of the same code and config.
    Content(u64),
}

/// What tells resources apart: two that differ in any of these share nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resource<'a> {
    /// The app.
    pub app: &'a str,
    /// Its release's number, or what stands for all releases of the same code and config.
    pub edition: Edition,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Host and port as the app sees them, in lower case.
    pub authority: &'a [u8],
    /// Path and query as they came: what the app may tell apart is not one.
    pub target: &'a [u8],
}

impl Resource<'_> {
    /// Writes the primary key. Every field has its length in front, so that no two resources have the same bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        field(out, self.app.as_bytes());
        let (kind, number) = match self.edition {
            Edition::Release(number) => (0, number),
            Edition::Content(number) => (1, number),
        };
        out.push(kind);
        out.extend_from_slice(&number.to_le_bytes());
        field(out, self.scheme.as_bytes());
        field(out, self.authority);
        field(out, self.target);
    }
}

/// Adds a request's part of a variant's key: the headers that the response was chosen by (RFC 9111 section 4.1).
pub fn encode_variant(out: &mut Vec<u8>, names: &[HeaderName], request: &HeaderMap) {
    for name in names {
        field(out, name.as_str().as_bytes());
        // A header that is not there is another thing than an empty one.
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

/// Leaves room for a length, and says where.
fn begin(out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&[0; 4]);
    out.len()
}

/// Fills in the length of what came since `start`.
fn end(out: &mut [u8], start: usize) {
    // A request's head is some kilobytes at most.
    let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    out[start - 4..start].copy_from_slice(&length.to_le_bytes());
}
