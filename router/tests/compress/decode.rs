//! What a client makes of an answer.

use std::io::Read;

use super::rig::Got;

/// A text of so many bytes, no line of which is like another.
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

/// All that can be decoded of `bytes`, in any state.
pub fn decoded(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let _ = match coding {
        "gzip" => flate2::read::GzDecoder::new(bytes).read_to_end(&mut out),
        "br" => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut out),
        "zstd" => zstd::stream::read::Decoder::new(bytes)
            .unwrap()
            .read_to_end(&mut out),
        "" => bytes.to_vec().as_slice().read_to_end(&mut out),
        other => panic!("nobody asked for {other:?}"),
    };
    out
}

impl Got {
    /// How it is encoded.
    pub fn coding(&self) -> &str {
        self.header("content-encoding")
    }

    /// Its text, decoded.
    pub fn text(&self) -> String {
        String::from_utf8(decoded(self.coding(), &self.bytes)).unwrap()
    }
}
