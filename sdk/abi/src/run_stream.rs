//! Frames that carry a command's output and its exit status over one stream.
//!
//! A frame starts with its kind (one byte) and a number (four bytes, big-endian): the length of the output that
//! follows, or the exit status. Framing lets a command print arbitrary bytes. The last frame is the exit status; a
//! stream without one was truncated.

/// Length of a frame's head in bytes.
pub const HEAD: usize = 5;
const OUTPUT: u8 = 1;
const STATUS: u8 = 2;

/// A frame's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunFrame {
    /// Output; this many bytes follow.
    Output(u32),
    /// The command's exit status.
    Status(i32),
}

/// Encodes the head of a frame with `length` bytes of output.
pub fn output_head(length: u32) -> [u8; HEAD] {
    head(OUTPUT, length)
}

/// Encodes the last frame, which holds the exit status.
pub fn status_frame(status: i32) -> [u8; HEAD] {
    head(STATUS, status.cast_unsigned())
}

/// Decodes a frame's head; returns `None` for an unknown kind.
pub fn parse(head: [u8; HEAD]) -> Option<RunFrame> {
    let [kind, number @ ..] = head;
    let number = u32::from_be_bytes(number);
    match kind {
        OUTPUT => Some(RunFrame::Output(number)),
        STATUS => Some(RunFrame::Status(number.cast_signed())),
        _ => None,
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
    fn encoded_frame_heads_decode_to_the_same_frames() {
        assert_eq!(parse(output_head(70_000)), Some(RunFrame::Output(70_000)));
        assert_eq!(parse(status_frame(-1)), Some(RunFrame::Status(-1)));
        assert_eq!(parse([0; HEAD]), None);
    }
}
