//! Text files as editors write them.

/// The byte order mark, with which some editors start a UTF-8 file.
const MARK: char = '\u{feff}';

/// Returns a text without the byte order mark at its start.
pub fn without_mark(text: &str) -> &str {
    text.strip_prefix(MARK).unwrap_or(text)
}

/// Decodes a text file in UTF-8, with or without a byte order mark. Returns `None` if it is not UTF-8.
pub fn decode(bytes: Vec<u8>) -> Option<String> {
    String::from_utf8(bytes).ok().map(unmarked)
}

/// Decodes a text file like [`decode`], but replaces what is not UTF-8.
pub fn decode_lossy(bytes: &[u8]) -> String {
    unmarked(String::from_utf8_lossy(bytes).into_owned())
}

fn unmarked(mut text: String) -> String {
    if text.starts_with(MARK) {
        text.drain(..MARK.len_utf8());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_order_mark_is_no_part_of_the_text() {
        for (bytes, text) in [
            (&b"\xef\xbb\xbfa\n"[..], Some("a\n")),
            (b"a\n\xef\xbb\xbf", Some("a\n\u{feff}")),
            (b"\xef\xbb\xbf\xef\xbb\xbf", Some("\u{feff}")),
            (b"\xef\xbb", None),
        ] {
            assert_eq!(decode(bytes.to_vec()).as_deref(), text);
            if let Some(text) = text {
                assert_eq!(decode_lossy(bytes), text);
            }
        }
        assert_eq!(without_mark("\u{feff}x"), "x");
    }
}
