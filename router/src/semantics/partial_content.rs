//! Responses to a request for ranges: 206 with one or several parts, and 416 (RFC 9110 sections 15.3.7 and 15.5.17).

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_RANGE, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};

/// Makes the headers of a complete response those of a 206 with one range, and returns its body. The body shares the
/// memory of `whole`.
pub(crate) fn single(headers: &mut HeaderMap, whole: &Bytes, range: &Range<u64>) -> Bytes {
    insert(headers, &content_range(range, whole.len()));
    slice(whole, range)
}

/// Makes the headers of a complete response those of a 206 with `multipart/byteranges` (section 14.6), and returns its
/// body.
pub(crate) fn multipart(headers: &mut HeaderMap, whole: &Bytes, ranges: &[Range<u64>]) -> Bytes {
    let boundary = uuid::Uuid::new_v4().simple().to_string();
    let kind = headers.remove(CONTENT_TYPE);
    let multipart = format!("multipart/byteranges; boundary={boundary}");
    if let Ok(multipart) = HeaderValue::from_str(&multipart) {
        headers.insert(CONTENT_TYPE, multipart);
    }
    let mut body = BytesMut::new();
    for range in ranges {
        body.put_slice(format!("\r\n--{boundary}\r\n").as_bytes());
        if let Some(kind) = &kind {
            body.put_slice(b"Content-Type: ");
            body.put_slice(kind.as_bytes());
            body.put_slice(b"\r\n");
        }
        let content_range = content_range(range, whole.len());
        body.put_slice(format!("Content-Range: {content_range}\r\n\r\n").as_bytes());
        body.put_slice(&slice(whole, range));
    }
    body.put_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    body.freeze()
}

/// Adds the `Content-Range` of a 416, which tells the client how long the representation is.
pub(crate) fn unsatisfiable(headers: &mut HeaderMap, length: usize) {
    insert(headers, &format!("bytes */{length}"));
}

fn content_range(range: &Range<u64>, length: usize) -> String {
    format!("bytes {}-{}/{length}", range.start, range.end - 1)
}

fn insert(headers: &mut HeaderMap, content_range: &str) {
    if let Ok(value) = HeaderValue::from_str(content_range) {
        headers.insert(CONTENT_RANGE, value);
    }
}

/// Cuts a range out. Ranges end within the body, whose length is a `usize`.
fn slice(whole: &Bytes, range: &Range<u64>) -> Bytes {
    whole.slice(range.start as usize..range.end as usize)
}
