//! HTTP/2 frames (RFC 9113 section 4.1), and the part of HPACK that requests need (RFC 7541).

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;
pub(crate) const WITH_PRIORITY: u8 = 32;

/// Encodes a frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Encodes a header block of literal fields, without indexing and Huffman coding.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            integer(&mut bytes, text.len());
            bytes.extend(text.as_bytes());
        }
    }
    bytes
}

/// Encodes an integer with a prefix of seven bits (RFC 7541 section 5.1).
fn integer(bytes: &mut Vec<u8>, number: usize) {
    if number < 127 {
        bytes.push(number as u8);
        return;
    }
    bytes.push(127);
    let mut rest = number - 127;
    while rest >= 128 {
        bytes.push((rest % 128 + 128) as u8);
        rest /= 128;
    }
    bytes.push(rest as u8);
}

/// Returns the pseudo-headers of a request.
pub(crate) fn pseudo<'a>(method: &'a str, path: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        (":method", method),
        (":scheme", "http"),
        (":path", path),
        (":authority", "app.example"),
    ]
}

/// Encodes a HEADERS frame with a whole block.
pub(crate) fn headers(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, flags | END_HEADERS, stream, &block(fields))
}

/// Encodes a GET of `path`.
pub(crate) fn get_of(stream: u32, path: &str) -> Vec<u8> {
    headers(stream, END_STREAM, &pseudo("GET", path))
}

/// Encodes a GET of `/`.
pub(crate) fn get(stream: u32) -> Vec<u8> {
    get_of(stream, "/")
}

/// Encodes the head of a POST to `/echo`. The body follows.
pub(crate) fn post(stream: u32) -> Vec<u8> {
    headers(stream, 0, &pseudo("POST", "/echo"))
}

/// Encodes a DATA frame.
pub(crate) fn data(stream: u32, flags: u8, bytes: &[u8]) -> Vec<u8> {
    frame(DATA, flags, stream, bytes)
}

/// Encodes an RST_STREAM frame.
pub(crate) fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

/// Encodes a SETTINGS frame with one setting.
pub(crate) fn setting(identifier: u16, value: u32) -> Vec<u8> {
    let mut payload = identifier.to_be_bytes().to_vec();
    payload.extend(value.to_be_bytes());
    frame(SETTINGS, 0, 0, &payload)
}

/// Encodes a WINDOW_UPDATE frame.
pub(crate) fn window(stream: u32, more: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &more.to_be_bytes())
}

/// A frame from the server.
#[derive(Debug, Clone)]
pub(crate) struct ReceivedFrame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl ReceivedFrame {
    /// Removes the first frame from `bytes`, if it is complete.
    pub(crate) fn take(bytes: &mut Vec<u8>) -> Option<Self> {
        let length = bytes.get(..3)?;
        let length = u32::from_be_bytes([0, length[0], length[1], length[2]]) as usize;
        if bytes.len() < 9 + length {
            return None;
        }
        let stream = u32::from_be_bytes([bytes[5], bytes[6], bytes[7], bytes[8]]) & 0x7fff_ffff;
        let frame = Self {
            kind: bytes[3],
            flags: bytes[4],
            stream,
            payload: bytes[9..9 + length].to_vec(),
        };
        bytes.drain(..9 + length);
        Some(frame)
    }

    /// Returns the error code of RST_STREAM or GOAWAY.
    pub(crate) fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        let code = self.payload.get(at..at + 4);
        code.map_or(u32::MAX, |code| {
            u32::from_be_bytes(code.try_into().unwrap())
        })
    }

    /// Returns the status in the HEADERS frame of a response.
    ///
    /// It is the first field: indexed, or a literal with plain or Huffman-coded digits.
    pub(crate) fn status(&self) -> u16 {
        match self.payload[..] {
            // A size update of the table may precede it (RFC 7541 section 6.3).
            [0x20..=0x3f, ref rest @ ..] => status(rest),
            ref all => status(all),
        }
    }
}

fn status(block: &[u8]) -> u16 {
    let indexed = [200, 204, 206, 304, 400, 404, 500];
    match block {
        [index @ 0x88..=0x8e, ..] => indexed[usize::from(index - 0x88)],
        // The name is in the static table; any literal form may follow with the value.
        [_, length, value @ ..] if length & 0x80 == 0 => {
            let digits = &value[..usize::from(*length)];
            std::str::from_utf8(digits).unwrap().parse().unwrap()
        }
        [_, length, value @ ..] => huffman(&value[..usize::from(length & 0x7f)]),
        _ => panic!("no status: {block:?}"),
    }
}

/// Decodes digits in the Huffman code of HPACK: 0 to 2 have five bits, 3 to 9 six (RFC 7541 appendix B).
fn huffman(bytes: &[u8]) -> u16 {
    let bits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
    let mut rest = bits.as_str();
    let mut number = 0;
    for _ in 0..3 {
        let five = u16::from_str_radix(&rest[..5], 2).unwrap();
        let (digit, length) = match five {
            0..=2 => (five, 5),
            _ => (
                u16::from_str_radix(&rest[..6], 2).unwrap() - 0b01_1001 + 3,
                6,
            ),
        };
        number = number * 10 + digit;
        rest = &rest[length..];
    }
    number
}
