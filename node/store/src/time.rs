//! The form of timestamps in records.

/// Returns the current time in RFC 3339, in whole seconds.
pub fn now() -> String {
    jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}
