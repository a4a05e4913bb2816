//! Mapping of a request's path to a file's.

use std::borrow::Cow;

/// Decodes percent-encoding, once. Returns `None` if the result is not UTF-8; no file has such a name.
///
/// The path is not normalised. Files are found by their exact path, so that a path with `..`, a doubled slash, a
/// backslash or different case matches no file.
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
    fn path_is_percent_decoded_once() {
        assert_eq!(decode("/a b+c").as_deref(), Some("/a b+c"));
        assert_eq!(decode("/caf%C3%A9%20x").as_deref(), Some("/café x"));
        assert_eq!(decode("/%252e%252e/").as_deref(), Some("/%2e%2e/"));
    }

    #[test]
    fn path_that_is_not_utf_8_finds_no_file() {
        for path in ["/%", "/%4", "/%zz", "/%ff", "/%c3%28", "/%+1"] {
            assert_eq!(decode(path), None, "{path}");
        }
    }
}
