//! HPACK: RFC 7541.

use crate::case::{COMPRESSION, Http2Case, ends, serves};
use crate::frame::*;

/// Encodes a GET with `bytes` after its header block.
fn append(bytes: &[u8]) -> Vec<u8> {
    let all = [&block(&pseudo("GET", "/"))[..], bytes].concat();
    frame(HEADERS, END_STREAM | END_HEADERS, 1, &all)
}

/// Encodes a GET with `bytes` before its header block.
fn prepend(bytes: &[u8]) -> Vec<u8> {
    let all = [bytes, &block(&pseudo("GET", "/"))[..]].concat();
    frame(HEADERS, END_STREAM | END_HEADERS, 1, &all)
}

pub(crate) fn cases() -> Vec<Http2Case> {
    let bad = |name, section, send: &[u8]| ends(name, section, &[send], &[COMPRESSION]);
    vec![
        serves(
            "indexed fields",
            "7541 §6.1",
            &[&frame(
                HEADERS,
                END_STREAM | END_HEADERS,
                1,
                b"\x82\x86\x84\x01\x0bapp.example",
            )],
        ),
        serves(
            "Huffman-coded text",
            "7541 §5.2",
            &[&append(b"\x00\x01x\x83\x1c\x64\x5f")],
        ),
        serves(
            "field that enters the table",
            "7541 §6.2.1",
            &[&append(b"\x40\x01x\x01y\xbe")],
        ),
        serves("table made smaller", "7541 §6.3", &[&prepend(b"\x20")]),
        serves(
            "table made smaller and larger",
            "7541 §4.2",
            &[&prepend(b"\x20\x3f\xe1\x1f")],
        ),
        bad("index 0", "7541 §6.1", &append(b"\x80")),
        bad("index after the table", "7541 §2.3.3", &append(b"\xff\x20")),
        bad(
            "name's index after the table",
            "7541 §2.3.3",
            &append(b"\x7f\x40\x01x"),
        ),
        bad(
            "table made larger than allowed",
            "7541 §6.3",
            &prepend(b"\x3f\xe1\xff\x03"),
        ),
        bad(
            "table's size at the end of a block",
            "7541 §4.2",
            &append(b"\x20"),
        ),
        bad(
            "Huffman-coded text with a byte of padding",
            "7541 §5.2",
            &append(b"\x00\x01x\x84\x1c\x64\x5f\xff"),
        ),
        bad(
            "Huffman-coded text padded with zeros",
            "7541 §5.2",
            &append(b"\x00\x01x\x81\x18"),
        ),
        bad(
            "Huffman-coded text with its end's symbol",
            "7541 §5.2",
            &append(b"\x00\x01x\x84\xff\xff\xff\xff"),
        ),
        bad(
            "text longer than its block",
            "7541 §5.2",
            &append(b"\x00\x01x\x7f\x00x"),
        ),
        bad(
            "number without an end",
            "7541 §5.1",
            &append(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
        ),
        bad("block that is cut off", "7541 §6", &append(b"\x00\x05x")),
    ]
}
