//! The guard's framing: where bytes are cut must not matter, and a head that it lets pass is one that the parser behind
//! it ends at the same byte.

#![no_main]

use corundum_router::http1::framing::{MessageFraming, MessagePart};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, bytes) = input;
    let whole = pass(bytes, bytes.len().max(1));
    let cut = pass(bytes, usize::from(piece).max(1));
    assert_eq!(whole, cut, "where bytes are cut must not matter");
    head_agrees(bytes);
});

/// How many bytes pass, and whether the rest is refused.
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
    // Byte by byte, until the first head passes.
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
