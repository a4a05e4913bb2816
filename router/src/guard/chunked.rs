//! A body in chunks (RFC 9112 section 7.1), byte by byte but for the data.

use super::{TOKEN, VALUE, bad, is};
use crate::failure::Failure;

/// Bytes of all chunk extensions of a body. Nobody uses them; without a bound they are a body that no quota counts.
const MAX_EXTENSIONS: usize = 4096;
/// Bytes of a body's trailers, which no app sees.
const MAX_TRAILERS: usize = 8192;
/// Trailers of a body. The parser behind has a bound as well, but not an answer.
const MAX_TRAILER_LINES: u8 = 64;

/// Where in a chunked body the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At a chunk's size; how many digits there were.
    Size(u8),
    /// Blanks after a size, which are for an extension to follow.
    Blank,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the start of a trailer or of the last line.
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
    End,
}

/// A chunked body as far as it has come.
#[derive(Debug)]
pub(crate) struct Chunked {
    state: State,
    /// The chunk's size as far as it is known, then what is left of the chunk.
    left: u64,
    extensions: usize,
    trailers: usize,
    trailer_lines: u8,
}

impl Chunked {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Size(0),
            left: 0,
            extensions: 0,
            trailers: 0,
            trailer_lines: 0,
        }
    }

    /// Whether the body has ended.
    pub(crate) fn is_end(&self) -> bool {
        self.state == State::End
    }

    /// Goes on through `bytes`; returns how many of them are of this body.
    ///
    /// # Errors
    ///
    /// How many are good, and what is wrong with the next.
    pub(crate) fn advance(&mut self, bytes: &[u8]) -> Result<usize, (usize, Failure)> {
        let mut at = 0;
        while at < bytes.len() && self.state != State::End {
            if self.state == State::Data {
                let rest = bytes.len() - at;
                let taken = usize::try_from(self.left).map_or(rest, |left| left.min(rest));
                self.left -= taken as u64;
                at += taken;
                if self.left == 0 {
                    self.state = State::DataCr;
                }
            } else {
                self.state = self.step(bytes[at]).map_err(|failure| (at, failure))?;
                at += 1;
            }
        }
        Ok(at)
    }

    fn step(&mut self, byte: u8) -> Result<State, Failure> {
        match (self.state, byte) {
            (State::Size(digits), _) if byte.is_ascii_hexdigit() => self.digit(digits, byte),
            (State::Size(1..), b'\r') | (State::Extension, b'\r') => Ok(State::SizeLf),
            (State::Size(1..) | State::Blank, b';') => Ok(State::Extension),
            (State::Size(1..) | State::Blank, b' ' | b'\t') => self.extension(State::Blank),
            (State::Extension, _) if is(byte, VALUE) => self.extension(State::Extension),
            (State::SizeLf, b'\n') if self.left == 0 => Ok(State::Trailer),
            (State::SizeLf, b'\n') => Ok(State::Data),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::Size(0)),
            (State::Trailer, b'\r') => Ok(State::LastLf),
            (State::LastLf, b'\n') => Ok(State::End),
            (State::Trailer | State::TrailerName, _) if is(byte, TOKEN) => {
                self.trailer(State::TrailerName)
            }
            (State::TrailerName, b':') => self.trailer(State::TrailerValue),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerValue, _) if is(byte, VALUE) => self.trailer(State::TrailerValue),
            (State::TrailerLf, b'\n') => self.trailer_line(),
            _ => Err(bad("The request's body is not in well-formed chunks.")),
        }
    }

    fn digit(&mut self, digits: u8, byte: u8) -> Result<State, Failure> {
        let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
        // Fifteen digits leave room to add lengths up without an overflow.
        if digits == 15 {
            return Err(bad("A chunk's size has too many digits."));
        }
        self.left = (if digits == 0 { 0 } else { self.left << 4 }) | digit;
        Ok(State::Size(digits + 1))
    }

    fn extension(&mut self, next: State) -> Result<State, Failure> {
        self.extensions += 1;
        if self.extensions > MAX_EXTENSIONS {
            return Err(bad("The chunk extensions are too long."));
        }
        Ok(next)
    }

    fn trailer_line(&mut self) -> Result<State, Failure> {
        self.trailer_lines += 1;
        if self.trailer_lines > MAX_TRAILER_LINES {
            return Err(bad("The body has too many trailers."));
        }
        Ok(State::Trailer)
    }

    fn trailer(&mut self, next: State) -> Result<State, Failure> {
        self.trailers += 1;
        if self.trailers > MAX_TRAILERS {
            return Err(bad("The body's trailers are too long."));
        }
        Ok(next)
    }
}
