//! Checks the write-ahead log that a killed process has left.
//!
//! SQLite takes the first frame whose checksum is wrong for the end of the log. That is right for a write that was cut off. A
//! flipped bit, however, makes it drop the transactions behind it without a word, so they are counted before SQLite opens
//! the log. The format is described at <https://www.sqlite.org/fileformat2.html#walformat>.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::Path;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// The first word of a log; the lowest bit tells the byte order of checksums.
const MAGIC: u32 = 0x377f_0682;

/// The running checksum of a log.
#[derive(Clone, Copy, PartialEq, Eq)]
struct LogChecksum(u32, u32);

impl LogChecksum {
    fn add(&mut self, bytes: &[u8], word: fn([u8; 4]) -> u32) {
        for pair in bytes.chunks_exact(8) {
            let (first, second) = (word(four(pair, 0)), word(four(pair, 4)));
            self.0 = self.0.wrapping_add(first).wrapping_add(self.1);
            self.1 = self.1.wrapping_add(second).wrapping_add(self.0);
        }
    }
}

fn four(bytes: &[u8], at: usize) -> [u8; 4] {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    word
}

fn big(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(four(bytes, at))
}

/// Returns how many transactions SQLite will drop because of a damaged frame in the log at `path`. One may be a write that a
/// power cut has left in part, and that nobody was told of; more are damage.
///
/// # Errors
///
/// The log cannot be read.
pub(super) fn dropped_transactions(path: &Path) -> io::Result<u64> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut log = BufReader::with_capacity(64 << 10, file);
    let mut header = [0; HEADER];
    if !read_whole(&mut log, &mut header)? {
        return Ok(0);
    }
    let word = match big(&header, 0) ^ MAGIC {
        0 => u32::from_le_bytes,
        _ => u32::from_be_bytes,
    };
    let mut checksum = LogChecksum(0, 0);
    checksum.add(&header[..24], word);
    // With a damaged header, the salts of the first frame tell which frames belong together.
    let mut is_whole = (checksum.0, checksum.1) == (big(&header, 24), big(&header, 28));
    let mut salts = is_whole.then(|| (big(&header, 16), big(&header, 20)));
    let page = match big(&header, 8) as usize {
        page @ 512..=65_536 if page.is_power_of_two() => page,
        // The usual size: the field is damaged.
        _ => 4096,
    };
    let mut frame = vec![0; FRAME_HEADER + page];
    let mut dropped = 0;
    while read_whole(&mut log, &mut frame)? {
        let of_frame = (big(&frame, 8), big(&frame, 12));
        if is_whole {
            checksum.add(&frame[..8], word);
            checksum.add(&frame[FRAME_HEADER..], word);
            is_whole = salts == Some(of_frame)
                && (checksum.0, checksum.1) == (big(&frame, 16), big(&frame, 20));
            if is_whole {
                continue;
            }
        }
        // Frames of an earlier use of the file have other salts.
        let belongs = *salts.get_or_insert(of_frame) == of_frame;
        let ends_transaction = big(&frame, 4) != 0;
        dropped += u64::from(belongs && ends_transaction);
    }
    Ok(dropped)
}

/// Fills `buffer`, and returns whether there were enough bytes.
fn read_whole(log: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match log.read_exact(buffer) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        result => result.map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    /// Makes a log of ten transactions, and returns its bytes.
    fn log(directory: &Path) -> Vec<u8> {
        let path = directory.join("db");
        let connection = Connection::open(&path).unwrap();
        connection
            .execute_batch("pragma journal_mode = wal; pragma wal_autocheckpoint = 0; create table t (x text);")
            .unwrap();
        for _ in 0..9 {
            connection
                .execute("insert into t values (hex(randomblob(3000)))", [])
                .unwrap();
        }
        let bytes = std::fs::read(directory.join("db-wal")).unwrap();
        drop(connection);
        bytes
    }

    fn dropped(directory: &Path, bytes: &[u8]) -> u64 {
        let path = directory.join("log");
        std::fs::write(&path, bytes).unwrap();
        dropped_transactions(&path).unwrap()
    }

    #[test]
    fn flipped_bit_in_a_log_is_counted_and_a_cut_off_write_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let whole = log(directory.path());
        assert_eq!(dropped(directory.path(), &whole), 0);
        let frame = FRAME_HEADER + 4096;
        for at in [
            4,
            20,
            HEADER + 2,
            HEADER + 9,
            HEADER + 18,
            HEADER + 1000,
            HEADER + frame + 5000,
        ] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            let dropped = dropped(directory.path(), &damaged);
            assert!(dropped >= 8, "byte {at}: {dropped}");
        }
        for end in [0, 31, 40, whole.len() - 1, whole.len() - frame / 2] {
            assert_eq!(dropped(directory.path(), &whole[..end]), 0, "{end} bytes");
        }
        assert_eq!(
            dropped_transactions(&directory.path().join("none")).unwrap(),
            0
        );
    }
}
