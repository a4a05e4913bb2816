//! Writer of a dyno's request head in SCGI format, a netstring of keys and values.
//!
//! The format follows the SCGI specification (revision 2008-06-23): `LENGTH:`, then `KEY NUL VALUE NUL` for each pair,
//! then a comma; `CONTENT_LENGTH` is the first key, and `SCGI` has the value `1`. The body follows and ends with the
//! stream, so a body of unknown length needs no other framing; its `CONTENT_LENGTH` is `-1`, an extension of the
//! specification.

/// Bytes reserved at the start for the netstring's length and its colon; a head is far smaller than 10^10 bytes.
const LENGTH_ROOM: usize = 11;

/// Writes one request head into a reusable buffer, in a single pass.
///
/// A NUL byte within a key or value would shift all later fields, so the writer omits such a pair. The router rejects
/// headers with a NUL byte earlier.
#[derive(Debug)]
pub struct RequestHeadWriter {
    buffer: Vec<u8>,
    content_length: Option<u64>,
}

impl RequestHeadWriter {
    /// Starts a head for a body of `content_length` bytes, or of unknown length.
    ///
    /// The writer discards the content of `buffer` and reuses its capacity.
    pub fn new(mut buffer: Vec<u8>, content_length: Option<u64>) -> Self {
        buffer.clear();
        buffer.resize(LENGTH_ROOM, b' ');
        let mut writer = Self {
            buffer,
            content_length,
        };
        match content_length {
            Some(0) => writer.pair(b"CONTENT_LENGTH", b"0"),
            Some(length) => writer.pair(b"CONTENT_LENGTH", length.to_string().as_bytes()),
            None => writer.pair(b"CONTENT_LENGTH", b"-1"),
        }
        writer.pair(b"SCGI", b"1");
        writer
    }

    /// Adds a key and its value; omits the pair if either holds a NUL byte.
    pub fn pair(&mut self, key: &[u8], value: &[u8]) {
        self.value(
            |buffer| buffer.extend_from_slice(key),
            |buffer| buffer.extend_from_slice(value),
        );
    }

    /// Adds a key and a value that closures write piece by piece, e.g. `HTTP_` and a header's name in upper case.
    pub fn value(&mut self, key: impl FnOnce(&mut Vec<u8>), value: impl FnOnce(&mut Vec<u8>)) {
        let start = self.buffer.len();
        key(&mut self.buffer);
        let key_end = self.buffer.len();
        self.buffer.push(0);
        value(&mut self.buffer);
        let stray =
            self.buffer[start..key_end].contains(&0) || self.buffer[key_end + 1..].contains(&0);
        if stray {
            self.buffer.truncate(start);
        } else {
            self.buffer.push(0);
        }
    }

    /// Finishes the netstring.
    pub fn finish(mut self) -> RequestHead {
        let length = (self.buffer.len() - LENGTH_ROOM).to_string();
        let start = LENGTH_ROOM - 1 - length.len();
        self.buffer[start..LENGTH_ROOM - 1].copy_from_slice(length.as_bytes());
        self.buffer[LENGTH_ROOM - 1] = b':';
        self.buffer.push(b',');
        RequestHead {
            buffer: self.buffer,
            start,
            content_length: self.content_length,
        }
    }
}

/// A finished request head.
#[derive(Debug, Default)]
pub struct RequestHead {
    buffer: Vec<u8>,
    start: usize,
    content_length: Option<u64>,
}

impl RequestHead {
    /// Returns the netstring's bytes, to be sent to [`crate::EXCHANGE_DESCRIPTOR`].
    pub fn as_bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Returns the value of the first pair with the key `key`.
    pub fn value(&self, key: &[u8]) -> Option<&[u8]> {
        let netstring = self.as_bytes();
        let start = netstring.iter().position(|byte| *byte == b':')? + 1;
        let mut parts = netstring[start..].split(|byte| *byte == 0);
        while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
            if name == key {
                return Some(value);
            }
        }
        None
    }

    /// Returns the body's length in bytes, or `None` if it is unknown.
    pub fn content_length(&self) -> Option<u64> {
        self.content_length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_is_a_netstring_that_starts_with_the_content_length() {
        let mut writer = RequestHeadWriter::new(vec![1, 2, 3], Some(27));
        writer.pair(b"REQUEST_METHOD", b"POST");
        writer.pair(b"REQUEST_URI", b"/deepthought");
        let head = writer.finish();
        // The example of the SCGI specification.
        assert_eq!(
            head.as_bytes(),
            b"70:CONTENT_LENGTH\x0027\0SCGI\x001\0REQUEST_METHOD\0POST\0REQUEST_URI\0/deepthought\0,"
        );
    }

    #[test]
    fn values_are_found_by_their_keys() {
        let mut writer = RequestHeadWriter::new(Vec::new(), Some(27));
        writer.pair(b"REQUEST_METHOD", b"POST");
        writer.pair(b"EMPTY", b"");
        writer.pair(b"LAST", b"REQUEST_METHOD");
        let head = writer.finish();
        assert_eq!(head.value(b"CONTENT_LENGTH"), Some(&b"27"[..]));
        assert_eq!(head.value(b"REQUEST_METHOD"), Some(&b"POST"[..]));
        assert_eq!(head.value(b"EMPTY"), Some(&b""[..]));
        assert_eq!(head.value(b"LAST"), Some(&b"REQUEST_METHOD"[..]));
        assert_eq!(head.value(b"POST"), None, "values are not keys");
        assert_eq!(RequestHead::default().value(b"SCGI"), None);
    }

    #[test]
    fn unknown_content_length_is_written_as_minus_one() {
        let head = RequestHeadWriter::new(Vec::new(), None).finish();
        assert_eq!(head.as_bytes(), b"25:CONTENT_LENGTH\0-1\0SCGI\x001\0,");
    }

    #[test]
    fn pair_with_a_nul_byte_is_omitted() {
        let mut writer = RequestHeadWriter::new(Vec::new(), Some(0));
        writer.pair(b"HTTP_X", b"a\0HTTP_ADMIN\0b");
        writer.pair(b"HTTP\0Y", b"a");
        assert_eq!(
            writer.finish().as_bytes(),
            RequestHeadWriter::new(Vec::new(), Some(0))
                .finish()
                .as_bytes()
        );
    }
}
