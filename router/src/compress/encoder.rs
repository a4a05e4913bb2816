//! Encoders of the three content codings, and their compression levels.

use std::io::{self, Write};

use brotli::CompressorWriter;
use brotli::enc::BrotliEncoderParams;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use zstd::stream::write::Encoder as ZstdEncoder;

use crate::semantics::accept_encoding::ContentCoding;

/// Bytes that an encoder with [`Effort::Streaming`] occupies: zstd and gzip 340 KiB, brotli 210 KiB.
pub(crate) const MEMORY: usize = 352 << 10;

/// Largest body in bytes that is encoded in one go. That takes at most two milliseconds, and the response gets a
/// length.
pub(crate) const MAX_ONE_SHOT: usize = 64 << 10;

/// Compression effort of an encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// For one client: the least time for each byte saved, in little memory.
    Streaming,
    /// For every later client: as small as some extra nanoseconds for each byte allow.
    Stored,
}

impl Effort {
    /// Returns the library's level for a coding. The measurements are in the project's performance notes.
    fn level(self, coding: ContentCoding) -> i32 {
        match (self, coding) {
            (Self::Streaming, _) => 1,
            (Self::Stored, ContentCoding::Brotli) => 5,
            (Self::Stored, ContentCoding::Zstd) => 7,
            (Self::Stored, ContentCoding::Gzip) => 6,
        }
    }

    /// Returns the size of the window as a power of two. gzip always has 15. The largest is far below the 8 MiB that
    /// every zstd client must support (RFC 9659).
    fn window(self) -> u32 {
        match self {
            Self::Streaming => 17,
            Self::Stored => 20,
        }
    }
}

/// An encoder and its output.
pub(crate) enum Encoder {
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(ZstdEncoder<'static, Vec<u8>>),
    /// Boxed, since the encoder's state is part of the struct.
    Brotli(Box<CompressorWriter<Vec<u8>>>),
}

impl Encoder {
    /// Creates an encoder for a body of unknown length.
    ///
    /// # Errors
    ///
    /// The library cannot allocate memory.
    pub(crate) fn new(coding: ContentCoding, effort: Effort) -> io::Result<Self> {
        Self::of_length(coding, effort, None)
    }

    fn of_length(coding: ContentCoding, effort: Effort, length: Option<usize>) -> io::Result<Self> {
        let level = effort.level(coding);
        Ok(match coding {
            ContentCoding::Gzip => {
                let level = Compression::new(level.unsigned_abs());
                Self::Gzip(GzEncoder::new(Vec::new(), level))
            }
            ContentCoding::Zstd => {
                let mut encoder = ZstdEncoder::new(Vec::new(), level)?;
                encoder.window_log(effort.window())?;
                // With a known length, zstd's tables are no larger than the body.
                encoder.set_pledged_src_size(length.map(|length| length as u64))?;
                Self::Zstd(encoder)
            }
            ContentCoding::Brotli => {
                let parameters = BrotliEncoderParams {
                    quality: level,
                    lgwin: effort.window() as i32,
                    size_hint: length.unwrap_or_default(),
                    ..BrotliEncoderParams::default()
                };
                let writer = CompressorWriter::with_params(Vec::new(), 4096, &parameters);
                Self::Brotli(Box::new(writer))
            }
        })
    }

    /// Encodes some of the body.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.write_all(bytes),
            Self::Zstd(encoder) => encoder.write_all(bytes),
            Self::Brotli(encoder) => encoder.write_all(bytes),
        }
    }

    /// Flushes everything that was written, so that a client can decode it.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
            Self::Brotli(encoder) => encoder.flush(),
        }
    }

    /// Takes the output so far.
    pub(crate) fn take(&mut self) -> Bytes {
        let out = match self {
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
            Self::Brotli(encoder) => encoder.get_mut(),
        };
        std::mem::take(out).into()
    }

    /// Ends the body, and returns the rest of the output.
    pub(crate) fn finish(self) -> io::Result<Bytes> {
        Ok(match self {
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Zstd(encoder) => encoder.finish()?,
            Self::Brotli(encoder) => encoder.into_inner(),
        }
        .into())
    }
}

/// Encodes a whole body.
pub(crate) fn whole(coding: ContentCoding, effort: Effort, body: &[u8]) -> io::Result<Bytes> {
    let mut encoder = Encoder::of_length(coding, effort, Some(body.len()))?;
    encoder.write(body)?;
    encoder.finish()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use proptest::prelude::*;

    use super::*;

    /// Decodes as much as a client could, whether the encoded body is complete or not.
    pub(crate) fn decoded(coding: ContentCoding, encoded: &[u8]) -> (Vec<u8>, io::Result<()>) {
        let mut out = Vec::new();
        let end = match coding {
            ContentCoding::Gzip => GzDecoder::new(encoded).read_to_end(&mut out),
            ContentCoding::Zstd => zstd::stream::read::Decoder::new(encoded)
                .and_then(|mut decoder| decoder.read_to_end(&mut out)),
            ContentCoding::Brotli => brotli::Decompressor::new(encoded, 4096).read_to_end(&mut out),
        };
        (out, end.map(drop))
    }

    fn pieces() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let noise = prop::collection::vec(any::<u8>(), 0..5000);
        let text = prop::collection::vec(prop::sample::select(&b"<div>ab \n"[..]), 0..5000);
        prop::collection::vec(prop_oneof![noise, text], 0..12)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn encoded_pieces_decode_to_the_input_at_each_flush(
            pieces in pieces(),
            flushes in any::<u16>(),
        ) {
            for coding in ContentCoding::ALL {
                for effort in [Effort::Streaming, Effort::Stored] {
                    let mut encoder = Encoder::new(coding, effort).unwrap();
                    let (mut all, mut out) = (Vec::new(), Vec::new());
                    for (at, piece) in pieces.iter().enumerate() {
                        encoder.write(piece).unwrap();
                        all.extend_from_slice(piece);
                        if flushes >> at & 1 == 1 {
                            encoder.flush().unwrap();
                            out.extend_from_slice(&encoder.take());
                            prop_assert_eq!(&decoded(coding, &out).0, &all);
                        }
                    }
                    out.extend_from_slice(&encoder.finish().unwrap());
                    let (text, end) = decoded(coding, &out);
                    prop_assert!(end.is_ok());
                    prop_assert_eq!(&text, &all);
                    let whole = whole(coding, effort, &all).unwrap();
                    prop_assert_eq!(decoded(coding, &whole).0, all);
                }
            }
        }
    }
}
