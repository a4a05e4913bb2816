//! SHA-256 checksums of gems, which lockfiles and gem servers write as 64 hexadecimal digits.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// The SHA-256 of a `.gem` file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Checksum([u8; 32]);

/// Text that is not a SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 must have 64 hexadecimal digits")]
pub struct ChecksumError;

impl Checksum {
    /// Computes the checksum of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Computes the checksum of several texts, each with its length in front, so that no two lists have the same.
    pub(crate) fn of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Checksum {
    type Err = ChecksumError;

    fn from_str(text: &str) -> Result<Self, ChecksumError> {
        let digit = |byte: u8| char::from(byte).to_digit(16).ok_or(ChecksumError);
        if text.len() != 64 {
            return Err(ChecksumError);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let value = pair
                .iter()
                .try_fold(0, |value, byte| Ok(value * 16 + digit(*byte)?))?;
            *byte = u8::try_from(value).map_err(|_| ChecksumError)?;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_round_trips_through_text() {
        let checksum = Checksum::of(b"");
        let text = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(checksum.to_string(), text);
        assert_eq!(text.parse(), Ok(checksum));
        assert_eq!(text.to_uppercase().parse(), Ok(checksum));
        for bad in [
            "",
            "abcd",
            &text.replace('e', "g"),
            &text.replace("e3", "ü"),
        ] {
            assert_eq!(bad.parse::<Checksum>(), Err(ChecksumError), "{bad}");
        }
    }
}
