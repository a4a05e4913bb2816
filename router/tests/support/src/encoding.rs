//! Response bodies with a content coding.

use std::io::Read;

use crate::response::ClientResponse;

/// Makes `bytes` bytes of HTML that compress well; no two lines are the same.
pub fn text(bytes: usize) -> String {
    let mut text = String::new();
    let mut line = 0;
    while text.len() < bytes {
        text.push_str(&format!("<li class=\"row\">{line} of many</li>\n"));
        line += 1;
    }
    text.truncate(bytes);
    text
}

/// Decodes as much of a body as has arrived.
///
/// # Panics
///
/// Panics if the router does not know the coding.
pub fn decoded(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    // An error means that the body is incomplete: the decoded part is the result.
    let _ = match coding {
        "gzip" => flate2::read::GzDecoder::new(bytes).read_to_end(&mut out),
        "br" => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut out),
        "zstd" => zstd::stream::read::Decoder::new(bytes)
            .unwrap()
            .read_to_end(&mut out),
        "" => bytes.to_vec().as_slice().read_to_end(&mut out),
        other => panic!("unknown content coding {other:?}"),
    };
    out
}

impl ClientResponse {
    /// Returns the content coding, empty without one.
    pub fn coding(&self) -> &str {
        self.header("content-encoding")
    }

    /// Returns the decoded body as text.
    pub fn text(&self) -> String {
        String::from_utf8(decoded(self.coding(), &self.bytes)).unwrap()
    }
}
