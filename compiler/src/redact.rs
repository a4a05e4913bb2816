//! Redaction of credentials in text that a build prints.

/// Characters of a redacted text.
const MAX_CHARS: usize = 200;

/// Removes credentials and control characters from a URL.
///
/// A lockfile can hold credentials, and people other than its author read the output of a build.
pub(crate) fn without_credentials(text: &str) -> String {
    // A password may hold any character, even `@`, so this removes everything up to the last one.
    let shown = match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://{rest}"),
        (None, Some((before, rest))) if before.contains(':') => rest.to_owned(),
        _ => text.to_owned(),
    };
    let visible = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    shown.chars().take(MAX_CHARS).map(visible).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_removed() {
        assert_eq!(
            without_credentials("https://user:p@ss/w@gems.example.com/x"),
            "https://gems.example.com/x"
        );
        assert_eq!(
            without_credentials("git@github.com:a/b.git"),
            "git@github.com:a/b.git"
        );
        assert_eq!(without_credentials("https:me:secret@x"), "x");
    }
}
