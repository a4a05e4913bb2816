//! How a command's output and its exit status share one stream: in frames, so that a command may print any bytes.
//!
//! A frame is its kind (one byte), the length of what it holds (four bytes, big-endian), and that. The last frame is the
//! exit status; a stream that ends without one was cut off.

/// Bytes of a frame's head.
pub const HEAD: usize = 5;
const OUTPUT: u8 = 1;
const STATUS: u8 = 2;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunFrame {
    /// So many bytes of output follow.
    Output(u32),
    /// The command's exit status.
    Status(i32),
}

/// The head of a frame of `length` bytes of output.
pub fn output_head(length: u32) -> [u8; HEAD] {
    head(OUTPUT, length)
}

/// The last frame.
pub fn status_frame(status: i32) -> [u8; HEAD] {
    head(STATUS, status.cast_unsigned())
}

/// Reads a head; none if it is none.
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
    fn frames_are_read_as_they_were_written() {
        assert_eq!(parse(output_head(70_000)), Some(RunFrame::Output(70_000)));
        assert_eq!(parse(status_frame(-1)), Some(RunFrame::Status(-1)));
        assert_eq!(parse([0; HEAD]), None);
    }
}
