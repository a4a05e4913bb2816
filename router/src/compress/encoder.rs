//! The libraries behind the codings, and how hard they try.

use std::io::{self, Write};

use brotli::CompressorWriter;
use brotli::enc::BrotliEncoderParams;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use zstd::stream::write::Encoder as ZstdEncoder;

use crate::semantics::accept_encoding::ContentCoding;

/// Bytes that an encoder of [`Effort::Passing`] takes while it works: zstd and gzip 340 KiB, brotli 210.
pub(crate) const MEMORY: usize = 352 << 10;

/// How hard an encoder tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// For one client: what costs the least time for each byte that is saved, in little memory.
    Passing,
    /// For all who come: as small as it gets at some nanoseconds a byte more.
    Kept,
}

impl Effort {
    /// The library's level for a coding; figures are in ARCHITECTURE.md.
    fn level(self, coding: ContentCoding) -> i32 {
        match (self, coding) {
            (Self::Passing, _) => 1,
            (Self::Kept, ContentCoding::Brotli) => 5,
            (Self::Kept, ContentCoding::Zstd) => 7,
            (Self::Kept, ContentCoding::Gzip) => 6,
        }
    }

    /// How far back repetitions are looked for, as a power of two. gzip has 15 by its nature. The largest is far below the
    /// 8 MiB that every client of zstd has to have (RFC 9659).
    fn window(self) -> u32 {
        match self {
            Self::Passing => 17,
            Self::Kept => 20,
        }
    }
}

/// A body that is being encoded.
pub(crate) enum Encoder {
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(ZstdEncoder<'static, Vec<u8>>),
    /// Boxed: the state lies in it.
    Brotli(Box<CompressorWriter<Vec<u8>>>),
}

impl Encoder {
    /// One for a body of unknown length.
    ///
    /// # Errors
    ///
    /// The library's, where there is no memory.
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
                // With it the tables are no larger than the body.
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

    /// Has all that was written come out, so that a client can decode it.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
            Self::Brotli(encoder) => encoder.flush(),
        }
    }

    /// What has come out.
    pub(crate) fn take(&mut self) -> Bytes {
        let out = match self {
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
            Self::Brotli(encoder) => encoder.get_mut(),
        };
        std::mem::take(out).into()
    }

    /// The end of the body, with what has come out and was not taken.
    pub(crate) fn finish(self) -> io::Result<Bytes> {
        Ok(match self {
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Zstd(encoder) => encoder.finish()?,
            Self::Brotli(encoder) => encoder.into_inner(),
        }
        .into())
    }
}

/// A whole body, encoded.
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

    /// What a client makes of it: all that can be decoded, whether it has an end or not.
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
        fn what_is_encoded_in_any_pieces_decodes_to_the_same_and_each_flush_shows_all_so_far(
            pieces in pieces(),
            flushes in any::<u16>(),
        ) {
            for coding in ContentCoding::ALL {
                for effort in [Effort::Passing, Effort::Kept] {
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
