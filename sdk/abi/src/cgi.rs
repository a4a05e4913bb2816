//! Parser of a dyno's response head in CGI format (RFC 3875 section 6).
//!
//! The host reads the head from the start of the dyno's output; the rest of the output is the body.

use bytes::{Buf, Bytes, BytesMut};

/// Maximum size of a head in bytes. The router rejects larger heads anyway, and the host must not buffer without a
/// bound.
pub const MAX_HEAD: usize = 256 * 1024;
/// Maximum number of header lines, for the same reason.
pub const MAX_HEADERS: usize = 1000;

/// A response's status and its header lines, in the order and spelling of the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseHead {
    /// The status code, 100 to 999.
    pub status: u16,
    /// Names and values; a name may occur more than once.
    pub headers: Vec<(Bytes, Bytes)>,
}

/// Output of a guest that is not a CGI response head. The guest is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResponseHeadError {
    /// A line has no colon, or its name is not a token. Holds the line's first bytes.
    #[error("not a header line: {0:?}")]
    Line(String),
    /// `Status:` is missing, occurs twice, or is not a number from 100 to 999.
    #[error("no valid Status line: {0:?}")]
    Status(String),
    /// The head has more than [`MAX_HEAD`] bytes or [`MAX_HEADERS`] lines.
    #[error("the response head is too large")]
    TooLarge,
}

/// Removes a complete head from the start of `buffer`; returns `Ok(None)` while the head is incomplete.
///
/// Afterwards `buffer` holds the start of the body. Lines end in LF or CRLF.
///
/// # Errors
///
/// Returns [`ResponseHeadError`] as soon as the buffered bytes cannot be the start of a valid head.
pub fn take_head(buffer: &mut BytesMut) -> Result<Option<ResponseHead>, ResponseHeadError> {
    let Some((lines_end, body_start)) = end_of_head(buffer) else {
        return if buffer.len() > MAX_HEAD {
            Err(ResponseHeadError::TooLarge)
        } else {
            Ok(None)
        };
    };
    if body_start > MAX_HEAD {
        return Err(ResponseHeadError::TooLarge);
    }
    let mut head = buffer.split_to(body_start).freeze();
    head.truncate(lines_end);
    let mut status = None;
    let mut headers = Vec::with_capacity(8);
    while !head.is_empty() {
        let end = head.iter().position(|b| *b == b'\n').unwrap_or(head.len());
        let mut line = head.split_to(end);
        if !head.is_empty() {
            head.advance(1);
        }
        if line.last() == Some(&b'\r') {
            line.truncate(line.len() - 1);
        }
        let colon = line
            .iter()
            .position(|b| *b == b':')
            .ok_or_else(|| ResponseHeadError::Line(excerpt(&line)))?;
        if colon == 0 || !line[..colon].iter().all(|b| is_token(*b)) {
            return Err(ResponseHeadError::Line(excerpt(&line)));
        }
        let name = line.slice(..colon);
        let value = trimmed(&line, colon + 1);
        if name.eq_ignore_ascii_case(b"status") {
            let code = status_code(&value).filter(|_| status.is_none());
            status = Some(code.ok_or_else(|| ResponseHeadError::Status(excerpt(&line)))?);
        } else {
            if headers.len() == MAX_HEADERS {
                return Err(ResponseHeadError::TooLarge);
            }
            headers.push((name, value));
        }
    }
    let status = status.ok_or_else(|| ResponseHeadError::Status(String::new()))?;
    Ok(Some(ResponseHead { status, headers }))
}

/// Returns the offsets of the header lines' end and of the body's start.
fn end_of_head(buffer: &[u8]) -> Option<(usize, usize)> {
    let mut line_start = 0;
    while let Some(length) = buffer[line_start..].iter().position(|b| *b == b'\n') {
        let line = &buffer[line_start..line_start + length];
        if line.is_empty() || line == b"\r" {
            return Some((line_start, line_start + length + 1));
        }
        line_start += length + 1;
    }
    None
}

fn trimmed(line: &Bytes, from: usize) -> Bytes {
    let blank = |b: &u8| *b == b' ' || *b == b'\t';
    let rest = &line[from..];
    let start = rest.iter().position(|b| !blank(b)).unwrap_or(rest.len());
    let end = rest
        .iter()
        .rposition(|b| !blank(b))
        .map_or(start, |last| last + 1);
    line.slice(from + start..from + end)
}

fn status_code(value: &[u8]) -> Option<u16> {
    let digits = value.get(..3)?;
    let ends = value.len() == 3 || value[3] == b' ';
    let code = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (ends && digits.iter().all(u8::is_ascii_digit) && code >= 100).then_some(code)
}

/// Tells whether a byte is a `token` character (RFC 9110 section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Returns the start of a line for an error message.
fn excerpt(line: &[u8]) -> String {
    String::from_utf8_lossy(&line[..line.len().min(100)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(text: &str) -> Result<Option<(ResponseHead, String)>, ResponseHeadError> {
        let mut buffer = BytesMut::from(text);
        let head = take_head(&mut buffer)?;
        Ok(head.map(|head| (head, String::from_utf8_lossy(&buffer).into_owned())))
    }

    #[test]
    fn head_ends_at_the_first_blank_line() {
        let (head, body) = take("Status: 201 Created\r\nA: 1\r\na:2 \t\r\n\r\n\nbody")
            .unwrap()
            .unwrap();
        assert_eq!(head.status, 201);
        assert_eq!(
            head.headers,
            [("A".into(), "1".into()), ("a".into(), "2".into())]
        );
        assert_eq!(body, "\nbody");
    }

    #[test]
    fn lines_ending_in_lf_alone_are_accepted() {
        let (head, body) = take("Status: 200\nX: y\n\nz").unwrap().unwrap();
        assert_eq!((head.status, body.as_str()), (200, "z"));
    }

    #[test]
    fn incomplete_head_needs_more_bytes() {
        for part in [
            "",
            "Status: 200",
            "Status: 200 OK\r\nA: b\r\n",
            "Status: 200 OK\r\nA: b\r\n\r",
        ] {
            assert_eq!(take(part), Ok(None), "{part:?}");
        }
    }

    #[test]
    fn invalid_line_is_reported_in_the_error() {
        assert_eq!(
            take("hello\n\n"),
            Err(ResponseHeadError::Line("hello".into()))
        );
        assert_eq!(
            take("a b: c\n\n"),
            Err(ResponseHeadError::Line("a b: c".into()))
        );
        for bad in [
            "Status: 20\n\n",
            "Status: 2000\n\n",
            "Status: 099\n\n",
            "A: b\n\n",
            "Status: 200\nStatus: 200\n\n",
        ] {
            assert!(
                matches!(take(bad), Err(ResponseHeadError::Status(_))),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn oversized_head_is_rejected() {
        let endless = format!("A: {}", "x".repeat(MAX_HEAD));
        assert_eq!(take(&endless), Err(ResponseHeadError::TooLarge));
        let many = format!("Status: 200\n{}\n", "A: b\n".repeat(MAX_HEADERS + 1));
        assert_eq!(take(&many), Err(ResponseHeadError::TooLarge));
    }
}
