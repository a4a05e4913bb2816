//! The form of a case.

/// Frames that a client sends after the preface and the exchange of settings, and what must come of them.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// The section of RFC 9113, or of the RFC that is named.
    pub(crate) section: &'static str,
    pub(crate) send: Vec<u8>,
    pub(crate) outcome: Outcome,
}

/// What must come.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// A response of this status on stream 1, and on the next stream as well.
    Status(u16),
    /// Stream 1 is reset with one of these codes, or refused with 400; the connection goes on. A server may also treat
    /// it as an error of the connection (RFC 9113 section 5.4.2).
    StreamError(&'static [u32]),
    /// The connection ends, by GOAWAY with one of these codes.
    ConnectionError(&'static [u32]),
    /// A frame of this kind, flags and payload comes.
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

fn case(name: &'static str, section: &'static str, send: &[&[u8]], outcome: Outcome) -> Case {
    Case {
        name,
        section,
        send: send.concat(),
        outcome,
    }
}

pub(crate) fn serves(name: &'static str, section: &'static str, send: &[&[u8]]) -> Case {
    case(name, section, send, Outcome::Status(200))
}

pub(crate) fn answers(
    name: &'static str,
    section: &'static str,
    send: &[&[u8]],
    status: u16,
) -> Case {
    case(name, section, send, Outcome::Status(status))
}

pub(crate) fn resets(
    name: &'static str,
    section: &'static str,
    send: &[&[u8]],
    codes: &'static [u32],
) -> Case {
    case(name, section, send, Outcome::StreamError(codes))
}

pub(crate) fn ends(
    name: &'static str,
    section: &'static str,
    send: &[&[u8]],
    codes: &'static [u32],
) -> Case {
    case(name, section, send, Outcome::ConnectionError(codes))
}

pub(crate) fn gives(
    name: &'static str,
    section: &'static str,
    send: &[&[u8]],
    (kind, flags, payload): (u8, u8, &[u8]),
) -> Case {
    let outcome = Outcome::Frame(kind, flags, payload.to_vec());
    case(name, section, send, outcome)
}
