//! Text of an app on its way to a terminal: control characters become visible, colours may stay.
//!
//! A terminal obeys the bytes that it shows: a carriage return lets an app's line overwrite the time and the source before
//! it, an escape sequence moves the cursor, clears the screen or answers as if the user had typed, and a bidirectional
//! override reorders what stands on the line. The printer of such text therefore writes these characters as escapes,
//! e.g. `\x1b`. Sequences that select a colour (SGR) are harmless as long as they end with their line.

/// The longest sequence that selects a colour, in bytes.
const MAX_SEQUENCE: usize = 32;

/// Sequence that ends all colours.
const RESET: &[u8] = b"\x1b[0m";

/// Characters that text may have beside visible ones, line breaks and tabs.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct AllowedControls {
    /// Sequences that select a colour or a weight; they end with their line.
    pub colours: bool,
    /// Carriage returns, with which a command shows its progress.
    pub carriage_returns: bool,
}

/// Filter for a stream of text, which may arrive in pieces of any size.
#[derive(Debug, Default)]
pub struct TerminalText {
    allowed: AllowedControls,
    /// The beginning of a character or of a sequence whose rest has not arrived.
    pending: Vec<u8>,
    /// True if the line has selected a colour.
    is_coloured: bool,
}

/// A part of the text.
enum TextPart {
    /// Bytes to write as they are.
    Plain(usize),
    /// A sequence that selects a colour; `ends` if it ends all colours.
    Colour { length: usize, ends: bool },
    /// A byte to escape.
    Byte(u8),
    /// A character to escape, with its length in UTF-8.
    Hidden(char, usize),
    /// The beginning of something longer.
    Incomplete,
}

impl TerminalText {
    /// Creates a filter.
    pub fn new(allowed: AllowedControls) -> Self {
        Self {
            allowed,
            ..Self::default()
        }
    }

    /// Returns a whole line as it may be shown, without its line break.
    pub fn line(allowed: AllowedControls, line: &[u8]) -> String {
        let mut filter = Self::new(allowed);
        let mut shown = Vec::with_capacity(line.len());
        filter.push(line, &mut shown);
        filter.finish(&mut shown);
        String::from_utf8_lossy(&shown).into_owned()
    }

    /// Appends to `shown` what may be shown of the next piece.
    pub fn push(&mut self, piece: &[u8], shown: &mut Vec<u8>) {
        self.advance(piece, false, shown);
    }

    /// Appends to `shown` what is left at the end of the text, and ends its colours.
    pub fn finish(&mut self, shown: &mut Vec<u8>) {
        self.advance(b"", true, shown);
        self.end_colours(shown);
    }

    fn advance(&mut self, piece: &[u8], is_end: bool, shown: &mut Vec<u8>) {
        let mut text = std::mem::take(&mut self.pending);
        text.extend_from_slice(piece);
        let mut rest = text.as_slice();
        while let Some(first) = rest.first() {
            let length = match self.part(rest, is_end) {
                TextPart::Incomplete => {
                    self.pending = rest.to_vec();
                    return;
                }
                TextPart::Plain(length) => {
                    if *first == b'\n' {
                        self.end_colours(shown);
                    }
                    shown.extend_from_slice(&rest[..length]);
                    length
                }
                TextPart::Colour { length, ends } => {
                    shown.extend_from_slice(&rest[..length]);
                    self.is_coloured = !ends;
                    length
                }
                TextPart::Byte(byte) => {
                    shown.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
                    1
                }
                TextPart::Hidden(character, length) => {
                    let escape = format!("\\u{{{:x}}}", u32::from(character));
                    shown.extend_from_slice(escape.as_bytes());
                    length
                }
            };
            rest = &rest[length..];
        }
    }

    fn end_colours(&mut self, shown: &mut Vec<u8>) {
        if std::mem::take(&mut self.is_coloured) {
            shown.extend_from_slice(RESET);
        }
    }

    /// Returns the first part of a text that is not empty.
    fn part(&self, text: &[u8], is_end: bool) -> TextPart {
        match text {
            [b'\r', b'\n', ..] => TextPart::Plain(1),
            [b'\r'] if !is_end => TextPart::Incomplete,
            [b'\r', ..] if self.allowed.carriage_returns => TextPart::Plain(1),
            [0x1b, rest @ ..] if self.allowed.colours => colour(rest, is_end),
            [b'\n' | b'\t' | b' '..=b'~', ..] => {
                let visible = |byte: &u8| matches!(byte, b' '..=b'~');
                let length = text.iter().take_while(|byte| visible(byte)).count();
                TextPart::Plain(length.max(1))
            }
            [byte @ (..0x20 | 0x7f), ..] => TextPart::Byte(*byte),
            _ => character(text, is_end),
        }
    }
}

/// Returns the sequence that an escape character begins, if it selects a colour; `rest` follows that character.
fn colour(rest: &[u8], is_end: bool) -> TextPart {
    const ESCAPE: TextPart = TextPart::Byte(0x1b);
    let rest = match rest {
        [] if !is_end => return TextPart::Incomplete,
        [b'[', rest @ ..] => rest,
        _ => return ESCAPE,
    };
    let is_parameter = |byte: &u8| matches!(byte, b'0'..=b'9' | b';' | b':');
    let length = rest.iter().take_while(|byte| is_parameter(byte)).count();
    let parameters = &rest[..length];
    if length > MAX_SEQUENCE {
        return ESCAPE;
    }
    match rest.get(length) {
        Some(b'm') if !conceals(parameters) => TextPart::Colour {
            length: length + 3,
            ends: parameters.iter().all(|byte| *byte == b'0'),
        },
        None if !is_end => TextPart::Incomplete,
        _ => ESCAPE,
    }
}

/// Returns whether a sequence makes text invisible.
fn conceals(parameters: &[u8]) -> bool {
    let mut numbers = parameters.split(|byte| matches!(byte, b';' | b':'));
    numbers.any(|number| number.iter().skip_while(|digit| **digit == b'0').eq(b"8"))
}

/// Returns the first character of a text that begins with a byte outside of ASCII.
fn character(text: &[u8], is_end: bool) -> TextPart {
    let head = &text[..text.len().min(4)];
    let valid = match std::str::from_utf8(head) {
        Ok(valid) => valid,
        Err(error) => {
            if error.valid_up_to() == 0 {
                // Only the end of the text can complete the character.
                return match error.error_len() {
                    None if !is_end => TextPart::Incomplete,
                    _ => TextPart::Byte(head[0]),
                };
            }
            std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default()
        }
    };
    match valid.chars().next() {
        Some(first) if is_hidden(first) => TextPart::Hidden(first, first.len_utf8()),
        Some(first) => TextPart::Plain(first.len_utf8()),
        None => TextPart::Byte(head[0]),
    }
}

/// Returns whether a character outside of ASCII controls a terminal or the direction and the lines of text.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{061c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'
                | '\u{2029}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLOURS: AllowedControls = AllowedControls {
        colours: true,
        carriage_returns: false,
    };

    fn plain(text: &str) -> String {
        TerminalText::line(AllowedControls::default(), text.as_bytes())
    }

    fn coloured(text: &str) -> String {
        TerminalText::line(COLOURS, text.as_bytes())
    }

    #[test]
    fn text_without_controls_is_unchanged() {
        for text in ["", "a\tb \\x1b", "Grüße, 日本語 🎉", "two\nlines\r\n"] {
            assert_eq!(plain(text), text);
            assert_eq!(coloured(text), text);
        }
    }

    #[test]
    fn control_characters_are_escaped() {
        for (text, shown) in [
            (
                "\r2026 corundum[router]: x",
                "\\x0d2026 corundum[router]: x",
            ),
            ("\x1b[2K\x1b[1A", "\\x1b[2K\\x1b[1A"),
            ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
            ("\x1bPq\x1b\\", "\\x1bPq\\x1b\\"),
            ("a\x08\x7f\0", "a\\x08\\x7f\\x00"),
            ("\u{9b}31m\u{85}", "\\u{9b}31m\\u{85}"),
            ("\u{202e}gpj.exe\u{2066}", "\\u{202e}gpj.exe\\u{2066}"),
            ("\u{200f}\u{2028}", "\\u{200f}\\u{2028}"),
        ] {
            assert_eq!(plain(text), shown);
            assert_eq!(coloured(text), shown);
        }
        let invalid = TerminalText::line(COLOURS, b"\x9b31m\xff\xe2\x82");
        assert_eq!(invalid, "\\x9b31m\\xff\\xe2\\x82");
    }

    #[test]
    fn colours_stay_where_they_are_allowed_and_end_with_their_line() {
        let text = "\x1b[1;31mred\nnext\x1b[38:5:1mx\x1b[m";
        let shown = "\x1b[1;31mred\x1b[0m\nnext\x1b[38:5:1mx\x1b[m";
        assert_eq!(coloured(text), shown);
        assert_eq!(plain("\x1b[31mred"), "\\x1b[31mred");
        assert_eq!(coloured("\x1b[31mred"), "\x1b[31mred\x1b[0m");
        for hiding in ["\x1b[8mx", "\x1b[1;08mx", "\x1b[?25lx", "\x1b[31", "\x1b["] {
            assert_eq!(coloured(hiding), hiding.replace('\x1b', "\\x1b"));
        }
        let long = format!("\x1b[{}m", "1;".repeat(100));
        assert!(!coloured(&long).contains('\x1b'));
    }

    #[test]
    fn progress_of_a_command_keeps_its_carriage_returns() {
        let allowed = AllowedControls {
            colours: true,
            carriage_returns: true,
        };
        assert_eq!(TerminalText::line(allowed, b"1%\r2%\r"), "1%\r2%\r");
        assert_eq!(TerminalText::line(allowed, b"\x1b[A"), "\\x1b[A");
    }

    #[test]
    fn pieces_of_any_size_give_the_same_text() {
        let text = "a\r\nGrüße\r\x1b[31mred\x1b[2J\u{202e}\u{9b}🎉\n\x1b[".as_bytes();
        let whole = TerminalText::line(COLOURS, text);
        for size in 1..text.len() {
            let mut filter = TerminalText::new(COLOURS);
            let mut shown = Vec::new();
            for piece in text.chunks(size) {
                filter.push(piece, &mut shown);
                assert!(filter.pending.len() <= MAX_SEQUENCE + 3);
            }
            filter.finish(&mut shown);
            assert_eq!(String::from_utf8(shown).unwrap(), whole, "{size}");
        }
    }
}
