//! Framing of messages: where each begins and ends on a connection.

use super::chunked::ChunkedBody;
use super::head::{BodyLength, HeadParser};
use crate::failure::Failure;

/// Position in the sequence of messages on a connection.
#[derive(Debug)]
pub struct MessageFraming {
    state: FramingState,
    /// Number of complete heads.
    heads: u64,
    /// Header fields that a head may have.
    fields: usize,
}

#[derive(Debug)]
enum FramingState {
    Head(HeadParser),
    Body(u64),
    Chunked(ChunkedBody),
}

/// A message that must not reach the parser.
#[derive(Debug)]
pub struct RejectedMessage {
    /// Number of valid bytes before the rejected one.
    pub passed: usize,
    /// Number of the request on its connection, from 1.
    pub request: u64,
    /// Failure that the client gets.
    pub failure: Failure,
    /// The part that was rejected; the head of a rejected body has passed.
    pub part: MessagePart,
}

/// Part of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessagePart {
    /// Request line and header fields.
    Head,
    /// Content.
    Body,
}

impl MessageFraming {
    /// Starts at the beginning of a connection whose heads may have this many header fields.
    pub fn new(fields: usize) -> Self {
        Self {
            state: FramingState::Head(HeadParser::default()),
            heads: 0,
            fields,
        }
    }

    /// Returns the number of the request whose head or body comes next, from 1.
    pub fn request(&self) -> u64 {
        match self.state {
            FramingState::Head(_) => self.heads + 1,
            FramingState::Body(_) | FramingState::Chunked(_) => self.heads,
        }
    }

    /// Returns the part of that request that comes next.
    pub fn part(&self) -> MessagePart {
        match self.state {
            FramingState::Head(_) => MessagePart::Head,
            FramingState::Body(_) | FramingState::Chunked(_) => MessagePart::Body,
        }
    }

    /// Returns the number of `bytes` that may pass. The rest is the beginning of a head, which the caller passes in
    /// again together with the bytes after it.
    ///
    /// # Errors
    ///
    /// The rejected message, and the number of bytes before it that may pass.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<usize, RejectedMessage> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let part = self.part();
            let request = self.request();
            let refused = |passed, failure| RejectedMessage {
                passed,
                request,
                failure,
                part,
            };
            match &mut self.state {
                FramingState::Head(head) => {
                    let parsed = head.parse(rest, self.fields);
                    let Some((length, body)) = parsed.map_err(|failure| refused(at, failure))?
                    else {
                        break;
                    };
                    at += length;
                    self.heads += 1;
                    self.state = match body {
                        BodyLength::Known(0) => FramingState::Head(HeadParser::default()),
                        BodyLength::Known(length) => FramingState::Body(length),
                        BodyLength::Chunked => FramingState::Chunked(ChunkedBody::new()),
                    };
                }
                FramingState::Body(left) => {
                    let taken = usize::try_from(*left).map_or(rest.len(), |l| l.min(rest.len()));
                    at += taken;
                    *left -= taken as u64;
                    if *left == 0 {
                        self.state = FramingState::Head(HeadParser::default());
                    }
                }
                FramingState::Chunked(chunked) => {
                    let advanced = chunked.advance(rest);
                    at += advanced.map_err(|(good, failure)| refused(at + good, failure))?;
                    if chunked.is_end() {
                        self.state = FramingState::Head(HeadParser::default());
                    }
                }
            }
        }
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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

    /// Valid and invalid parts of messages.
    fn messages() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            Just("GET / HTTP/1.1\r\nHost: a\r\n"),
            Just("POST / HTTP/1.1\r\nHost: a\r\n"),
            Just("Content-Length: 3\r\n"),
            Just("Transfer-Encoding: chunked\r\n"),
            Just("\r\n"),
            Just("abc"),
            Just("3\r\nabc\r\n"),
            Just("3;x=y\r\nabc\r\n"),
            Just("0\r\n\r\n"),
            Just("0\r\nX: y\r\n\r\n"),
            Just("\n"),
            Just("\r"),
            Just(" "),
            Just("\0"),
        ];
        proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat().into_bytes())
    }

    proptest! {
        #[test]
        fn framing_is_independent_of_read_boundaries(bytes in messages(), piece in 1..40usize) {
            prop_assert_eq!(pass(&bytes, usize::MAX), pass(&bytes, piece));
        }
    }

    #[test]
    fn pipelined_messages_pass() {
        let head = "POST / HTTP/1.1\r\nHost: a\r\n";
        let all = format!(
            "{head}Content-Length: 3\r\n\r\nabc{head}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET"
        );
        assert_eq!(pass(all.as_bytes(), usize::MAX), (all.len() - 3, false));
    }
}
