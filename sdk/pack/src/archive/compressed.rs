//! Archives at rest: one zstd frame with a checksum, or the archive itself if a frame would hardly be smaller.
//!
//! A program maps an archive to read its files in place. A compressed one is therefore expanded into a file without a
//! name, which lives as long as its mapping.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::path::Path;

/// The start of a zstd frame (RFC 8878 section 3.1.1).
const FRAME: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();
/// Level of compression. Source code shrinks to a quarter of its size, at 100 MB/s.
const LEVEL: i32 = 7;
/// The smallest gain, as a fraction of the archive, for which a reader should have to expand it.
const WORTHWHILE: u64 = 10;
/// Bytes that are read at once.
const BUFFER: usize = 1 << 17;

/// Compresses the archive `from` of `length` bytes into `to`. Returns false, and leaves `to` in any state, if the archive
/// is better kept as it is: media files do not shrink.
///
/// # Errors
///
/// Fails if a file cannot be read or written.
pub fn compress(from: &mut File, length: u64, to: &mut File) -> io::Result<bool> {
    let mut encoder = zstd::Encoder::new(&mut *to, LEVEL)?;
    encoder.set_pledged_src_size(Some(length))?;
    encoder.include_checksum(true)?;
    encoder.include_contentsize(true)?;
    from.rewind()?;
    io::copy(&mut BufReader::with_capacity(BUFFER, from), &mut encoder)?;
    encoder.finish()?;
    let compressed = to.metadata()?.len();
    Ok(compressed < length - length / WORTHWHILE)
}

/// Returns the archive that the file at `path` holds: a file in `directory` without a name if it is compressed, otherwise the
/// file itself.
///
/// # Errors
///
/// Fails with [`io::ErrorKind::InvalidData`] if a frame is damaged, and with other errors if the file cannot be read or
/// does not fit on the disk when it is expanded.
pub fn expand(path: &Path, directory: &Path) -> io::Result<File> {
    let mut file = File::open(path)?;
    let mut start = Vec::with_capacity(FRAME.len());
    (&mut file)
        .take(FRAME.len() as u64)
        .read_to_end(&mut start)?;
    file.rewind()?;
    if start != FRAME {
        return Ok(file);
    }
    let mut decoder = zstd::Decoder::new(file)?;
    let mut expanded = tempfile::tempfile_in(directory)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = decoder
            .read(&mut buffer)
            .map_err(|error| match error.raw_os_error() {
                Some(_) => error,
                None => io::Error::new(io::ErrorKind::InvalidData, error),
            })?;
        if count == 0 {
            return Ok(expanded);
        }
        expanded.write_all(&buffer[..count])?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        file
    }

    fn expanded(path: &Path) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        let mut file = expand(path, &std::env::temp_dir())?;
        file.rewind()?;
        file.read_to_end(&mut content)?;
        Ok(content)
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut noise = vec![0; length];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        noise
    }

    #[test]
    fn compressed_archive_is_expanded_and_another_is_read_as_it_is() {
        let text = b"class Post < ApplicationRecord; end\n".repeat(5000);
        let mut compressed = file(&[]);
        let small = compress(
            file(&text).as_file_mut(),
            text.len() as u64,
            compressed.as_file_mut(),
        );
        assert!(small.unwrap());
        assert!(compressed.as_file().metadata().unwrap().len() < 1000);
        assert!(expanded(compressed.path()).unwrap() == text);
        for plain in [&b""[..], b"xyz", &text] {
            assert!(expanded(file(plain).path()).unwrap() == plain);
        }
    }

    #[test]
    fn archive_that_does_not_shrink_is_not_worth_compressing() {
        let noise = noise(300_000);
        let (mut plain, mut compressed) = (file(&noise), file(&[]));
        let length = noise.len() as u64;
        assert!(!compress(plain.as_file_mut(), length, compressed.as_file_mut()).unwrap());
    }

    #[test]
    fn every_damage_to_a_frame_is_noticed() {
        let text = [noise(900), b"abc".repeat(300)].concat();
        let mut compressed = file(&[]);
        let length = text.len() as u64;
        compress(file(&text).as_file_mut(), length, compressed.as_file_mut()).unwrap();
        let whole = std::fs::read(compressed.path()).unwrap();
        let is_noticed = |content: &[u8]| match expanded(file(content).path()) {
            Ok(content) => content != text && !content.starts_with(&text[..100]),
            Err(error) => error.kind() == io::ErrorKind::InvalidData,
        };
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 4;
            // The reserved bit of the header is for decoders to ignore.
            let ignored = expanded(file(&damaged).path()).is_ok_and(|content| content == text);
            assert!(ignored && at == 4 || is_noticed(&damaged), "byte {at}");
            assert!(is_noticed(&whole[..at]), "{at} bytes");
        }
        assert!(is_noticed(&[&whole[..], b"more"].concat()));
    }
}
