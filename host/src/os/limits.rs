//! Limits of a dyno's files.

/// Limits of what a dyno writes to `/app` and `/tmp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TmpLimits {
    /// Bytes of all files together.
    pub bytes: u64,
    /// Number of files, directories and links, and of names of them.
    pub nodes: usize,
}

impl Default for TmpLimits {
    /// Returns 64 MiB and 10,000 nodes. Uploads and caches fit, and the dynos of a full node do not exhaust its memory.
    fn default() -> Self {
        Self {
            bytes: 64 << 20,
            nodes: 10_000,
        }
    }
}
