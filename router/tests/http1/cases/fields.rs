//! Header fields: RFC 9112 section 5, RFC 9110 section 5.

use crate::case::{Http1Case, get, refuse, serve};

pub(crate) fn cases() -> Vec<Http1Case> {
    let ok = |name, headers: &str, value: &str| {
        serve(name, "5", get(headers), &format!("GET /||{value}"))
    };
    let bad = |name, section, headers: &str| refuse(name, section, get(headers), &[400]);
    let many: String = (0..99).map(|number| format!("Y-{number}: 1\r\n")).collect();
    let too_many: String = (0..150)
        .map(|number| format!("Y-{number}: 1\r\n"))
        .collect();
    let large: String = (0..90)
        .map(|number| format!("Y-{number}: {}\r\n", "z".repeat(1000)))
        .collect();
    let mut bytes = get("X: a\u{0}b\r\n").into_bytes();
    let nul = bytes.iter().position(|b| *b == 0).unwrap();
    bytes[nul] = 0xff;
    vec![
        ok("value without a space", "X:a\r\n", "a"),
        ok(
            "value with surrounding whitespace",
            "X: \t a b \t \r\n",
            "a b",
        ),
        ok("empty value", "X:\r\n", ""),
        ok("value of a colon", "X: :\r\n", ":"),
        ok("value with a tab inside", "X: a\tb\r\n", "a\tb"),
        ok("name in capitals", "x: a\r\n", "a"),
        ok(
            "two lines of a name are one list",
            "X: a\r\nX: b\r\n",
            "a, b",
        ),
        serve(
            "value with a byte outside of ASCII",
            "9110 §5.5",
            bytes,
            "GET /||a\u{fffd}b",
        ),
        ok(
            "name of all token characters",
            "!#$%&'*+-.^`|~: 1\r\nX: a\r\n",
            "a",
        ),
        ok("a hundred headers", &many, ""),
        refuse("over a hundred headers", "5.4", get(&too_many), &[431]),
        refuse(
            "header line too long",
            "5.4",
            get(&format!("X: {}\r\n", "a".repeat(9000))),
            &[431],
        ),
        refuse(
            "header name too long",
            "5.4",
            get(&format!("{}: a\r\n", "n".repeat(9000))),
            &[431],
        ),
        refuse(
            "header without an end",
            "5.4",
            format!(
                "GET / HTTP/1.1\r\nHost: app.example\r\nX: {}",
                "a".repeat(70_000)
            ),
            &[431],
        ),
        refuse("headers too large together", "5.4", get(&large), &[431]),
        bad("space before the colon", "5.1", "X : a\r\n"),
        bad("tab before the colon", "5.1", "X\t: a\r\n"),
        bad("space inside a name", "5.1", "X Y: a\r\n"),
        bad("space before a name", "5.2", " X: a\r\n"),
        bad("tab before a name", "5.2", "\tX: a\r\n"),
        bad("folded value", "5.2", "X: a\r\n b\r\n"),
        bad("value folded with a tab", "5.2", "X: a\r\n\tb\r\n"),
        bad("line of spaces only", "5.2", "X: a\r\n \r\n"),
        refuse(
            "space after the request line",
            "2.2",
            "GET / HTTP/1.1\r\n Host: app.example\r\n\r\n",
            &[400],
        ),
        bad("no colon", "5", "X\r\n"),
        bad("no name", "5", ": a\r\n"),
        bad("colon alone", "5", ":\r\n"),
        bad("name with a slash", "5.1", "X/Y: a\r\n"),
        bad("name in brackets", "5.1", "(X): a\r\n"),
        bad("name with a NUL", "5.1", "X\0: a\r\n"),
        bad("name with DEL", "5.1", "X\u{7f}: a\r\n"),
        bad("name with a comma", "5.1", "X,Y: a\r\n"),
        bad("name with a quote", "5.1", "\"X\": a\r\n"),
        bad("name outside of ASCII", "5.1", "X\u{e9}: a\r\n"),
        bad("value with NUL", "9110 §5.5", "X: a\0b\r\n"),
        bad("value with a bare CR", "2.2", "X: a\rb\r\n"),
        bad("value with a bare LF", "2.2", "X: a\nb\r\n"),
        bad(
            "value with a control character",
            "9110 §5.5",
            "X: a\u{1}b\r\n",
        ),
        bad("value with DEL", "9110 §5.5", "X: a\u{7f}b\r\n"),
        bad("value with an escape", "9110 §5.5", "X: a\u{1b}[31mb\r\n"),
        bad(
            "header smuggled after a bare LF",
            "2.2",
            "X: a\nContent-Length: 5\r\n",
        ),
        bad(
            "header smuggled after a bare CR",
            "2.2",
            "X: a\rContent-Length: 5\r\n",
        ),
        bad("line ends in CR CR LF", "2.2", "X: a\r\r\n"),
        bad("line ends in LF CR", "2.2", "X: a\n\r"),
        refuse(
            "head ends in bare LF",
            "2.2",
            "GET / HTTP/1.1\r\nHost: app.example\r\n\n",
            &[400],
        ),
        refuse(
            "all lines end in bare LF",
            "2.2",
            "GET / HTTP/1.1\nHost: app.example\n\n",
            &[400],
        ),
        refuse(
            "head ends in CR and something else",
            "2.2",
            "GET / HTTP/1.1\r\nHost: app.example\r\n\rX",
            &[400],
        )
        .half_closes(),
    ]
}
