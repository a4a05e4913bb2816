//! Sizes of dynos, by Heroku's names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The size of a process type's dynos, which is their quota of memory.
#[derive(
    Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "&'static str")]
pub enum DynoSize {
    /// 512 MB.
    #[default]
    Standard1x,
    /// 1 GB.
    Standard2x,
    /// 2.5 GB.
    PerformanceM,
}

/// A name that no size has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not a size of dynos here: use standard-1x (512 MB), standard-2x (1 GB) or performance-m (2.5 GB)"
)]
pub struct UnknownDynoSize(String);

impl DynoSize {
    /// All sizes, the smallest first.
    pub const ALL: [Self; 3] = [Self::Standard1x, Self::Standard2x, Self::PerformanceM];

    /// Returns the name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Standard1x => "standard-1x",
            Self::Standard2x => "standard-2x",
            Self::PerformanceM => "performance-m",
        }
    }

    /// Returns the quota of memory in bytes.
    pub fn memory(self) -> usize {
        match self {
            Self::Standard1x => 512 << 20,
            Self::Standard2x => 1 << 30,
            Self::PerformanceM => 2560 << 20,
        }
    }
}

impl FromStr for DynoSize {
    type Err = UnknownDynoSize;

    /// Reads a name in any case. Heroku's names of sizes with 512 MB or less mean the smallest one.
    fn from_str(text: &str) -> Result<Self, UnknownDynoSize> {
        match text.to_ascii_lowercase().as_str() {
            "standard-1x" | "standard" | "basic" | "eco" | "free" | "hobby" | "1x" => {
                Ok(Self::Standard1x)
            }
            "standard-2x" | "2x" => Ok(Self::Standard2x),
            "performance-m" | "pm" => Ok(Self::PerformanceM),
            _ => Err(UnknownDynoSize(text.chars().take(80).collect())),
        }
    }
}

impl TryFrom<String> for DynoSize {
    type Error = UnknownDynoSize;

    fn try_from(text: String) -> Result<Self, UnknownDynoSize> {
        text.parse()
    }
}

impl From<DynoSize> for &'static str {
    fn from(size: DynoSize) -> Self {
        size.as_str()
    }
}

impl fmt::Display for DynoSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_case() {
        for size in DynoSize::ALL {
            assert_eq!(size.as_str().to_uppercase().parse(), Ok(size));
        }
        assert_eq!("Eco".parse(), Ok(DynoSize::Standard1x));
        let error = "performance-xl".parse::<DynoSize>().unwrap_err();
        assert!(error.to_string().contains("standard-2x (1 GB)"), "{error}");
    }
}
