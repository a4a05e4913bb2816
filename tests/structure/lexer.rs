//! A lexer for as much of Rust as paths and module declarations need.

/// A token. Comments and white space have none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    /// An identifier or a keyword.
    Word(String),
    /// A string, character, byte or number literal.
    Literal,
    /// Any other character, or `::`.
    Symbol(&'static str),
    /// A character that no rule looks at.
    Other,
}

impl Token {
    /// Returns the identifier or keyword.
    pub(crate) fn word(&self) -> Option<&str> {
        match self {
            Self::Word(word) => Some(word),
            _ => None,
        }
    }

    /// Returns whether the token is this symbol.
    pub(crate) fn is(&self, symbol: &str) -> bool {
        matches!(self, Self::Symbol(this) if *this == symbol)
    }

    /// Returns whether the token is this word.
    pub(crate) fn is_word(&self, word: &str) -> bool {
        self.word() == Some(word)
    }
}

/// Symbols that rules look at. `::` comes before `:`.
const SYMBOLS: [&str; 11] = ["::", "{", "}", "(", ")", "[", "]", ";", ",", "#", "*"];

/// Splits source text into tokens.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
        } else if rest.starts_with("/*") {
            rest = &rest[block_comment(rest)..];
        } else if first.is_whitespace() {
            rest = &rest[first.len_utf8()..];
        } else if let Some(length) = string(rest) {
            tokens.push(Token::Literal);
            rest = &rest[length..];
        } else if first == '\'' {
            let length = character(rest);
            if length > 0 {
                tokens.push(Token::Literal);
            }
            // Without a closing quote it is a lifetime, whose name is a word.
            rest = &rest[length.max(1)..];
        } else if first.is_alphabetic() || first == '_' {
            let word = word(rest);
            tokens.push(Token::Word(word.trim_start_matches("r#").to_owned()));
            rest = &rest[word.len()..];
        } else if first.is_ascii_digit() {
            tokens.push(Token::Literal);
            let digits = |c: char| !(c.is_alphanumeric() || c == '_');
            rest = &rest[rest.find(digits).unwrap_or(rest.len())..];
        } else if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            tokens.push(Token::Symbol(symbol));
            rest = &rest[symbol.len()..];
        } else {
            tokens.push(Token::Other);
            rest = &rest[first.len_utf8()..];
        }
    }
    tokens
}

/// Returns the length of a block comment, which may contain others.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// Returns the length of the string literal at the start of `text`, if there is one.
fn string(text: &str) -> Option<usize> {
    let prefix = ["b", "c", "br", "cr", "r", ""].into_iter().find(|prefix| {
        text.strip_prefix(prefix)
            .is_some_and(|rest| rest.trim_start_matches('#').starts_with('"'))
    })?;
    let rest = &text[prefix.len()..];
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    if prefix.ends_with('r') {
        let end = format!("\"{}", "#".repeat(hashes));
        let start = prefix.len() + hashes + 1;
        return Some(
            text[start..]
                .find(&end)
                .map_or(text.len(), |at| start + at + end.len()),
        );
    }
    if hashes > 0 {
        return None;
    }
    let start = prefix.len() + 1;
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(start) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    Some(text.len())
}

/// Returns the length of the character literal at the start of `text`, 0 if it is a lifetime.
fn character(text: &str) -> usize {
    let inner = &text[1..];
    if inner.starts_with('\\') {
        // An escape: the next quote that is not escaped closes it.
        let end = inner[2..].find('\'');
        return end.map_or(text.len(), |at| at + 4);
    }
    let Some(first) = inner.chars().next() else {
        return 0;
    };
    if inner[first.len_utf8()..].starts_with('\'') {
        first.len_utf8() + 2
    } else {
        0
    }
}

/// Returns the identifier or keyword at the start of `text`, `r#` included.
fn word(text: &str) -> &str {
    let start = if text.starts_with("r#") { 2 } else { 0 };
    let end = text[start..].find(|c: char| !(c.is_alphanumeric() || c == '_'));
    &text[..end.map_or(text.len(), |end| start + end)]
}

#[test]
fn comments_strings_and_lifetimes_have_no_words_of_paths() {
    let text = r####"// a::b
        /* c /* d */ e */ fn f<'g>(h: &'g str) { "i::j\""; r#"k"l"#; b"m"; 'n'; '\''; '\u{1f}'; o::p }"####;
    let tokens = tokens(text);
    let words: Vec<&str> = tokens.iter().filter_map(Token::word).collect();
    assert_eq!(words, ["fn", "f", "g", "h", "g", "str", "o", "p"]);
}
