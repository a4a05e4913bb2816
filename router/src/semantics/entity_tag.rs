//! Entity tags (RFC 9110 section 8.8.3): their two comparisons, and lists of them.

/// An entity tag as a header field spells it, with its quotes and its `W/`.
///
/// A tag without quotes is invalid, but many apps send one and many clients send it back; such tags compare byte by byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntityTag<'a>(&'a [u8]);

impl<'a> EntityTag<'a> {
    /// Reads one tag, ignoring whitespace around it.
    pub(crate) fn new(text: &'a [u8]) -> Self {
        Self(text.trim_ascii())
    }

    /// Reads the tags of one line of `If-Match` or `If-None-Match`. Empty members are skipped.
    pub(crate) fn list(line: &'a [u8]) -> impl Iterator<Item = Self> {
        let mut rest = line;
        std::iter::from_fn(move || {
            while !rest.is_empty() {
                let (member, after) = split(rest);
                rest = after;
                let tag = Self::new(member);
                if !tag.0.is_empty() {
                    return Some(tag);
                }
            }
            None
        })
    }

    /// The bytes as the field spells them.
    pub(crate) fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Returns whether the tag is a quoted string without `W/`, so that it stands for exactly the same bytes.
    pub(crate) fn is_strong(self) -> bool {
        matches!(self.0, [b'"', .., b'"'])
    }

    /// Compares strongly (RFC 9110 section 8.8.3.2): neither tag is weak, and both are the same.
    pub(crate) fn matches_strongly(self, other: Self) -> bool {
        self == other && !self.0.starts_with(b"W/")
    }

    /// Compares weakly: both are the same, whether either is weak or not.
    pub(crate) fn matches_weakly(self, other: Self) -> bool {
        self.opaque() == other.opaque()
    }

    fn opaque(self) -> &'a [u8] {
        self.0.strip_prefix(b"W/").unwrap_or(self.0)
    }
}

/// Splits a list at its first comma outside of a tag. Unlike in a quoted string, a backslash in a tag escapes nothing
/// (RFC 9110 section 8.8.3).
fn split(list: &[u8]) -> (&[u8], &[u8]) {
    let mut quoted = false;
    for (at, byte) in list.iter().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b',' if !quoted => return (&list[..at], &list[at + 1..]),
            _ => {}
        }
    }
    (list, &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tag_comparisons_follow_the_rfc_table() {
        for (one, other, strong, weak) in [
            ("W/\"1\"", "W/\"1\"", false, true),
            ("W/\"1\"", "W/\"2\"", false, false),
            ("W/\"1\"", "\"1\"", false, true),
            ("\"1\"", "\"1\"", true, true),
            ("w/\"1\"", "\"1\"", false, false),
        ] {
            let (left, right) = (
                EntityTag::new(one.as_bytes()),
                EntityTag::new(other.as_bytes()),
            );
            assert_eq!(left.matches_strongly(right), strong, "{one} {other}");
            assert_eq!(left.matches_weakly(right), weak, "{one} {other}");
        }
    }

    #[test]
    fn lists_split_at_commas_outside_of_tags() {
        let list = |line: &'static str| {
            EntityTag::list(line.as_bytes())
                .map(|tag| std::str::from_utf8(tag.as_bytes()).unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(list("\"a,b\" ,, W/\"c\""), ["\"a,b\"", "W/\"c\""]);
        assert_eq!(list("\"a\\\", \"b\""), ["\"a\\\"", "\"b\""]);
        assert_eq!(list("\"open, \"b"), ["\"open, \"b"]);
        assert_eq!(list(" , "), [""; 0]);
    }
}
