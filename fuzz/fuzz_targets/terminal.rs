//! Text for a terminal has no control character beside the allowed ones, wherever its pieces end.

#![no_main]

use corundum_abi::terminal_text::{AllowedControls, TerminalText};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, bool, &[u8])| {
    let (size, colours, text) = input;
    let allowed = AllowedControls { colours, carriage_returns: false };
    let whole = TerminalText::line(allowed, text);
    let mut filter = TerminalText::new(allowed);
    let mut shown = Vec::new();
    for piece in text.chunks(usize::from(size).max(1)) {
        filter.push(piece, &mut shown);
    }
    filter.finish(&mut shown);
    assert_eq!(String::from_utf8(shown).unwrap(), whole);

    let mut rest = whole.as_str();
    let mut is_coloured = false;
    while let Some(next) = rest.chars().next() {
        rest = &rest[next.len_utf8()..];
        match next {
            '\u{1b}' => {
                assert!(colours && rest.starts_with('['));
                let end = rest.find('m').unwrap();
                let parameters = &rest[1..end];
                assert!(parameters.bytes().all(|b| b.is_ascii_digit() || b == b';' || b == b':'));
                is_coloured = !parameters.bytes().all(|b| b == b'0');
                rest = &rest[end + 1..];
            }
            '\n' => assert!(!is_coloured),
            '\t' => {}
            '\r' => assert!(rest.starts_with('\n') || rest.starts_with("\u{1b}[0m\n")),
            other => assert!(!other.is_control() && other != '\u{202e}'),
        }
    }
    assert!(!is_coloured);
});
