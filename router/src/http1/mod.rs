//! A guard in front of the HTTP/1 parser: what is not exactly RFC 9112's form is answered with 400 and a closed
//! connection, never guessed at.
//!
//! A parser that takes a little more than the RFC allows is how one request is smuggled past a proxy inside another. So
//! [`framing`] follows each message's bounds by itself, [`head`] and [`chunked`] hold the rules, and [`validator`] is a stream
//! that lets pass what they accept: heads when they are whole, bodies as they come. In place of a bad head the parser
//! gets a request of ours, which is answered with what is wrong; in place of a bad chunk, bytes that no parser takes. A
//! head that arrives slowly costs its own bytes here and nothing else, and is timed out with an answer (408).

pub(crate) mod chunked;
pub mod framing;
pub(crate) mod head;
mod lingering_close;
pub(crate) mod validator;

use http::StatusCode;

use crate::failure::Failure;

/// Bytes of a whole head: as many as a client needs that has many long cookies, few enough for ten thousand at once.
pub(crate) const MAX_HEAD: usize = 64 << 10;

/// The failure for a message that breaks a rule.
fn bad(why: &'static str) -> Failure {
    Failure::Request(StatusCode::BAD_REQUEST, why)
}

/// What each byte may be part of. One table, so that a check is a load and a test.
static CLASSES: [u8; 256] = classes();

const TOKEN: u8 = 1;
const TARGET: u8 = 2;
const VALUE: u8 = 4;

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        // RFC 9110 section 5.6.2.
        let token = b.is_ascii_alphanumeric()
            || matches!(
                b,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        // A target holds no fragment, no space and nothing beyond ASCII (RFC 9112 section 3.2, RFC 3986).
        let target = b > 0x20 && b < 0x7f && b != b'#';
        // RFC 9110 section 5.5, without the controls that it lets a recipient keep.
        let value = b == b'\t' || (b >= 0x20 && b != 0x7f);
        table[byte] = (token as u8) * TOKEN + (target as u8) * TARGET + (value as u8) * VALUE;
        byte += 1;
    }
    table
}

fn is(byte: u8, class: u8) -> bool {
    CLASSES[usize::from(byte)] & class != 0
}

/// Whether all bytes are of a class. Without a branch a byte, so that the compiler can take many at a time.
fn all(bytes: &[u8], class: u8) -> bool {
    bytes
        .iter()
        .fold(class, |seen, byte| seen & CLASSES[usize::from(*byte)])
        != 0
}
