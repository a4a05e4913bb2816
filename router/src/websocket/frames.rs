//! Boundaries of WebSocket frames (RFC 6455 section 5.2) in a stream of bytes.

/// Most bytes of a frame's header after the first two.
const MAX_REST: usize = 12;

/// Follows a stream of frames, whose content it does not keep.
#[derive(Debug, Default)]
pub(super) struct FrameTracker {
    /// Bytes of the header that have been seen.
    header: [u8; 2 + MAX_REST],
    seen: usize,
    /// Bytes of the payload that have not been seen.
    payload: u64,
}

impl FrameTracker {
    /// Takes further bytes of the stream.
    pub(super) fn advance(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.payload > 0 {
                let length = usize::try_from(self.payload).unwrap_or(usize::MAX);
                let length = length.min(bytes.len());
                self.payload -= length as u64;
                bytes = &bytes[length..];
                continue;
            }
            self.header[self.seen] = bytes[0];
            self.seen += 1;
            bytes = &bytes[1..];
            if let Some(payload) = self.complete() {
                self.payload = payload;
                self.seen = 0;
            }
        }
    }

    /// Returns whether the stream is between two frames.
    pub(super) fn is_at_boundary(&self) -> bool {
        self.seen == 0 && self.payload == 0
    }

    /// Returns the length of the payload if the header is complete.
    fn complete(&self) -> Option<u64> {
        if self.seen < 2 {
            return None;
        }
        let mask = if self.header[1] & 0x80 > 0 { 4 } else { 0 };
        let (extended, short) = match self.header[1] & 0x7f {
            126 => (2, 0),
            127 => (8, 0),
            length => (0, u64::from(length)),
        };
        if self.seen < 2 + extended + mask {
            return None;
        }
        let bytes = self.header[2..2 + extended].iter();
        let long = bytes.fold(0, |length: u64, byte| length << 8 | u64::from(*byte));
        Some(if extended > 0 { long } else { short })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: usize, mask: bool) -> Vec<u8> {
        let flag = if mask { 0x80 } else { 0 };
        let mut bytes = vec![0x82];
        match length {
            0..126 => bytes.push(flag | length as u8),
            126..65536 => {
                bytes.push(flag | 126);
                bytes.extend_from_slice(&(length as u16).to_be_bytes());
            }
            _ => {
                bytes.push(flag | 127);
                bytes.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        bytes.extend(std::iter::repeat_n(7, if mask { 4 } else { 0 } + length));
        bytes
    }

    #[test]
    fn boundary_is_found_however_the_bytes_arrive() {
        for length in [0, 1, 125, 126, 127, 65535, 65536, 70_000] {
            for mask in [false, true] {
                let bytes = frame(length, mask);
                for piece in [1, 2, 3, 5, 1000, bytes.len()] {
                    let mut tracker = FrameTracker::default();
                    let mut sent = 0;
                    for part in [bytes.clone(), bytes.clone()].concat().chunks(piece) {
                        tracker.advance(part);
                        sent += part.len();
                        let at_end = sent % bytes.len() == 0;
                        assert_eq!(
                            tracker.is_at_boundary(),
                            at_end,
                            "{length} {mask} {piece} {sent}"
                        );
                    }
                }
            }
        }
    }
}
