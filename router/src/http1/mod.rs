//! Validation of HTTP/1 in front of the parser: a request that is not exactly in RFC 9112's form gets a 400 and a
//! closed connection.
//!
//! Requests are smuggled through a proxy when its parser accepts more than the RFC allows. Therefore [`framing`] tracks
//! the bounds of each message independently of hyper, [`head`] and [`chunked`] hold the rules, and [`validator`] is a
//! stream that passes on what they accept: complete heads, and bodies as they arrive. In place of an invalid head the
//! parser gets a placeholder request, which the service answers with the failure; in place of an invalid chunk, bytes
//! that no parser accepts. A head that arrives slowly occupies its own bytes and nothing else, and times out with an
//! answer (408).

pub(crate) mod chunked;
pub mod framing;
pub(crate) mod head;
mod lingering_close;
pub(crate) mod validator;

use http::StatusCode;

use crate::failure::Failure;

/// Bytes of a complete head: enough for many long cookies, few enough for ten thousand heads at once.
pub(crate) const MAX_HEAD: usize = 64 << 10;

/// Bytes of a request line (Heroku's limit).
pub(crate) const MAX_TARGET: usize = 8192;
/// Bytes of a header line (Heroku's limit).
pub(crate) const MAX_HEADER: usize = 8192;

/// Returns the failure of a message that breaks a rule (400).
fn bad(why: &'static str) -> Failure {
    Failure::Request(StatusCode::BAD_REQUEST, why)
}

/// Character classes of each byte, in one table, so that a check is one load and one test.
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
        // A target contains no fragment, no space and only ASCII (RFC 9112 section 3.2, RFC 3986).
        let target = b > 0x20 && b < 0x7f && b != b'#';
        // RFC 9110 section 5.5, without the control characters that it lets a recipient keep.
        let value = b == b'\t' || (b >= 0x20 && b != 0x7f);
        table[byte] = (token as u8) * TOKEN + (target as u8) * TARGET + (value as u8) * VALUE;
        byte += 1;
    }
    table
}

fn is(byte: u8, class: u8) -> bool {
    CLASSES[usize::from(byte)] & class != 0
}

/// Returns whether a request's target has only bytes that a target may have.
pub(crate) fn is_target(bytes: &[u8]) -> bool {
    all(bytes, TARGET)
}

/// Returns whether all bytes are of a class. Without a branch for each byte, so that the compiler can vectorise it.
fn all(bytes: &[u8], class: u8) -> bool {
    bytes
        .iter()
        .fold(class, |seen, byte| seen & CLASSES[usize::from(*byte)])
        != 0
}
