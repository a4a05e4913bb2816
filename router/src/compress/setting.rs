//! The compression setting of an app.

/// Compression setting of an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Compresses responses that are worth it, for clients that accept a coding.
    #[default]
    On,
    /// Compresses nothing but static files, which contain no secrets.
    Off,
}
