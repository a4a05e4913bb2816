//! A case of the HTTP/2 corpus.

/// Frames that a client sends after the preface and the exchange of settings, and the required result.
#[derive(Debug, Clone)]
pub(crate) struct Http2Case {
    /// Short description, unique in the corpus.
    pub(crate) name: &'static str,
    /// Section of RFC 9113, or of another RFC that it names.
    pub(crate) section: &'static str,
    /// Bytes of the client.
    pub(crate) send: Vec<u8>,
    /// Required result.
    pub(crate) outcome: RequiredResult,
}

/// Required result of a case.
#[derive(Debug, Clone)]
pub(crate) enum RequiredResult {
    /// Stream 1 gets a response with this status, and the connection serves another stream.
    Status(u16),
    /// Stream 1 is reset with one of these codes or gets 400, and the connection is kept. A server may also treat it as
    /// a connection error (RFC 9113 section 5.4.2).
    StreamError(&'static [u32]),
    /// The server ends the connection with GOAWAY and one of these codes.
    ConnectionError(&'static [u32]),
    /// The server sends a frame of this type, with these flags and this payload.
    Frame(u8, u8, Vec<u8>),
}

pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const PROTOCOL: u32 = 1;
pub(crate) const FLOW_CONTROL: u32 = 3;
pub(crate) const STREAM_CLOSED: u32 = 5;
pub(crate) const FRAME_SIZE: u32 = 6;
pub(crate) const REFUSED: u32 = 7;
pub(crate) const COMPRESSION: u32 = 9;
pub(crate) const CALM: u32 = 11;

fn case(
    name: &'static str,
    section: &'static str,
    send: &[&[u8]],
    outcome: RequiredResult,
) -> Http2Case {
    Http2Case {
        name,
        section,
        send: send.concat(),
        outcome,
    }
}

/// Makes a case that gets 200.
pub(crate) fn serves(name: &'static str, section: &'static str, send: &[&[u8]]) -> Http2Case {
    case(name, section, send, RequiredResult::Status(200))
}

/// Makes a case that gets `status`.
pub(crate) fn answers(
    name: &'static str,
    section: &'static str,
    send: &[&[u8]],
    status: u16,
) -> Http2Case {
    case(name, section, send, RequiredResult::Status(status))
}

/// Makes a case that is a stream error.
pub(crate) fn resets(
    name: &'static str,
    section: &'static str,
    send: &[&[u8]],
    codes: &'static [u32],
) -> Http2Case {
    case(name, section, send, RequiredResult::StreamError(codes))
}

/// Makes a case that is a connection error.
pub(crate) fn ends(
    name: &'static str,
    section: &'static str,
    send: &[&[u8]],
    codes: &'static [u32],
) -> Http2Case {
    case(name, section, send, RequiredResult::ConnectionError(codes))
}

/// Makes a case that gets a frame, given as type, flags and payload.
pub(crate) fn gives(
    name: &'static str,
    section: &'static str,
    send: &[&[u8]],
    (kind, flags, payload): (u8, u8, &[u8]),
) -> Http2Case {
    let outcome = RequiredResult::Frame(kind, flags, payload.to_vec());
    case(name, section, send, outcome)
}
