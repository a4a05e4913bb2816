//! Chunked bodies (RFC 9112 section 7.1): a state machine over their framing.

use super::{TOKEN, VALUE, bad, is};
use crate::failure::Failure;

/// Bytes of all chunk extensions of a body. No client uses extensions; without a bound they would be a body that no
/// quota counts.
const MAX_EXTENSIONS: usize = 4096;
/// Bytes of a body's trailers, which no app sees.
const MAX_TRAILERS: usize = 8192;
/// Trailer lines of a body. hyper has a bound too, but closes the connection without an answer.
const MAX_TRAILER_LINES: u8 = 64;

/// Position of the next byte in a chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChunkedState {
    /// In a chunk's size, after this many digits.
    Size(u8),
    /// In whitespace after a size, which only an extension may follow.
    Blank,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the start of a trailer or of the final CRLF.
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
    End,
}

/// A chunked body as far as it has arrived.
#[derive(Debug)]
pub(crate) struct ChunkedBody {
    state: ChunkedState,
    /// Size of the chunk as far as it is parsed, then the bytes of it that are still to come.
    left: u64,
    extensions: usize,
    trailers: usize,
    trailer_lines: u8,
}

impl ChunkedBody {
    pub(crate) fn new() -> Self {
        Self {
            state: ChunkedState::Size(0),
            left: 0,
            extensions: 0,
            trailers: 0,
            trailer_lines: 0,
        }
    }

    /// Returns whether the body has ended.
    pub(crate) fn is_end(&self) -> bool {
        self.state == ChunkedState::End
    }

    /// Advances through `bytes`, and returns the number of them that belong to this body.
    ///
    /// # Errors
    ///
    /// The number of valid bytes, and the failure of the byte after them.
    pub(crate) fn advance(&mut self, bytes: &[u8]) -> Result<usize, (usize, Failure)> {
        let mut at = 0;
        while at < bytes.len() && self.state != ChunkedState::End {
            if self.state == ChunkedState::Data {
                let rest = bytes.len() - at;
                let taken = usize::try_from(self.left).map_or(rest, |left| left.min(rest));
                self.left -= taken as u64;
                at += taken;
                if self.left == 0 {
                    self.state = ChunkedState::DataCr;
                }
            } else {
                self.state = self.step(bytes[at]).map_err(|failure| (at, failure))?;
                at += 1;
            }
        }
        Ok(at)
    }

    fn step(&mut self, byte: u8) -> Result<ChunkedState, Failure> {
        match (self.state, byte) {
            (ChunkedState::Size(digits), _) if byte.is_ascii_hexdigit() => self.digit(digits, byte),
            (ChunkedState::Size(1..), b'\r') | (ChunkedState::Extension, b'\r') => {
                Ok(ChunkedState::SizeLf)
            }
            (ChunkedState::Size(1..) | ChunkedState::Blank, b';') => Ok(ChunkedState::Extension),
            (ChunkedState::Size(1..) | ChunkedState::Blank, b' ' | b'\t') => {
                self.extension(ChunkedState::Blank)
            }
            (ChunkedState::Extension, _) if is(byte, VALUE) => {
                self.extension(ChunkedState::Extension)
            }
            (ChunkedState::SizeLf, b'\n') if self.left == 0 => Ok(ChunkedState::Trailer),
            (ChunkedState::SizeLf, b'\n') => Ok(ChunkedState::Data),
            (ChunkedState::DataCr, b'\r') => Ok(ChunkedState::DataLf),
            (ChunkedState::DataLf, b'\n') => Ok(ChunkedState::Size(0)),
            (ChunkedState::Trailer, b'\r') => Ok(ChunkedState::LastLf),
            (ChunkedState::LastLf, b'\n') => Ok(ChunkedState::End),
            (ChunkedState::Trailer | ChunkedState::TrailerName, _) if is(byte, TOKEN) => {
                self.trailer(ChunkedState::TrailerName)
            }
            (ChunkedState::TrailerName, b':') => self.trailer(ChunkedState::TrailerValue),
            (ChunkedState::TrailerValue, b'\r') => Ok(ChunkedState::TrailerLf),
            (ChunkedState::TrailerValue, _) if is(byte, VALUE) => {
                self.trailer(ChunkedState::TrailerValue)
            }
            (ChunkedState::TrailerLf, b'\n') => self.trailer_line(),
            _ => Err(bad("The request's body is not in well-formed chunks.")),
        }
    }

    fn digit(&mut self, digits: u8, byte: u8) -> Result<ChunkedState, Failure> {
        let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
        // Fifteen digits leave room to add up lengths without an overflow.
        if digits == 15 {
            return Err(bad("A chunk's size has too many digits."));
        }
        self.left = (if digits == 0 { 0 } else { self.left << 4 }) | digit;
        Ok(ChunkedState::Size(digits + 1))
    }

    fn extension(&mut self, next: ChunkedState) -> Result<ChunkedState, Failure> {
        self.extensions += 1;
        if self.extensions > MAX_EXTENSIONS {
            return Err(bad("The chunk extensions are too long."));
        }
        Ok(next)
    }

    fn trailer_line(&mut self) -> Result<ChunkedState, Failure> {
        self.trailer_lines += 1;
        if self.trailer_lines > MAX_TRAILER_LINES {
            return Err(bad("The body has too many trailers."));
        }
        Ok(ChunkedState::Trailer)
    }

    fn trailer(&mut self, next: ChunkedState) -> Result<ChunkedState, Failure> {
        self.trailers += 1;
        if self.trailers > MAX_TRAILERS {
            return Err(bad("The body's trailers are too long."));
        }
        Ok(next)
    }
}
