//! HPACK: RFC 7541.

use crate::case::{COMPRESSION, Case, ends, serves};
use crate::frame::*;

/// A HEADERS frame with this block behind a request's.
fn behind(bytes: &[u8]) -> Vec<u8> {
    let all = [&block(&pseudo("GET", "/"))[..], bytes].concat();
    frame(HEADERS, END_STREAM | END_HEADERS, 1, &all)
}

/// And with it in front.
fn before(bytes: &[u8]) -> Vec<u8> {
    let all = [bytes, &block(&pseudo("GET", "/"))[..]].concat();
    frame(HEADERS, END_STREAM | END_HEADERS, 1, &all)
}

pub(crate) fn cases() -> Vec<Case> {
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
            "coded text",
            "7541 §5.2",
            &[&behind(b"\x00\x01x\x83\x1c\x64\x5f")],
        ),
        serves(
            "field that is remembered",
            "7541 §6.2.1",
            &[&behind(b"\x40\x01x\x01y\xbe")],
        ),
        serves("table made smaller", "7541 §6.3", &[&before(b"\x20")]),
        serves(
            "table made smaller and larger",
            "7541 §4.2",
            &[&before(b"\x20\x3f\xe1\x1f")],
        ),
        bad("index 0", "7541 §6.1", &behind(b"\x80")),
        bad(
            "index behind the table",
            "7541 §2.3.3",
            &behind(b"\xff\x20"),
        ),
        bad(
            "name's index behind the table",
            "7541 §2.3.3",
            &behind(b"\x7f\x40\x01x"),
        ),
        bad(
            "table made larger than allowed",
            "7541 §6.3",
            &before(b"\x3f\xe1\xff\x03"),
        ),
        bad(
            "table's size at the end of a block",
            "7541 §4.2",
            &behind(b"\x20"),
        ),
        bad(
            "coded text with a byte of padding",
            "7541 §5.2",
            &behind(b"\x00\x01x\x84\x1c\x64\x5f\xff"),
        ),
        bad(
            "coded text padded with zeros",
            "7541 §5.2",
            &behind(b"\x00\x01x\x81\x18"),
        ),
        bad(
            "coded text with its end's symbol",
            "7541 §5.2",
            &behind(b"\x00\x01x\x84\xff\xff\xff\xff"),
        ),
        bad(
            "text longer than its block",
            "7541 §5.2",
            &behind(b"\x00\x01x\x7f\x00x"),
        ),
        bad(
            "number without an end",
            "7541 §5.1",
            &behind(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
        ),
        bad("block that is cut off", "7541 §6", &behind(b"\x00\x05x")),
    ]
}
