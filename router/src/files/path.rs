//! From a request's path to a file's.

use std::borrow::Cow;

/// The path as files are named: percent-encoding decoded, once. None where that gives no text; then no file has the name.
///
/// Nothing else is done to it. Files are found by their whole path, so that one with `..`, a doubled slash, a backslash or
/// other letters' case is the name of none, and there is nothing to clean.
pub(crate) fn decode(path: &str) -> Option<Cow<'_, str>> {
    if !path.contains('%') {
        return Some(Cow::Borrowed(path));
    }
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            decoded.push(*first);
            continue;
        }
        let digit = |at: usize| char::from(*after.get(at)?).to_digit(16);
        decoded.push(u8::try_from(digit(0)? * 16 + digit(1)?).ok()?);
        rest = &after[2..];
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_decoded_once() {
        assert_eq!(decode("/a b+c").as_deref(), Some("/a b+c"));
        assert_eq!(decode("/caf%C3%A9%20x").as_deref(), Some("/café x"));
        assert_eq!(decode("/%252e%252e/").as_deref(), Some("/%2e%2e/"));
    }

    #[test]
    fn what_decodes_to_no_text_names_no_file() {
        for path in ["/%", "/%4", "/%zz", "/%ff", "/%c3%28", "/%+1"] {
            assert_eq!(decode(path), None, "{path}");
        }
    }
}
