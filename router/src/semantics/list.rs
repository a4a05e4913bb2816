//! Comma-separated field values (RFC 9110 section 5.6.1) whose members may be quoted strings.

/// The members of a list of `name` or `name=value`, as `Cache-Control` is one; a value may be quoted. Empty members are
/// skipped.
pub(crate) struct Members<'a> {
    rest: &'a [u8],
}

impl<'a> Members<'a> {
    /// Reads one header line.
    pub(crate) fn new(line: &'a [u8]) -> Self {
        Self { rest: line }
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.rest.is_empty() {
                return None;
            }
            let (member, rest) = split_unquoted(self.rest, b',');
            self.rest = rest;
            let member = member.trim_ascii();
            if member.is_empty() {
                continue;
            }
            let Some(equals) = member.iter().position(|byte| *byte == b'=') else {
                return Some((member, None));
            };
            let value = &member[equals + 1..];
            return Some((&member[..equals], Some(unquoted(value))));
        }
    }
}

/// Splits `text` at the first `separator` outside of a quoted string (RFC 9110 section 5.6.4). Without one, all of
/// `text` is the first part.
pub(crate) fn split_unquoted(text: &[u8], separator: u8) -> (&[u8], &[u8]) {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            byte if *byte == separator && !quoted => return (&text[..at], &text[at + 1..]),
            _ => {}
        }
    }
    (text, &[])
}

/// Removes the quotes around a value. Escapes stay: no directive that the router knows contains any.
fn unquoted(value: &[u8]) -> &[u8] {
    match value {
        [b'"', inner @ .., b'"'] => inner,
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_quoted_commas_and_escaped_quotes() {
        let members: Vec<_> = Members::new(br#"a, b="x,y" ,,c=d, e="\",f""#).collect();
        let expected: [(&[u8], Option<&[u8]>); 4] = [
            (b"a", None),
            (b"b", Some(b"x,y")),
            (b"c", Some(b"d")),
            (b"e", Some(br#"\",f"#)),
        ];
        assert_eq!(members, expected);
    }
}
