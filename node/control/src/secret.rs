//! Random secrets: access tokens, URLs of log sessions, and config vars that `app.json` asks the node to generate.

/// Returns 256 bits from the kernel's random number generator, in hexadecimal.
///
/// # Errors
///
/// The kernel has no random numbers, which happens only before its generator is initialised.
pub(crate) fn random_hex() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_have_256_bits_and_differ() {
        let [one, other] = [random_hex().unwrap(), random_hex().unwrap()];
        assert_eq!(one.len(), 64);
        assert!(one.bytes().all(|b| b.is_ascii_hexdigit()));
        assert_ne!(one, other);
    }
}
