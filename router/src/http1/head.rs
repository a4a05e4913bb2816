//! Validation of a request's head, line by line (RFC 9112 sections 2 to 6).

use http::StatusCode;
use memchr::memchr;

use super::{MAX_HEAD, MAX_HEADER, MAX_TARGET, TARGET, TOKEN, VALUE, all, bad, is};
use crate::failure::Failure;

/// Blank lines before a request line that are skipped. RFC 9112 section 2.2 asks for at least one.
const BLANK_LINES: u8 = 4;

/// Length of a message's body (RFC 9112 section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyLength {
    /// Content-Length in bytes.
    Known(u64),
    /// Chunked transfer coding.
    Chunked,
}

/// A head as far as it has been validated. Each call gets the head from its first byte, and validates new lines only.
#[derive(Debug, Default)]
pub(crate) struct HeadParser {
    /// Start of the first line that is not validated yet.
    line: usize,
    /// Start of the bytes that have not been searched for the line's end.
    searched: usize,
    blank: u8,
    version: Option<MinorVersion>,
    fields: usize,
    content_length: Option<u64>,
    chunked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MinorVersion {
    Zero,
    One,
}

impl HeadParser {
    /// Validates the head in `bytes`, which may have `fields` header fields. Returns its length and its body's, or
    /// `Ok(None)` if more bytes are needed.
    ///
    /// # Errors
    ///
    /// The failure that the client gets if `bytes` cannot become a valid head.
    pub(crate) fn parse(
        &mut self,
        bytes: &[u8],
        fields: usize,
    ) -> Result<Option<(usize, BodyLength)>, Failure> {
        loop {
            let from = self.searched.max(self.line);
            let Some(found) = memchr(b'\n', &bytes[from..]) else {
                self.searched = bytes.len();
                return self.unfinished(&bytes[self.line..], bytes.len());
            };
            let end = from + found;
            let line = &bytes[self.line..end];
            let Some((b'\r', line)) = line.split_last() else {
                return Err(bad("A line does not end in CRLF."));
            };
            self.line = end + 1;
            if self.line > MAX_HEAD {
                return Err(head_too_large());
            }
            if self.version.is_none() {
                self.first_line(line)?;
            } else if line.is_empty() {
                return Ok(Some((self.line, self.body()?)));
            } else {
                self.fields += 1;
                if self.fields > fields {
                    return Err(too_large("The request has more headers than are taken."));
                }
                self.field(line)?;
            }
        }
    }

    /// Rejects a line at once that cannot become valid, whatever follows.
    fn unfinished(&self, line: &[u8], head: usize) -> Result<Option<(usize, BodyLength)>, Failure> {
        let stray = |first: &u8| !is(*first, TOKEN) && *first != b'\r';
        if self.version.is_none() {
            if line.first().is_some_and(stray) {
                return Err(bad("This is no HTTP request."));
            }
            if line.len() > MAX_TARGET + 1 {
                return Err(target_too_long());
            }
        } else if line.len() > MAX_HEADER + 1 {
            return Err(header_too_long());
        }
        if head > MAX_HEAD {
            return Err(head_too_large());
        }
        Ok(None)
    }

    /// Validates `method SP target SP version` in its only spelling (RFC 9112 section 3).
    fn first_line(&mut self, line: &[u8]) -> Result<(), Failure> {
        if line.is_empty() {
            self.blank += 1;
            return if self.blank > BLANK_LINES {
                Err(bad("Too many blank lines come before the request."))
            } else {
                Ok(())
            };
        }
        if line.len() > MAX_TARGET {
            return Err(target_too_long());
        }
        let malformed = || bad("The request line is not: METHOD, space, target, space, HTTP/1.1");
        let (method, rest) = split(line, b' ').ok_or_else(malformed)?;
        let (target, version) = split(rest, b' ').ok_or_else(malformed)?;
        if method.is_empty() || !all(method, TOKEN) {
            return Err(bad("The request's method is no token."));
        }
        self.version = Some(minor(version)?);
        check_target(method, target)
    }

    /// Validates `name: value` (RFC 9112 section 5).
    fn field(&mut self, line: &[u8]) -> Result<(), Failure> {
        if line.len() > MAX_HEADER {
            return Err(header_too_long());
        }
        if matches!(line[0], b' ' | b'\t') {
            return Err(bad("A header is folded over lines."));
        }
        let (name, value) = split(line, b':').ok_or_else(|| bad("A header line has no colon."))?;
        if name.is_empty() || !all(name, TOKEN) {
            return Err(bad("A header's name is no token."));
        }
        if !all(value, VALUE) {
            return Err(bad("A header's value holds a control character."));
        }
        match name.len() {
            14 if name.eq_ignore_ascii_case(b"content-length") => self.content_length(value),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.transfer_encoding(value),
            _ => Ok(()),
        }
    }

    /// Accepts one number. The RFC also allows lists of equal numbers, which only attackers send.
    fn content_length(&mut self, value: &[u8]) -> Result<(), Failure> {
        if self.content_length.is_some() {
            return Err(bad("Content-Length comes more than once."));
        }
        let digits = trimmed(value);
        // Nineteen digits fit into 64 bits.
        let good = (1..=19).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
        let number = std::str::from_utf8(digits).ok().filter(|_| good);
        let length = number.and_then(|digits| digits.parse().ok());
        self.content_length = Some(length.ok_or_else(|| bad("Content-Length is no number."))?);
        Ok(())
    }

    /// Accepts `chunked` alone (RFC 9112 section 6.1).
    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Failure> {
        if self.chunked {
            return Err(bad("Transfer-Encoding comes more than once."));
        }
        let value = trimmed(value);
        let last = value.rsplit(|b| *b == b',').next().unwrap_or_default();
        if value.eq_ignore_ascii_case(b"chunked") {
            self.chunked = true;
            Ok(())
        } else if !trimmed(last).eq_ignore_ascii_case(b"chunked") || twice(value) {
            Err(bad("The last Transfer-Encoding is not chunked, once."))
        } else {
            Err(Failure::Request(
                StatusCode::NOT_IMPLEMENTED,
                "The only Transfer-Encoding that is known is chunked.",
            ))
        }
    }

    /// Determines the body's length (RFC 9112 section 6.3), and rejects every ambiguity that the RFC allows to reject.
    fn body(&self) -> Result<BodyLength, Failure> {
        match (self.chunked, self.content_length) {
            (true, Some(_)) => Err(bad(
                "The request has both Content-Length and Transfer-Encoding.",
            )),
            (true, None) if self.version == Some(MinorVersion::Zero) => {
                Err(bad("HTTP/1.0 has no Transfer-Encoding."))
            }
            (true, None) => Ok(BodyLength::Chunked),
            (false, length) => Ok(BodyLength::Known(length.unwrap_or(0))),
        }
    }
}

fn twice(codings: &[u8]) -> bool {
    let chunked = |coding: &&[u8]| trimmed(coding).eq_ignore_ascii_case(b"chunked");
    codings.split(|b| *b == b',').filter(chunked).count() > 1
}

/// Parses the version, which is case-sensitive (RFC 9112 section 2.3).
fn minor(version: &[u8]) -> Result<MinorVersion, Failure> {
    match version {
        b"HTTP/1.1" => Ok(MinorVersion::One),
        b"HTTP/1.0" => Ok(MinorVersion::Zero),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(Failure::Request(
                StatusCode::HTTP_VERSION_NOT_SUPPORTED,
                "Only HTTP/1.1, HTTP/1.0 and HTTP/2 are spoken here.",
            ))
        }
        _ => Err(bad("The request line does not end in HTTP/1.1.")),
    }
}

/// Validates the form of the target: four exist, each for certain methods (RFC 9112 section 3.2).
fn check_target(method: &[u8], target: &[u8]) -> Result<(), Failure> {
    if target.is_empty() || !all(target, TARGET) {
        return Err(bad("The request's target holds a byte that no target has."));
    }
    let is_form = match target {
        _ if method == b"CONNECT" => !target.contains(&b'/'),
        [b'/', ..] => true,
        b"*" => method == b"OPTIONS",
        _ => starts(target, b"http://") || starts(target, b"https://"),
    };
    if is_form {
        Ok(())
    } else {
        Err(bad("The request's target is neither a path nor a URL."))
    }
}

fn starts(target: &[u8], scheme: &[u8]) -> bool {
    target
        .get(..scheme.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
}

fn split(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr(at, bytes)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

fn trimmed(value: &[u8]) -> &[u8] {
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let start = value.iter().position(|b| !blank(b)).unwrap_or(value.len());
    let end = value
        .iter()
        .rposition(|b| !blank(b))
        .map_or(start, |last| last + 1);
    &value[start..end]
}

fn target_too_long() -> Failure {
    Failure::Request(
        StatusCode::URI_TOO_LONG,
        "The request line is longer than 8192 bytes.",
    )
}

fn header_too_long() -> Failure {
    too_large("A header line is longer than 8192 bytes.")
}

fn head_too_large() -> Failure {
    too_large("The request's headers are more than 64 KiB.")
}

fn too_large(why: &'static str) -> Failure {
    Failure::Request(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, why)
}
