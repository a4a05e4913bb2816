//! Framing is independent of read boundaries, and a head that the validator passes ends at the same byte for the parser
//! behind it.

#![no_main]

use corundum_router::http1::framing::{MessageFraming, MessagePart};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, bytes) = input;
    let whole = pass(bytes, bytes.len().max(1));
    let cut = pass(bytes, usize::from(piece).max(1));
    assert_eq!(whole, cut, "framing depends on read boundaries");
    head_agrees(bytes);
});

/// Returns the number of bytes that pass, and whether the rest is rejected.
fn pass(bytes: &[u8], piece: usize) -> (usize, bool) {
    let mut framing = MessageFraming::new(100);
    let (mut passed, mut held) = (0, Vec::new());
    for piece in bytes.chunks(piece) {
        held.extend_from_slice(piece);
        match framing.advance(&held) {
            Ok(length) => {
                passed += length;
                held.drain(..length);
            }
            Err(refused) => return (passed + refused.passed, true),
        }
    }
    (passed, false)
}

fn head_agrees(bytes: &[u8]) {
    let mut framing = MessageFraming::new(100);
    // Feeds the head byte by byte until it passes.
    for end in 1..=bytes.len().min(4096) {
        match framing.advance(&bytes[..end]) {
            Ok(0) => {}
            Ok(length) => {
                let mut headers = [httparse::EMPTY_HEADER; 100];
                let mut request = httparse::Request::new(&mut headers);
                let parsed = request.parse(&bytes[..length]);
                assert_eq!(parsed, Ok(httparse::Status::Complete(length)));
                return;
            }
            Err(refused) => {
                assert_eq!(refused.part, MessagePart::Head);
                return;
            }
        }
    }
}
