//! The stream of `corundum run`: frames between a client and the one-off dyno of its command.
//!
//! An HTTP/1.1 connection becomes the stream by an upgrade to [`PROTOCOL`]. A frame starts with its kind (one byte) and a
//! number (four bytes, big-endian), which is the length of the bytes that follow or a value. Both sides end the run if
//! they receive a frame that they do not know.
//!
//! The first frame of the client is [`ClientFrame::Start`]. After it, the client sends no more bytes of standard input
//! than the node has granted ([`NodeFrame::Grant`]), so that a command which reads nothing holds up no signal behind its
//! input. The other direction needs no grants: a client that does not read holds up its own command. The node's last
//! frame is the exit status; a stream without one was cut off.

use serde::{Deserialize, Serialize};

use crate::dyno_size::DynoSize;

/// The protocol's name and version, as the header `Upgrade` has it.
pub const PROTOCOL: &str = "corundum-run/1";

/// Length of a frame's head in bytes.
pub const HEAD: usize = 5;

/// The most bytes that follow a frame's head.
pub const MAX_FRAME: u32 = 64 << 10;

/// The most bytes that follow the head of [`ClientFrame::Start`]: a command line and its variables.
pub const MAX_START: u32 = 1 << 20;

/// Bytes of standard input that a node grants at first, and keeps for a command that does not read.
pub const WINDOW: u32 = 64 << 10;

const STDIN: u8 = 1;
const STDIN_END: u8 = 2;
const RESIZE: u8 = 3;
const SIGNAL: u8 = 4;
const STDOUT_CLOSED: u8 = 5;
const START: u8 = 6;

const STDOUT: u8 = 1;
const STATUS: u8 = 2;
const STDERR: u8 = 3;
const GRANT: u8 = 4;

/// The command of a run, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStart {
    /// The command and its arguments. A dyno has no shell that could split a line.
    pub command: Vec<String>,
    /// Variables that this run has in addition to the app's, in the order in which they were given.
    #[serde(default)]
    pub env: Vec<(String, String)>,
    /// The client's terminal, if the command gets one.
    #[serde(default)]
    pub terminal: Option<WindowSize>,
    /// The size of the dyno, if it is not the smallest one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<DynoSize>,
}

/// The size of a terminal's window in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Characters of a line.
    pub columns: u16,
}

/// The head of a frame that a client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientFrame {
    /// A [`RunStart`] of this many bytes follows.
    Start(u32),
    /// Standard input; this many bytes follow. For a command with a terminal: keys.
    Stdin(u32),
    /// The end of standard input.
    StdinEnd,
    /// The window has another size.
    Resize(WindowSize),
    /// The client has received a signal, by its number on Linux.
    Signal(u32),
    /// The client no longer reads the command's standard output.
    StdoutClosed,
}

/// The head of a frame that a node sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeFrame {
    /// Standard output; this many bytes follow.
    Stdout(u32),
    /// Standard error; this many bytes follow.
    Stderr(u32),
    /// The client may send this many bytes more of standard input.
    Grant(u32),
    /// The command's exit status.
    Status(i32),
}

impl ClientFrame {
    /// Encodes the frame's head.
    pub fn head(self) -> [u8; HEAD] {
        match self {
            Self::Start(length) => head(START, length),
            Self::Stdin(length) => head(STDIN, length),
            Self::StdinEnd => head(STDIN_END, 0),
            Self::Resize(size) => {
                let [a, b] = size.rows.to_be_bytes();
                let [c, d] = size.columns.to_be_bytes();
                [RESIZE, a, b, c, d]
            }
            Self::Signal(number) => head(SIGNAL, number),
            Self::StdoutClosed => head(STDOUT_CLOSED, 0),
        }
    }

    /// Decodes a frame's head; returns `None` for an unknown kind or too many bytes.
    pub fn parse(head: [u8; HEAD]) -> Option<Self> {
        let [kind, number @ ..] = head;
        let [a, b, c, d] = number;
        let number = u32::from_be_bytes(number);
        match kind {
            START if number <= MAX_START => Some(Self::Start(number)),
            STDIN if number <= MAX_FRAME => Some(Self::Stdin(number)),
            STDIN_END => Some(Self::StdinEnd),
            RESIZE => Some(Self::Resize(WindowSize {
                rows: u16::from_be_bytes([a, b]),
                columns: u16::from_be_bytes([c, d]),
            })),
            SIGNAL => Some(Self::Signal(number)),
            STDOUT_CLOSED => Some(Self::StdoutClosed),
            _ => None,
        }
    }
}

impl NodeFrame {
    /// Encodes the frame's head.
    pub fn head(self) -> [u8; HEAD] {
        match self {
            Self::Stdout(length) => head(STDOUT, length),
            Self::Stderr(length) => head(STDERR, length),
            Self::Grant(bytes) => head(GRANT, bytes),
            Self::Status(status) => head(STATUS, status.cast_unsigned()),
        }
    }

    /// Decodes a frame's head; returns `None` for an unknown kind or too many bytes.
    pub fn parse(head: [u8; HEAD]) -> Option<Self> {
        let [kind, number @ ..] = head;
        let number = u32::from_be_bytes(number);
        match kind {
            STDOUT if number <= MAX_FRAME => Some(Self::Stdout(number)),
            STDERR if number <= MAX_FRAME => Some(Self::Stderr(number)),
            GRANT => Some(Self::Grant(number)),
            STATUS => Some(Self::Status(number.cast_signed())),
            _ => None,
        }
    }
}

fn head(kind: u8, number: u32) -> [u8; HEAD] {
    let [a, b, c, d] = number.to_be_bytes();
    [kind, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_heads_decode_to_the_same_frames() {
        let size = WindowSize {
            rows: 24,
            columns: 300,
        };
        for frame in [
            ClientFrame::Start(MAX_START),
            ClientFrame::Stdin(MAX_FRAME),
            ClientFrame::StdinEnd,
            ClientFrame::Resize(size),
            ClientFrame::Signal(15),
            ClientFrame::StdoutClosed,
        ] {
            assert_eq!(ClientFrame::parse(frame.head()), Some(frame));
        }
        for frame in [
            NodeFrame::Stdout(0),
            NodeFrame::Stderr(7),
            NodeFrame::Grant(u32::MAX),
            NodeFrame::Status(-1),
        ] {
            assert_eq!(NodeFrame::parse(frame.head()), Some(frame));
        }
    }

    #[test]
    fn unknown_and_overlong_frames_are_invalid() {
        for kind in [0, 7, 255] {
            assert_eq!(ClientFrame::parse([kind, 0, 0, 0, 0]), None);
            assert_eq!(NodeFrame::parse([kind, 0, 0, 0, 0]), None);
        }
        for frame in [
            ClientFrame::Stdin(MAX_FRAME + 1),
            ClientFrame::Start(MAX_START + 1),
        ] {
            assert_eq!(ClientFrame::parse(frame.head()), None);
        }
        assert_eq!(
            NodeFrame::parse(NodeFrame::Stdout(MAX_FRAME + 1).head()),
            None
        );
    }
}
