//! Secrets that the platform makes.

/// 256 bits in hexadecimal, all but a few of them random.
pub(crate) fn new() -> String {
    let half = || uuid::Uuid::new_v4().simple().to_string();
    half() + &half()
}
